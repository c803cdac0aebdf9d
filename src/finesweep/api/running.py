"""Runs a training, or a whole sweep, from a program or a notebook."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from finesweep.api.composing import CONFIG, Overrides, as_config_errors, hydra_of, written
from finesweep.api.study import Study
from finesweep.cli.train import job
from finesweep.config.run import RunConfig
from finesweep.machine import determinism

if TYPE_CHECKING:
    from finesweep.training.run import RunResult


def run(
    config: RunConfig, output_dir: str | Path | None = None, overrides: Sequence[str] = ()
) -> "RunResult":
    """Trains, tracks, and keeps the best checkpoint; then predicts the test split, if the data has one.

    output_dir: the folder of the run; by default a new one, `outputs/DATA/TIME`. overrides: for the record.
    Side effects: writes under `output_dir` and `cache_dir`, and into the MLflow store.
    Raises: FinesweepError for bad input; whatever the training raises; KeyboardInterrupt, after the run was
    closed, and a run of the same config in the same folder goes on from there.
    """
    determinism.fix_cublas_workspace()
    from finesweep.training import preflight

    preflight.check(config)
    from finesweep.training.run import run as train_and_track

    now = datetime.now().strftime("%Y-%m-%d_%H-%M-%S-%f")
    folder = Path("outputs", config.data.name, now) if output_dir is None else Path(output_dir)
    return train_and_track(config, folder.resolve(), overrides)


def sweep(
    overrides: Overrides = (), sweep: str = "quickstart", *, config_dir: str | Path | None = None
) -> Study:
    """Runs a sweep, as `python train.py -m sweep=SWEEP OVERRIDES` does, and returns its study.

    A study that was interrupted goes on, and one that is finished is returned at once.
    overrides: as for `load_config`; also ranges, and keys of the sweep: `hydra.sweeper.study.n_trials=20`.
    sweep: the name of a file in `sweeps/`, the folder beside `config_dir`.
    Side effects: those of its runs, which worker processes train; it prints what begins and ends.
    Raises: FinesweepError; KeyboardInterrupt, after running trials were saved and handed back.
    """
    determinism.fix_cublas_workspace()
    arguments = written([f"sweep={sweep}"]) + written(overrides)
    with hydra_of(config_dir) as hydra, _same_log(), as_config_errors(arguments):
        request = hydra.multirun(CONFIG, job, arguments, with_log_configuration=False)
    return Study(request.name, request.config.study.storage, request.run.tracking.uri)


@contextmanager
def _same_log() -> Iterator[None]:
    """Restores the handlers of the root logger, which a worker in this very process sends to a file."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    try:
        yield
    finally:
        root.handlers[:] = handlers
        root.setLevel(level)
