"""Measures what commands cost that only answer, and the start-up of a sweep, beside `import hydra`.

    python benchmarks/bench_startup.py [startup sweep-startup] [--quick]      about a minute a round

`status` and `best` read studies of as many trials. `two trials` is a whole sweep of two tiny trials with two
workers, by launcher: mostly start-up.
"""

import sys
from collections.abc import Callable, Mapping
from functools import partial
from itertools import count
from pathlib import Path

from commands import FINESWEEP, TRAIN, run
from measure import Section, Work, seconds

SIZES, QUICK_SIZES = (1, 100, 1000), (1,)
TAB = {"COMP_LINE": "train.py model=", "COMP_POINT": "15"}
FINESWEEP_TAB = {"_FINESWEEP_COMPLETE": "bash_complete", "COMP_WORDS": "finesweep st", "COMP_CWORD": "1"}


def answers(folder: Path, quick: bool) -> dict[str, Work]:
    from bench_study import build

    def work(command: list[str], environ: Mapping[str, str] = {}) -> Work:
        return partial(seconds, partial(run, command, folder, environ))

    found = {
        "import hydra": work([sys.executable, "-c", "import hydra"]),
        "train.py --help": work([*TRAIN, "--help"]),
        "train.py --cfg job": work([*TRAIN, "--cfg", "job"]),
        "train.py, TAB": work([*TRAIN, "-sc", "query=bash"], TAB),
        "finesweep --help": work([*FINESWEEP, "--help"]),
        "finesweep, TAB": work(FINESWEEP, FINESWEEP_TAB),
    }
    for trials in QUICK_SIZES if quick else SIZES:
        (folder / str(trials)).mkdir()
        storage = build(trials, folder / str(trials)).storage
        for verb in ("status", "best"):
            found[f"{verb}, {trials} trials"] = work([*FINESWEEP, verb, "s", "--storage", storage])
    return found


def two_trials(launcher: str, folder: Path, number: Callable[[], int]) -> None:
    small = ["data.demo_rows=200", "trainer.num_train_epochs=1", "predict=false", "hydra.sweeper.workers=2"]
    study = [f"hydra.sweeper.study.name={launcher}-{number()}", "hydra.sweeper.study.n_trials=2"]
    run([*TRAIN, "-m", f"hydra/launcher={launcher}", *small, *study], folder)


def sweeps(folder: Path, quick: bool) -> dict[str, Work]:
    number = partial(next, count())
    launched = {
        f"two trials, {one}": partial(seconds, partial(two_trials, one, folder, number))
        for one in ("finesweep", "joblib")
    }
    hydra = partial(run, [sys.executable, "-c", "import hydra"], folder)
    return {"import hydra": partial(seconds, hydra)} | launched


SECTIONS = [
    Section("startup", "seconds, commands that only answer", answers, "import hydra"),
    Section("sweep-startup", "seconds, whole sweeps", sweeps, "import hydra", in_quick=False),
]

if __name__ == "__main__":
    import runner

    runner.main(SECTIONS)
