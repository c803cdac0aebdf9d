"""Measures what a warm trial costs beside its training, by part.

    python benchmarks/bench_trial.py [--quick]      about a minute a round

`trace_trials.py` says what the parts are. A figure is the median over the warm trials of a sweep, the ratio
its share of a whole trial, which is a very short one: the cost beside its training does not grow with it.
"""

import json
import statistics
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from commands import run
from measure import Sample, Section, Work, seconds

TRIALS, QUICK_TRIALS = 10, 4


def parts(trials: int) -> dict[str, Sample]:
    printed = ""

    def trace() -> None:
        nonlocal printed
        script = str(Path(__file__).with_name("trace_trials.py"))
        printed = run([sys.executable, script, str(trials)], Path(folder))

    with TemporaryDirectory() as folder:
        whole = seconds(trace)
    warm = json.loads(printed.splitlines()[-1])
    return {part: replace(whole, value=statistics.median(one[part] for one in warm)) for part in warm[0]}


def variants(_: Path, quick: bool) -> dict[str, Work]:
    return {"a sweep": partial(parts, QUICK_TRIALS if quick else TRIALS)}


SECTIONS = [Section("trial", "seconds of a warm trial, by part", variants, "wall")]

if __name__ == "__main__":
    import runner

    runner.main(SECTIONS)
