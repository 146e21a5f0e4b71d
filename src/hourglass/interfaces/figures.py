"""Plotly figures as plain JSON values. Colours are names of the page's variables ("--blue"): they suit light and dark.

The palette is Okabe and Ito's, which colour-blind people can tell apart: blue is what was given or learned, orange what
is odd or expected, and no meaning hangs on colour alone.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from hourglass.interfaces.page import Figure
from hourglass.interfaces.words import shortened

MOST_POINTS = 4_000
"""Points of a drawn line: more than a screen has columns."""
MOST_SHADES = 200
_BINS = 50
_SCORE_COLOURS = [[0, "#56b4e9"], [0.5, "#e69f00"], [1, "#d55e00"]]


@dataclass(frozen=True)
class Line:
    """A named course of values over shared positions."""

    name: str
    values: np.ndarray


def label(words: str, most: int = 40) -> str:
    """Words for a figure, short, and escaped: plotly reads its texts as HTML."""
    return html.escape(shortened(words, most), quote=False)


def thinned(values: np.ndarray, most: int = MOST_POINTS) -> np.ndarray:
    """Positions to draw of a long course: the smallest and the largest of each of `most` / 2 stretches, in order.

    >>> thinned(np.array([0.0, 5.0, 1.0, 2.0, -3.0, 2.0]), most=4)
    array([0, 1, 3, 4])
    """
    if len(values) <= most:
        return np.arange(len(values))
    edges = np.linspace(0, len(values), most // 2 + 1).astype(np.int64)
    low = np.where(np.isnan(values), np.inf, values)
    high = np.where(np.isnan(values), -np.inf, values)
    lowest = [start + np.argmin(low[start:end]) for start, end in pairwise(edges)]
    highest = [start + np.argmax(high[start:end]) for start, end in pairwise(edges)]
    return np.unique(lowest + highest)


def plain(values: np.ndarray | Sequence[Any]) -> list[Any]:
    """Values for JSON: numbers with six significant digits, null where not finite, everything else as words."""
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        return [str(value) for value in array.tolist()]
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in array.tolist()]


def wants_log(values: np.ndarray) -> bool:
    """Whether values are better seen by their size: all positive, the largest far above the middle."""
    known = values[np.isfinite(values)]
    return bool(len(known) and known.min() > 0 and known.max() > 30 * np.median(known))


def training_curve(term: str, training: Sequence[float], held_out: Sequence[float], best_epoch: int) -> Figure:
    """One term of the objective over the epochs; the epoch whose weights were kept is marked."""
    courses = [("training rows", training, "--blue", "solid"), ("held-out rows", held_out, "--orange", "dash")]
    drawn = [course for course in courses if len(course[1])]
    data = [
        _line(
            np.arange(1, len(values) + 1),
            np.asarray(values),
            name,
            colour,
            dash=dash,
            mode="lines+markers" if len(values) < 3 else "lines",
        )
        for name, values, colour, dash in drawn
    ]
    every = np.concatenate([np.asarray(values, dtype=np.float64) for _, values, _, _ in drawn])
    layout = _layout("epoch", label(term), log=bool(every.min() > 0 and every.max() > 20 * every.min()))
    if best_epoch:
        layout["shapes"] = [_upright(best_epoch, "--green")]
        layout["annotations"] = [_note(best_epoch, "weights kept", right=best_epoch > 0.7 * len(training))]
    kept = f"; the weights of epoch {best_epoch:,} were kept" if best_epoch else ""
    return Figure({"data": data, "layout": layout}, 300, f"The term “{term}” over {len(training):,} epochs{kept}.")


def score_histogram(groups: Sequence[Line], threshold: float, flagged: np.ndarray, noun: str, caption: str) -> Figure:
    """How scores spread, each group as shares of itself, the threshold across and a tick for each flagged one."""
    every = np.concatenate([*(group.values for group in groups), [threshold]])
    log = wants_log(every)
    edges = (np.geomspace if log else np.linspace)(every.min(), max(every.max(), every.min() + 1e-9), _BINS + 1)
    styles = [("--blue", "--area", "solid"), ("--green", "rgba(0,0,0,0)", "dot")]
    data = [_steps(edges, group, *style) for group, style in zip(groups, styles, strict=False)]
    if len(flagged):
        ticks = {"symbol": "line-ns-open", "size": 14, "color": "--orange", "line": {"width": 2}}
        found = flagged[thinned(flagged)]
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "x": plain(found),
                "y": [0] * len(found),
                "name": "flagged",
                "marker": ticks,
            }
        )
    layout = _layout("anomaly score" + (" (log scale)" if log else ""), f"share of {noun}s (%)")
    layout["xaxis"]["type"] = "log" if log else "linear"
    layout["yaxis"]["rangemode"] = "tozero"
    layout["shapes"] = [_upright(threshold, "--orange")]
    place = float(np.log10(threshold)) if log else threshold  # an annotation on a log axis stands at the exponent
    layout["annotations"] = [_note(place, "threshold", right=threshold > edges[int(0.7 * _BINS)])]
    return Figure({"data": data, "layout": layout}, 320, caption)


def blame_bars(names: Sequence[str], shares: Sequence[float], caption: str) -> Figure:
    """How much of the error lies in each cell, largest above."""
    bars = {
        "type": "bar",
        "orientation": "h",
        "x": plain(100 * np.asarray(shares)[::-1]),
        "y": [label(name, 24) for name in names[::-1]],
        "marker": {"color": "--blue"},
        "hovertemplate": "%{x:.1f} %<extra></extra>",
    }
    layout = _layout("share of the error (%)", "")
    layout["yaxis"] |= {"type": "category", "showgrid": False, "dtick": 1}
    return Figure({"data": [bars], "layout": layout}, 80 + 24 * len(names), caption)


def latent_map(
    points: np.ndarray,
    score: np.ndarray,
    flagged: np.ndarray,
    names: Sequence[str],
    axes: tuple[str, str],
    caption: str,
) -> Figure:
    """Codes as points in the plane, coloured by score; flagged ones ringed."""
    low, high = np.quantile(score, [0.1, 0.98])  # one very odd sample must not make all others look alike
    colours = {
        "color": plain(np.clip(score, low, max(high, low + 1e-9))),
        "colorscale": _SCORE_COLOURS,
        "size": 6,
        "opacity": 0.75,
        "colorbar": {"title": {"text": "score", "side": "right"}, "thickness": 10, "outlinewidth": 0},
    }
    ring = {"symbol": "circle-open", "size": 12, "color": "--ink", "line": {"width": 1.5}}
    kinds = [("all", np.ones(len(score), dtype=bool), colours), ("flagged", flagged, ring)]
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": kind,
            "x": plain(points[which, 0]),
            "y": plain(points[which, 1]),
            "text": [f"{label(names[i])}<br>score {score[i]:.4g}" for i in np.flatnonzero(which).tolist()],
            "hovertemplate": "%{text}<extra></extra>",
            "marker": marker,
            "showlegend": False,
        }
        for kind, which, marker in kinds
        if which.any()
    ]
    return Figure({"data": data, "layout": _layout(*axes)}, 420, caption)


def time_line(
    times: np.ndarray,
    lines: Sequence[Line],
    score: Line,
    threshold: float,
    spans: Sequence[tuple[Any, Any]],
    caption: str,
) -> Figure:
    """Channels above one another, the anomaly score under them, spans of time shaded through all of them."""
    stacked = [*lines, score]
    layout = _layout("time" if times.dtype.kind not in "fiu" else "step", "")
    layout["showlegend"] = False
    data: list[dict[str, Any]] = []
    height = 1 / len(stacked)
    for place, line in enumerate(stacked):
        axis = str(place + 1) if place else ""
        top = 1 - place * height
        layout[f"yaxis{axis}"] = _axis(label(line.name, 24)) | {"domain": [top - 0.86 * height, top]}
        drawn = thinned(line.values)
        data.append(
            _line(times[drawn], line.values[drawn], line.name, "--orange" if line is score else "--blue")
            | {"yaxis": f"y{axis}"}
        )
    last = f"y{len(stacked)}" if len(stacked) > 1 else "y"
    layout["xaxis"]["anchor"] = last
    if times.dtype.kind not in "fiu":
        layout["xaxis"]["type"] = "date"
    if wants_log(score.values):
        layout[f"yaxis{last[1:]}"]["type"] = "log"
    layout["shapes"] = [*_shades(spans), _level(threshold, last)]
    return Figure({"data": data, "layout": layout}, 80 + 150 * len(stacked), caption)


def window_figure(
    channel: str, x: np.ndarray, value: np.ndarray, expected: np.ndarray, x_title: str, caption: str
) -> Figure:
    """One channel of one window, what was expected drawn over what was there."""
    data = [
        _line(x, value, "given", "--blue"),
        _line(x, expected, "expected", "--orange", dash="dash"),
    ]
    return Figure({"data": data, "layout": _layout(x_title, label(channel))}, 260, caption)


def _line(
    x: np.ndarray, y: np.ndarray, name: str, colour: str, dash: str = "solid", mode: str = "lines"
) -> dict[str, Any]:
    style = {"color": colour, "width": 1.6, "dash": dash}
    return {"type": "scatter", "mode": mode, "x": plain(x), "y": plain(y), "name": label(name), "line": style}


def _steps(edges: np.ndarray, group: Line, colour: str, area: str, dash: str) -> dict[str, Any]:
    """A histogram as an outline: bars would be misplaced on a log axis."""
    counts = np.histogram(group.values, edges)[0]
    shares = 100 * counts / max(len(group.values), 1)
    outline = _line(edges, np.append(shares, shares[-1]), group.name, colour, dash=dash)
    outline["line"]["shape"] = "hv"
    return outline | {"fill": "tozeroy", "fillcolor": area, "hoverinfo": "skip"}


def _layout(x_title: str, y_title: str, log: bool = False) -> dict[str, Any]:
    return {
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "xaxis": _axis(x_title),
        "yaxis": _axis(y_title) | ({"type": "log"} if log else {}),
        "legend": {"orientation": "h", "x": 0, "xanchor": "left", "y": 1.02, "yanchor": "bottom"},
        "hoverlabel": {"bgcolor": "--card", "bordercolor": "--line", "font": {"color": "--ink"}},
    }


def _axis(title: str) -> dict[str, Any]:
    return {
        "title": {"text": title, "standoff": 8},
        "automargin": True,
        "gridcolor": "--line",
        "linecolor": "--line",
        "zerolinecolor": "--line",
        "nticks": 6,
    }


def _upright(x: float, colour: str) -> dict[str, Any]:
    return {
        "type": "line",
        "yref": "paper",
        "x0": x,
        "x1": x,
        "y0": 0,
        "y1": 1,
        "line": {"color": colour, "width": 1.5, "dash": "dot"},
    }


def _level(y: float, axis: str) -> dict[str, Any]:
    return {
        "type": "line", "xref": "paper", "yref": axis, "x0": 0, "x1": 1, "y0": y, "y1": y,
        "line": {"color": "--ink", "width": 1, "dash": "dot"},
    }  # fmt: skip


def _shades(spans: Sequence[tuple[Any, Any]]) -> list[dict[str, Any]]:
    edge = {"color": "--orange", "width": 0.5}
    shade = {"type": "rect", "yref": "paper", "y0": 0, "y1": 1, "fillcolor": "--shade", "line": edge, "layer": "below"}
    return [shade | {"x0": start, "x1": end} for start, end in spans[:MOST_SHADES]]


def _note(x: float, words: str, right: bool) -> dict[str, Any]:
    return {
        "x": x, "y": 1, "yref": "paper", "yanchor": "top", "xanchor": "right" if right else "left",
        "text": words, "showarrow": False, "xshift": -4 if right else 4,
    }  # fmt: skip
