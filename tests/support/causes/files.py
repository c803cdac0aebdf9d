"""Damaged checkpoints, records and databases; no process is started."""

import logging
import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

from causes.base import Came, fault
from finesweep.config.run import TrackingConfig
from finesweep.errors import ConfigError, RunError
from finesweep.io import checkpoint
from finesweep.reproduce.recorded_run import load_recorded_run
from finesweep.study.storage import open_storage


def _checkpoints(folder: Path) -> Path:
    def write(into: Path) -> None:
        (into / "model.safetensors").write_bytes(b"weights")

    for step in (999_999, 1_000_000):
        checkpoint.save(write, folder, step)
    return folder / "step-1000000"


@contextmanager
def _logged() -> Iterator[list[str]]:
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.append(record.getMessage())  # type: ignore[method-assign]
    logging.getLogger("finesweep").addHandler(handler)
    try:
        yield lines
    finally:
        logging.getLogger("finesweep").removeHandler(handler)


def _falls_back(folder: Path) -> Came:
    """The newest checkpoint was harmed: the one before is used, the harmed one is set aside and named."""
    with _logged() as lines:
        found = checkpoint.newest(folder)
    right = found == folder / "step-999999"
    return Came(int(not right), any("damaged" in line for line in lines), right, "; ".join(lines)[:200])


@fault(quick=True)
def manifest_is_empty(folder: Path) -> Came:
    (_checkpoints(folder) / "manifest.json").write_text('{"files": {}}')
    return _falls_back(folder)


@fault(quick=True)
def manifest_is_nested_deeply(folder: Path) -> Came:
    (_checkpoints(folder) / "manifest.json").write_text("[" * 100_000)
    return _falls_back(folder)


@fault(quick=True)
def checkpoint_is_a_link_to_nothing(folder: Path) -> Came:
    newest = _checkpoints(folder)
    shutil.rmtree(newest)
    newest.symlink_to("nowhere")
    return _falls_back(folder)


@fault(quick=True)
def manifest_is_a_named_pipe(folder: Path) -> Came:
    manifest = _checkpoints(folder) / "manifest.json"
    manifest.unlink()
    os.mkfifo(manifest)
    return _falls_back(folder)


@fault(quick=True)
def record_is_a_named_pipe(folder: Path) -> Came:
    os.mkfifo(folder / "run.json")
    try:
        load_recorded_run(str(folder), TrackingConfig())
    except RunError as error:
        return Came(0, "run.json" in str(error), True, str(error))
    return Came(0, False, False, "loaded")


@fault(quick=True)
def study_database_is_of_a_newer_schema(folder: Path) -> Came:
    url = f"sqlite:///{folder}/optuna.db"
    open_storage(url).engine.dispose()
    with closing(sqlite3.connect(folder / "optuna.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = 'v9.9.9'")
        database.commit()
    try:
        open_storage(url)
    except ConfigError as error:
        return Came(0, "optuna" in str(error), True, str(error))
    return Came(0, False, False, "opened")
