"""Commands that only answer import none of the libraries that train."""

import os
import subprocess
import sys

import pytest
from processes import ROOT, TRAIN
from sweeping import STORAGE, evaluate, sweep

TRAINING = {"torch", "transformers", "datasets", "pandas", "pyarrow", "mlflow", "sklearn", "scipy"}
STORES = {"optuna", "sqlalchemy", "rich"}
FINESWEEP = str(ROOT / "src/finesweep/cli/main.py")
# Runs sys.argv[1] as Python would, then names every imported module in the last line of stderr.
RUN = """
import os, runpy, sys
del sys.argv[0]
sys.path[0] = os.path.dirname(sys.argv[0])
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
finally:
    print(",".join(sys.modules), file=sys.stderr)
"""


def imported_by(*command: str, **environ: str) -> tuple[str, set[str]]:
    """Runs a command in a new Python. Returns its output, and the names of all modules that it imported."""
    done = subprocess.run(
        [sys.executable, "-c", RUN, *command],
        capture_output=True,
        text=True,
        env=os.environ | environ,
        check=True,
    )
    return done.stdout, set(done.stderr.splitlines()[-1].split(","))


@pytest.mark.parametrize(
    ("asked", "answer"), [(["--help"], "model: bert-base"), (["--cfg", "job"], "learning_rate: ")]
)
def test_a_command_that_does_not_train_imports_nothing_that_trains(
    asked: tuple[str, ...], answer: str
) -> None:
    for command in (TRAIN, (FINESWEEP, "train")):
        stdout, modules = imported_by(*command, *asked)
        assert answer in stdout
        assert not modules & (TRAINING | STORES)


def test_a_tab_imports_nothing_that_trains() -> None:
    stdout, modules = imported_by(
        *TRAIN, "-sc", "query=bash", COMP_LINE="train.py model=bert-t", COMP_POINT="21"
    )
    assert stdout.split() == ["model=bert-tiny"]
    assert not modules & (TRAINING | STORES)
    wanted = {"_FINESWEEP_COMPLETE": "bash_complete", "COMP_WORDS": "finesweep st", "COMP_CWORD": "1"}
    stdout, modules = imported_by(FINESWEEP, **wanted)
    assert stdout.split() == ["plain,studies", "plain,stop", "plain,status"]
    assert not modules & (TRAINING | STORES)


@pytest.mark.usefixtures("no_finish")
def test_status_best_and_report_import_nothing_that_trains() -> None:
    sweep(lambda _, trial: evaluate(trial, [0.5]), "hydra.sweeper.study.n_trials=1")
    for verb in ("status", "best"):
        stdout, modules = imported_by(FINESWEEP, verb, "quickstart", "--storage", STORAGE)
        assert "best:         accuracy 0.5000 (trial 0)" in stdout
        assert not modules & TRAINING
    for verb in (["studies"], ["runs", "quickstart"]):
        stdout, modules = imported_by(FINESWEEP, *verb, "--storage", STORAGE)
        assert "0.5000" in stdout
        assert not modules & TRAINING
    stdout, modules = imported_by(FINESWEEP, "report", "quickstart", "--storage", STORAGE)
    assert stdout.endswith("quickstart.html\n")
    assert not modules & {"torch", "transformers", "datasets"}
