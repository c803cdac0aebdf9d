"""Writes predictions of the user's own test rows: a tab-separated file with one line per row, in order."""

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from finesweep.errors import ConfigError, OutputError
from finesweep.io.atomic import write_text
from finesweep.tasks.base import Task


def check_names(task: Task, names: Sequence[str]) -> None:
    """Raises: ConfigError, before training, for a label name that a prediction file cannot hold."""
    if (broken := task.unwritable_name(names)) is not None:
        legal = "names that a prediction file can hold: without tabs, line breaks and the label separator"
        raise ConfigError.at("data.labels", broken, legal)


def write_predictions(
    directory: Path, split: str, header: Sequence[str], rows: Iterable[Sequence[str]]
) -> Path:
    """Writes `directory/<split>.tsv` whole or not at all. Its first column, `index`, counts rows from 0.

    header, rows: the names of the other columns, and their cells. Raises: OutputError.
    """
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", split).strip("_.")
    path = directory / f"{name}.tsv"
    lines = ["\t".join(["index", *header]), *("\t".join([str(i), *row]) for i, row in enumerate(rows))]
    try:
        directory.mkdir(parents=True, exist_ok=True)
        write_text(path, "\n".join(lines) + "\n")
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error}") from error
    return path
