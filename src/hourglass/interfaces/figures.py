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
_GROUP_COLOURS = ("#0072b2", "#e69f00", "#009e73", "#d55e00", "#56b4e9", "#cc79a7", "#f0e442", "--ink")
_GROUP_MARKS = ("circle", "diamond", "cross")
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


def wants_log(values: np.ndarray, ratio: float) -> bool:
    """Whether values are better seen by their size: all positive, the largest above `ratio` times the middle one."""
    known = values[np.isfinite(values)]
    return bool(len(known) and known.min() > 0 and known.max() > ratio * np.median(known))


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
    layout = _layout("epoch", label(term))
    layout["yaxis"] |= _log(every) if every.min() > 0 and every.max() > 20 * every.min() else {}
    if best_epoch:
        layout["shapes"] = [_upright(best_epoch, "--green")]
        layout["annotations"] = [_note(best_epoch, "weights kept", right=best_epoch > 0.7 * len(training))]
    kept = f"; the weights of epoch {best_epoch:,} were kept" if best_epoch else ""
    return Figure({"data": data, "layout": layout}, 300, f"The term “{term}” over {len(training):,} epochs{kept}.")


def score_histogram(groups: Sequence[Line], threshold: float, flagged: np.ndarray, noun: str, caption: str) -> Figure:
    """How scores spread, each group as shares of itself, the threshold across and a tick for each flagged one."""
    every = np.concatenate([*(group.values for group in groups), [threshold]])
    log = wants_log(every, 15)
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
    layout["xaxis"] |= _log(every) if log else {}
    layout["yaxis"]["rangemode"] = "tozero"
    layout["shapes"] = [_upright(threshold, "--orange")]
    place = float(np.log10(threshold)) if log else threshold  # an annotation on a log axis stands at the exponent
    layout["annotations"] = [_note(place, "threshold", right=threshold > edges[int(0.7 * _BINS)])]
    return Figure({"data": data, "layout": layout}, 320, caption)


def calibration_curve(p_values: np.ndarray, noun: str) -> Figure:
    """What share is flagged at every false-alarm rate that could be asked for, beside that rate itself."""
    rates = np.geomspace(max(float(p_values.min()), 1e-6), 1.0, _BINS)
    shares = np.searchsorted(np.sort(p_values), rates, side="right") / len(p_values)
    courses = [(shares, f"these {noun}s", "--blue", "solid"), (rates, "as asked", "--ink", "dot")]
    layout = _layout("false-alarm rate asked for (%)", f"share of {noun}s flagged (%)")
    layout["xaxis"] |= _log(100 * rates)
    layout["yaxis"] |= _log(100 * rates)
    words = (
        f"The share of {noun}s that each false-alarm rate would flag. The dotted line is what normal ones give: where "
        f"the curve is above it at low rates alone, some {noun}s are odd; where it always is, what is normal changed."
    )
    data = [_line(100 * rates, 100 * values, name, colour, dash=dash) for values, name, colour, dash in courses]
    return Figure({"data": data, "layout": layout}, 320, words)


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
    """Codes as points in the plane, coloured by score; flagged ones are diamonds."""
    low, high = np.quantile(score, [0.1, 0.98])  # one very odd sample must not make all others look alike
    layout = _layout(*axes)
    layout["coloraxis"] = {
        "cmin": float(low),
        "cmax": max(float(high), float(low) + 1e-9),
        "colorscale": _SCORE_COLOURS,
        "colorbar": {"title": {"text": "score", "side": "right"}, "thickness": 10, "outlinewidth": 0},
    }
    plain_mark: dict[str, Any] = {"size": 6, "opacity": 0.75}
    flagged_mark: dict[str, Any] = {"symbol": "diamond", "size": 10, "line": {"width": 1, "color": "--ink"}}
    kinds = [("not flagged", ~flagged, plain_mark), ("flagged", flagged, flagged_mark)]
    data = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": kind,
            "x": plain(points[which, 0]),
            "y": plain(points[which, 1]),
            "text": [f"{label(names[i])}<br>score {score[i]:.4g}" for i in np.flatnonzero(which).tolist()],
            "hovertemplate": "%{text}<extra></extra>",
            "marker": {**marker, "color": plain(score[which]), "coloraxis": "coloraxis"},
            "showlegend": False,
        }
        for kind, which, marker in kinds
        if which.any()
    ]
    return Figure({"data": data, "layout": layout}, 420, caption)


def label_map(
    points: np.ndarray, labels: np.ndarray, names: Sequence[str], axes: tuple[str, str], caption: str
) -> Figure:
    """Codes as points in the plane, each label with a colour and, where those run out, a mark of its own."""
    data = []
    for place, word in enumerate(sorted(set(labels.tolist()), key=_in_order)):
        which = np.flatnonzero(labels == word)
        mark = {"size": 6, "opacity": 0.75, "color": _GROUP_COLOURS[place % 8], "symbol": _GROUP_MARKS[place // 8 % 3]}
        data.append(
            {
                "type": "scatter",
                "mode": "markers",
                "name": label(word, 24),
                "x": plain(points[which, 0]),
                "y": plain(points[which, 1]),
                "text": [f"{label(names[i])}<br>{label(word)}" for i in which.tolist()],
                "hovertemplate": "%{text}<extra></extra>",
                "marker": mark,
            }
        )
    return Figure({"data": data, "layout": _layout(*axes)}, 460, caption)


def _in_order(word: str) -> tuple[bool, float, str]:
    """Numbers by their size, then words."""
    try:
        return False, float(word), word
    except ValueError:
        return True, 0.0, word


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
    is_clock = times.dtype.kind not in "fiu"
    layout, axes = _lanes([line.name for line in stacked], "time" if is_clock else "step")
    layout["showlegend"] = False
    layout["xaxis"] |= {"type": "date"} if is_clock else {}
    if wants_log(score.values, 200):
        layout[f"yaxis{axes[-1][1:]}"] |= _log(score.values)
    layout["shapes"] = [*_shades(spans), _level(threshold, axes[-1])]
    data = []
    for line, axis in zip(stacked, axes, strict=True):
        drawn = thinned(line.values)
        colour = "--orange" if line is score else "--blue"
        data.append(_line(times[drawn], line.values[drawn], line.name, colour) | {"yaxis": axis})
    return Figure({"data": data, "layout": layout}, 80 + 150 * len(stacked), caption)


def window_figure(x: np.ndarray, given: Sequence[Line], expected: Sequence[Line], x_title: str, caption: str) -> Figure:
    """The channels of one window above one another, what was expected drawn over what was given."""
    layout, axes = _lanes([line.name for line in given], x_title)
    data = []
    for place, (line, guess, axis) in enumerate(zip(given, expected, axes, strict=True)):
        shared = {"yaxis": axis, "showlegend": not place}
        data.append(_line(x, line.values, "given", "--blue") | shared)
        data.append(_line(x, guess.values, "expected", "--orange", dash="dash") | shared)
    return Figure({"data": data, "layout": layout}, 110 + 150 * len(given), caption)


def _lanes(names: Sequence[str], x_title: str) -> tuple[dict[str, Any], list[str]]:
    """The layout of lines above one another over one x axis, and the name of each one's y axis."""
    layout = _layout(x_title, "")
    axes = ["y", *(f"y{place}" for place in range(2, len(names) + 1))]
    for place, (name, axis) in enumerate(zip(names, axes, strict=True)):
        low, high = 1 - (place + 1) / len(names), 1 - place / len(names)
        gap = 0.0 if axis == axes[-1] else 0.14 / len(names)
        layout[f"yaxis{axis[1:]}"] = _axis(label(name, 24)) | {"domain": [max(low, 0.0) + gap, high]}
    layout["xaxis"]["anchor"] = axes[-1]
    return layout, axes


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


def _layout(x_title: str, y_title: str) -> dict[str, Any]:
    return {
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "xaxis": _axis(x_title),
        "yaxis": _axis(y_title),
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


def _log(values: np.ndarray) -> dict[str, Any]:
    """What makes an axis for positive values a log one: ticks at 1, 2, 5, or at powers of ten where those are many."""
    dense = np.nanmax(values) < 1e3 * np.nanmin(values)
    return {"type": "log", "dtick": "D2" if dense else 1, "minorloglabels": "complete"}


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
