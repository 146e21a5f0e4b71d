"""CPU seconds an epoch of autoencoders: ours through its public estimators, a textbook loop, and the peers.

    python benchmarks/speed.py [--fast] [NAME ...]

An epoch is (a fit of some more epochs, minus a fit of one) over those more, each the least of the rounds: what is done
once, such as reading, compiling, scoring and calibrating, is left out for everyone. Nobody holds rows out. Ours has its
defaults but for the shape, the epochs and the batch size; the others have Adam at 1e-3 and the squared error. Time is
that of the processor, on one thread (of the clock, where a work has two, or is on a GPU), and the rounds are
interleaved. `error` is the mean squared error over all rows after the longer fit. `MiB` is the most that a process of
its own held for a fit of one epoch, libraries included. A peer that is not installed is left out by name.
`of sgemm` is what the products of a step need, forward and backward, counted in the textbook network, over what a
product of two 1,024 x 1,024 matrices reaches on as many threads; `memory` is how fast a large array is copied. Works on
a GPU are there where torch finds one; ours is then also timed without its captured graph.
"""

from __future__ import annotations

import argparse
import io
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from importlib.util import find_spec
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "2")

import numpy as np
import torch
from common import process, save
from fits import SYSTEMS, WORKS, Fit, Work, products, rows_of, takes


def seconds(work: Work, of: Callable[[], Any]) -> tuple[float, Any]:
    clock = time.process_time if work.threads == 1 and work.device == "cpu" else time.perf_counter
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):  # some cannot be told to be quiet
        start = clock()
        result = of()
        if work.device != "cpu":
            torch.cuda.synchronize()
        return clock() - start, result


def limits(work: Work) -> tuple[float, float]:
    """Floating-point operations a second of square matrices; bytes a second read and written by a copy."""
    left, right = torch.randn(2, 1_024, 1_024, device=work.device)
    array = torch.zeros(2**26, device=work.device)
    copy = torch.ones_like(array)
    product = min(seconds(work, lambda: torch.mm(left, right))[0] for _ in range(20))
    copying = min(seconds(work, lambda: copy.copy_(array))[0] for _ in range(5))
    return 2 * 1_024**3 / product, 2 * 4 * 2**26 / copying


def memory(work: Work, name: str, fast: bool) -> float:
    """The most that a process held for a fit of one epoch, MiB."""
    return process(sys.executable, __file__, work.name, "--alone", name, *["--fast"] * fast).memory


def measured(work: Work, rounds: int, systems: dict[str, Fit], fast: bool) -> dict[str, dict[str, float]]:
    """By system: seconds an epoch, the longest of the longer fits over the shortest, error, share of sgemm, memory."""
    torch.set_num_threads(work.threads)
    x = rows_of(work)
    one: dict[str, list[float]] = {name: [] for name in systems}
    more: dict[str, list[float]] = {name: [] for name in systems}
    errors, rates = {}, []
    for _ in range(rounds):
        rates.append(limits(work))
        for name, fit in systems.items():
            torch.manual_seed(0)
            one[name].append(seconds(work, lambda fit=fit: fit(x, work, 1))[0])
            took, reconstruct = seconds(work, lambda fit=fit: fit(x, work, 1 + work.epochs))
            more[name].append(took)
            errors[name] = float(np.square(reconstruct(x) - x).mean())
    sgemm, copied = (max(each) for each in zip(*rates, strict=True))
    figures = {"machine": {"sgemm": sgemm, "copied": copied, "products": products(work)}}
    for name in systems:
        epoch = (min(more[name]) - min(one[name])) / work.epochs
        share, spread = products(work) / epoch / sgemm, max(more[name]) / min(more[name])
        rest = {"error": errors[name], "of_sgemm": share, "mebibytes": memory(work, name, fast)}
        figures[name] = {"seconds": epoch, "spread": spread, **rest}
    return figures


def lines_of(work: Work, figures: dict[str, dict[str, float]]) -> list[str]:
    threads = "one thread" if work.threads == 1 else f"{work.threads} threads, by the clock"
    place = threads if work.device == "cpu" else "on one GPU, by the clock"
    machine, least = figures["machine"], figures["machine"]["products"] / figures["machine"]["sgemm"]
    lines = [
        f"{work.name}: {work.shape}, {work.rows:,} rows, batch {work.batch:,}, {place}",
        f"  sgemm {machine['sgemm'] / 1e9:.0f} GFLOP/s, memory {machine['copied'] / 1e9:.0f} GB/s; an epoch's"
        f" {machine['products'] / 1e9:.1f} GFLOP take {least:.4f} s at that rate",
    ]
    for name, each in figures.items():
        if name == "machine":
            continue
        ratio = each["seconds"] / figures["Hourglass"]["seconds"]
        lines.append(
            f"  {name:15} {each['seconds']:9.4f} s an epoch  {ratio:6.2f} x ours  spread {each['spread']:.2f}"
            f"  error {each['error']:.5f}  {each['of_sgemm']:4.0%} of sgemm  {each['mebibytes']:5.0f} MiB"
        )
    return lines


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("works", nargs="*", help=f"which (default: all): {', '.join(work.name for work in WORKS)}")
    parser.add_argument("--fast", action="store_true", help="two rounds; an eighth of many rows, half of the pictures")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--alone", metavar="SYSTEM", help="one fit of one epoch, and nothing timed")
    return parser.parse_args()


def main() -> None:
    asked = arguments()
    warnings.simplefilter("ignore")
    for name in ("lightning", "pytorch_lightning", "pythae"):
        logging.getLogger(name).setLevel(logging.ERROR)
    works = [work.faster if asked.fast else work for work in WORKS if work.name in (asked.works or [work.name])]
    if asked.alone:
        for work in works:
            SYSTEMS[asked.alone][1](rows_of(work), work, 1)
        return
    absent = [name for name, (module, _) in SYSTEMS.items() if not find_spec(module)]
    for work in works:
        systems = {name: fit for name, (_, fit) in SYSTEMS.items() if name not in absent and takes(work, name)}
        figures = measured(work, 2 if asked.fast else asked.rounds, systems, asked.fast)
        lines = [f"not installed: {', '.join(absent)}"] * bool(absent) + lines_of(work, figures)
        command = f"python benchmarks/speed.py '{work.name}'" + " --fast" * asked.fast
        save(f"speed_{work.name.replace(' ', '_')}" + "_fast" * asked.fast, command, figures, lines)


if __name__ == "__main__":
    main()
