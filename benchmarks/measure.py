"""Measures variants in turn (A B C A B C ...), so that a slow minute of the machine affects all alike.

Every figure is a median with its range, and so is its ratio to the baseline's figure of the same round. CPU
seconds stand beside it, and the share of the machine that other processes took meanwhile.
"""

import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Sample:
    """One figure, and what it cost."""

    value: float  # examples/s, seconds, ...
    wall_s: float
    cpu_s: float  # of the processes that were measured
    others: float  # share of the machine's cores that other processes took


# Measures a variant once. Several samples are named, and become a row of the table each.
Work = Callable[[], Sample | Mapping[str, Sample]]
Samples = dict[str, list[Sample]]  # by row of the table; one for each round


@dataclass(frozen=True)
class Section:
    """Variants to compare."""

    name: str
    figure: str  # what is measured, with its unit
    variants: Callable[[Path, bool], Mapping[str, Work]]  # gets an empty folder, and whether the run is quick
    baseline: str  # the row that every figure is divided by
    in_quick: bool = True


def sample(work: Callable[[], float]) -> Sample:
    """Runs `work`, which returns the figure. CPU: of this process and of all that descend from it."""
    begin, cpu, machine = time.perf_counter(), _own_cpu(), _busy()
    value = work()
    wall, own = time.perf_counter() - begin, _own_cpu() - cpu
    return Sample(value, wall, own, _others(_busy() - machine - own, wall))


def seconds(work: Callable[[], object]) -> Sample:
    """Measures how long `work` takes."""

    def timed() -> float:
        begin = time.perf_counter()
        work()
        return time.perf_counter() - begin

    return sample(timed)


def rate(count: int, work: Callable[[], object]) -> Sample:
    """Measures how many things a second `work` does, which does `count` of them."""

    def timed() -> float:
        begin = time.perf_counter()
        work()
        return count / (time.perf_counter() - begin)

    return sample(timed)


def together(functions: Sequence[Callable[[], Sample]]) -> Sample:
    """Runs each function in a process of its own, all at once, and adds up their figures.

    Each process has its share of the cores, and is forked from a server that has imported all libraries.
    """
    from finesweep.machine.fork_server import run_each

    samples = run_each(functions)
    wall, own = max(one.wall_s for one in samples), sum(one.cpu_s for one in samples)
    # What one process sees of the others it cannot tell from strangers: the machine's time less their own.
    busy = max(one.others * one.wall_s * _cores() + one.cpu_s for one in samples)
    return Sample(sum(one.value for one in samples), wall, own, _others(busy - own, wall))


def _own_cpu() -> float:
    total = 0.0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        with suppress(psutil.NoSuchProcess):
            times = process.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def _busy() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def _others(cpu_s: float, wall_s: float) -> float:
    return max(0.0, cpu_s) / (wall_s * _cores())


def _cores() -> int:
    return psutil.cpu_count() or 1


def in_turn(variants: Mapping[str, Work], rounds: int, title: str = "") -> Samples:
    """Measures each variant `rounds` times, all of them in each round."""
    samples: Samples = {}
    for index in range(rounds):
        for name, work in variants.items():
            print(f"\r{title} [{index + 1}/{rounds}] {name:40}", end="", file=sys.stderr, flush=True)
            measured = work()
            named = {name: measured} if isinstance(measured, Sample) else measured
            for row, one in named.items():
                samples.setdefault(row, []).append(one)
    print(f"\r{'':79}\r", end="", file=sys.stderr)
    return samples


def ratios(of: Sequence[Sample], to: Sequence[Sample]) -> list[float]:
    """Divides the figures of two variants round by round. A baseline of zero gives NaN."""
    pairs = zip(of, to, strict=True)
    return [one.value / other.value if other.value else float("nan") for one, other in pairs]


def median_others(samples: Sequence[Sample]) -> float:
    return statistics.median(one.others for one in samples)


def spread(values: Sequence[float]) -> str:
    """Formats a median and its range, with three digits: `2.15 (2.04 to 2.22)`."""
    digits = partial(_digits, places=max(0, 2 - _magnitude(statistics.median(values))))
    return f"{digits(statistics.median(values))} ({digits(min(values))} to {digits(max(values))})"


def _magnitude(value: float) -> int:
    return int(f"{value:e}".partition("e")[2]) if value == value and value else 0


def _digits(value: float, places: int) -> str:
    return f"{value:,.{min(places, 4)}f}"
