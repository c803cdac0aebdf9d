"""Measures what commands cost that only answer, and the start-up of a sweep, beside `import hydra`.

    python benchmarks/bench_startup.py [--rounds 5]      about five minutes

All commands run in turn in each round (A B C ... A B C ...), so that a slow minute affects all alike.
Prints one JSON line for each: CPU seconds of all its processes and wall seconds, each as median, least and
most, and the ratio of the CPU seconds to those of `import hydra` in the same round. `two trials` is a whole
sweep of two tiny trials with two workers, by launcher: mostly start-up.
"""

import argparse
import ctypes
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from bench_study import build

ROOT = Path(__file__).resolve().parent.parent
TRAIN = [sys.executable, str(ROOT / "train.py")]
FINESWEEP = [sys.executable, "-m", "finesweep.cli.main"]
SIZES = (1, 100, 1000)  # trials of the studies that `status` and `best` read
TAB = {"COMP_LINE": "train.py model=", "COMP_POINT": "15"}
FINESWEEP_TAB = {"_FINESWEEP_COMPLETE": "bash_complete", "COMP_WORDS": "finesweep st", "COMP_CWORD": "1"}
PR_SET_CHILD_SUBREAPER = 36
Command = tuple[list[str], dict[str, str]]


def commands(folder: Path) -> dict[str, Command]:
    found: dict[str, Command] = {
        "import hydra": ([sys.executable, "-c", "import hydra"], {}),
        "train.py --help": ([*TRAIN, "--help"], {}),
        "train.py --cfg job": ([*TRAIN, "--cfg", "job"], {}),
        "train.py, TAB": ([*TRAIN, "-sc", "query=bash"], TAB),
        "finesweep --help": ([*FINESWEEP, "--help"], {}),
        "finesweep, TAB": (FINESWEEP, FINESWEEP_TAB),
    }
    for trials in SIZES:
        place = folder / str(trials)
        place.mkdir()
        storage = build(trials, place).storage
        for verb in ("status", "best"):
            found[f"{verb}, {trials} trials"] = ([*FINESWEEP, verb, "s", "--storage", storage], {})
    return found


def run(command: Command, folder: Path) -> tuple[float, float]:
    """Returns CPU seconds, with those of all its processes that have ended, and wall seconds."""
    arguments, environ = command
    before, start = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    done = subprocess.run(arguments, cwd=folder, env=os.environ | environ, capture_output=True, text=True)
    wall = time.perf_counter() - start
    with suppress(ChildProcessError):  # the launcher's server ends after its command
        while os.wait():
            pass
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, wall


def two_trials(launcher: str, number: int) -> Command:
    small = ["data.demo_rows=200", "trainer.num_train_epochs=1", "predict=false", "hydra.sweeper.workers=2"]
    study = [f"hydra.sweeper.study.name={launcher}-{number}", "hydra.sweeper.study.n_trials=2"]
    return [*TRAIN, "-m", f"hydra/launcher={launcher}", *small, *study], {}


def spread(values: list[float]) -> dict[str, float]:
    return {
        "median": round(statistics.median(values), 3),
        "least": round(min(values), 3),
        "most": round(max(values), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1)  # Linux: what a command leaves behind is counted, too
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        listed = commands(folder)
        seconds: dict[str, list[tuple[float, float]]] = {}
        for number in range(rounds):
            sweeps = {f"two trials, {one}": two_trials(one, number) for one in ("finesweep", "joblib")}
            for what, command in (listed | sweeps).items():
                seconds.setdefault(what, []).append(run(command, folder))
    hydra = [cpu for cpu, _ in seconds["import hydra"]]
    for what, measured in seconds.items():
        cpus, walls = map(list, zip(*measured, strict=True))
        ratios = [cpu / own for cpu, own in zip(cpus, hydra, strict=True)]
        print(
            json.dumps({"command": what, "cpu": spread(cpus), "wall": spread(walls), "ratio": spread(ratios)})
        )


if __name__ == "__main__":
    main()
