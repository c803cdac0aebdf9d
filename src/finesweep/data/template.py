"""Reads a sample submission, and finds the row to predict of each of its ids."""

import hashlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from finesweep.config.run import DataConfig, DataSource
from finesweep.data.readers import kind, read_table
from finesweep.data.source import Source
from finesweep.data.split import Part
from finesweep.data.table_file import Request
from finesweep.data.text import read_bytes
from finesweep.errors import ConfigError, DataError
from finesweep.tasks.base import Task
from finesweep.tasks.template import KEY, Sample, Submission, values_of

SUFFIXES = (".csv", ".tsv")
_SHOWN = 3  # ids in a message


def check_submission(config: DataConfig) -> None:
    """Checks the keys of `data.submission`. Raises: ConfigError."""
    template = config.submission.template
    if template is None:
        if config.submission.values is not None:
            raise ConfigError.at(
                "data.submission.values", config.submission.values.value, f"null without {KEY}"
            )
        return
    if config.source is not DataSource.table:
        raise ConfigError.at(KEY, template, "null, for only data.source=table has rows with ids of their own")
    if config.test_split is None:
        raise ConfigError.at("data.test_split", None, f"the rows that {KEY}={template} is a sample for")


def submission_of(
    config: DataConfig, source: Source, test: Sequence[Part], task: Task, names: Sequence[str]
) -> Submission:
    """Reads the sample that `config` names. Raises: ConfigError; DataError if it has not the rows' ids."""
    sample = _read(config)
    if len(test) != 1:
        raise ConfigError.at("data.test_split", config.test_split, f"one split, the rows of {sample.path}")
    ids = _ids(source, test[0], sample)
    row_of = {number: row for row, number in enumerate(ids)}
    _check_ids(sample, ids, source.where(test[0].split))
    return Submission(sample, [row_of[number] for number in sample.ids], values_of(task, sample, names))


def _read(config: DataConfig) -> Sample:
    name = Path(str(config.submission.template)).expanduser()
    inside = Path(str(config.path)).expanduser() / name
    path = name if name.is_file() or not inside.is_file() else inside
    if not path.is_file() or kind(path) != path.suffix.lower() or kind(path) not in SUFFIXES:
        legal = f"a file ({' or '.join(SUFFIXES)}), in the working folder or in data.path"
        raise ConfigError.at(KEY, config.submission.template, legal)
    header = read_table(path, Request([], config)).names
    if len(header) < 2 or len(set(header)) < len(header):
        raise DataError(f"{path}: expected different columns, the first of ids and one at least to be filled")
    table = read_table(path, Request(header, config))
    cells = [list(row) for row in zip(*(table.columns[column] for column in header[1:]), strict=True)]
    sha256 = hashlib.sha256(read_bytes(path)).hexdigest()
    ids = list(map(as_id, table.columns[header[0]]))
    return Sample(path, list(header), ids, cells, table.delimiter, sha256)


def as_id(cell: Any) -> str:
    """Writes an id as a CSV file has it, so that ids of all formats can be compared."""
    whole = isinstance(cell, float) and cell.is_integer()
    return str(int(cell) if whole else cell).strip()


def _ids(source: Source, part: Part, sample: Sample) -> list[str]:
    """Returns the ids of the rows to predict; their numbers if the file has no such column."""
    column, rows = sample.header[0], range(part.start, part.start + len(part.rows))
    if (cells := source.cells(part.split, column)) is not None:
        return [as_id(cells[row]) for row in rows]
    for first in (0, 1):  # rows may be counted from 0, or from 1
        if sample.ids == [str(row + first) for row in rows]:
            return sample.ids
    raise DataError(
        f"{source.where(part.split)}: no column {column!r}, by which {sample.path} names its rows"
    )


def _check_ids(sample: Sample, ids: list[str], where: str) -> None:
    """Raises: DataError unless the sample has each id of the rows to predict exactly once."""
    for place, numbers in ((sample.path, sample.ids), (where, ids)):
        if twice := [number for number, count in Counter(numbers).items() if count > 1]:
            raise DataError(f"{place}: column {sample.header[0]!r} has {_some(twice)} more than once")
    known, sampled = set(ids), set(sample.ids)
    if missing := [number for number in sample.ids if number not in known]:
        raise DataError(f"{sample.path}: {_some(missing)} not among the ids of {where}")
    if extra := [number for number in ids if number not in sampled]:
        raise DataError(f"{where}: {_some(extra)} not among the ids of {sample.path}")


def _some(ids: Sequence[str]) -> str:
    more = f", ... ({len(ids)} ids)" if len(ids) > _SHOWN else ""
    return ", ".join(map(repr, ids[:_SHOWN])) + more
