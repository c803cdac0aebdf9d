"""Measures variants in turn (A B C A B C ...), so that a slow minute of the machine affects all alike.

Every figure is a median with its range. CPU seconds stand beside wall seconds, and the share of the machine
that other processes took while a figure was measured: above a few per cent, measure again.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Sample:
    """One measurement: what the variant did, in its own unit, and what that cost."""

    value: float  # examples/s, seconds, ...
    wall_s: float
    cpu_s: float  # of this process, its threads and the children that have ended
    others: float  # share of the machine's cores that other processes took


def sample(work: Callable[[], float]) -> Sample:
    """Runs `work`, which returns the figure."""
    begin, cpu, machine = time.perf_counter(), _own_cpu(), _busy()
    value = work()
    wall, own = time.perf_counter() - begin, _own_cpu() - cpu
    others = max(0.0, _busy() - machine - own) / (wall * (psutil.cpu_count() or 1))
    return Sample(value, wall, own, others)


def _own_cpu() -> float:
    times = psutil.Process().cpu_times()
    return float(times.user + times.system + times.children_user + times.children_system)


def _busy() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def in_turn(variants: Mapping[str, Callable[[], float]], rounds: int) -> dict[str, list[Sample]]:
    """Measures each variant `rounds` times, all of them in each round."""
    samples: dict[str, list[Sample]] = {name: [] for name in variants}
    for index in range(rounds):
        for name, work in variants.items():
            print(f"\r[{index + 1}/{rounds}] {name:40}", end="", file=sys.stderr, flush=True)
            samples[name].append(sample(work))
    print(f"\r{'':60}\r", end="", file=sys.stderr)
    return samples


def ratios(of: list[Sample], to: list[Sample]) -> list[float]:
    """Divides the figures of two variants round by round."""
    return [one.value / other.value for one, other in zip(of, to, strict=True)]


def spread(values: list[float], digits: int = 2) -> str:
    """Formats a median and its range: `2.15 (2.04 to 2.22)`."""
    return f"{statistics.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def report(title: str, samples: Mapping[str, list[Sample]], baseline: str, file: Path | None) -> None:
    """Prints a table, each variant as a ratio to `baseline`, and writes all samples as JSON."""
    print(f"{title}\n{'':32}{'figure':>30}{'to ' + baseline:>28}{'CPU s':>8}{'others':>8}")
    for name, own in samples.items():
        figure = spread([one.value for one in own], 1)
        ratio = spread(ratios(own, samples[baseline]))
        cpu = statistics.median(one.cpu_s for one in own)
        others = statistics.median(one.others for one in own)
        print(f"{name:32}{figure:>30}{ratio:>28}{cpu:>8.1f}{others:>8.0%}")
    if file:
        content = {name: [asdict(one) for one in own] for name, own in samples.items()}
        file.write_text(
            json.dumps({"title": title, "baseline": baseline, "samples": content}, indent=1) + "\n"
        )
