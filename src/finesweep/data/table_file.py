"""Reads one table file into columns: CSV (quoted), TSV (not quoted, as in GLUE), JSON, parquet, CoNLL."""

import csv
import io
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from finesweep.data.conll import read_conll
from finesweep.data.source import at_line
from finesweep.data.tsv import read_text, read_tsv
from finesweep.errors import DataError
from finesweep.io.reading import decode


@dataclass(frozen=True)
class TableFile:
    """The content of a table file.

    `columns[name][row]` is a cell, None if it is missing. `lines[row]` is the line on which a row starts,
    counted from 1; `lines` is None for files without lines.
    """

    path: Path
    columns: dict[str, list[Any]]
    lines: list[int] | None

    def place(self, row: int) -> str:
        """Names a row's place for messages. `row` counts from 0; messages from 1, without the header."""
        line = f", line {self.lines[row]}" if self.lines else ""
        return f"{self.path}, row {row + 1}{line}"


def read_table(path: Path) -> TableFile:
    """Reads every column of a file whose suffix is one of `EXTENSIONS`.

    Raises:
        DataError: the content does not match the suffix, or has no rows. Names the line if there is one.
    """
    table = _READERS[path.suffix.lower()](path)
    if not table.columns or not next(iter(table.columns.values())):
        raise DataError(f"{path}: no rows")
    return table


def _csv(path: Path) -> TableFile:
    reader = csv.reader(io.StringIO(read_text(path), newline=""), strict=True)
    rows, lines = [], []
    try:
        header = next(reader)
        start = reader.line_num + 1
        for row in reader:
            if row and len(row) != len(header):
                problem = f"{len(row)} fields, expected {len(header)}: {row[:3]}"
                raise DataError(f"{at_line(path, start)}: {problem}")
            if row:  # the csv module returns an empty line as an empty list
                rows.append(row)
                lines.append(start)
            start = reader.line_num + 1
    except csv.Error as error:
        raise DataError(f"{at_line(path, reader.line_num)}: not valid CSV: {error}") from error
    _check_unique(path, header)
    return TableFile(path, {name: [row[i] or None for row in rows] for i, name in enumerate(header)}, lines)


def _tsv(path: Path) -> TableFile:
    tsv = read_tsv(path, None)
    columns: dict[str, list[Any]] = {name: [c or None for c in cells] for name, cells in tsv.columns.items()}
    return TableFile(path, columns, tsv.lines)


def _json(path: Path) -> TableFile:
    text = read_text(path)
    if text.lstrip().startswith("["):
        return _columns(path, _parsed(path, text, 1), None)
    numbered = [(n, line) for n, line in enumerate(text.split("\n"), start=1) if line.strip()]
    return _columns(path, [_parsed(path, line, n) for n, line in numbered], [n for n, _ in numbered])


def _parsed(path: Path, text: str, line: int) -> Any:
    try:
        return decode(text)
    except json.JSONDecodeError as error:
        raise DataError(f"{at_line(path, line + error.lineno - 1)}: not valid JSON: {error.msg}") from error
    except ValueError as error:  # nested too deeply, or a number of thousands of digits
        raise DataError(f"{at_line(path, line)}: not valid JSON: {error}") from error


def _columns(path: Path, rows: list[Any], lines: list[int] | None) -> TableFile:
    names: dict[str, None] = {}
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            place = TableFile(path, {}, lines).place(index)
            raise DataError(f'{place}: got {row!r}; expected an object such as {{"text": "..."}}')
        names.update(dict.fromkeys(row))
    return TableFile(path, {name: [row.get(name) for row in rows] for name in names}, lines)


def _conll(path: Path) -> TableFile:
    return TableFile(path, *read_conll(path))


def _parquet(path: Path) -> TableFile:
    try:
        table = pq.read_table(path)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: not a readable parquet file: {error}") from error
    _check_unique(path, table.column_names)
    return TableFile(path, table.to_pydict(), None)


def _check_unique(path: Path, header: list[str]) -> None:
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise DataError(f"{path}: the column {repeated[0]!r} is there more than once; rename one")


_READERS: dict[str, Callable[[Path], TableFile]] = {
    ".csv": _csv,
    ".tsv": _tsv,
    ".jsonl": _json,
    ".json": _json,
    ".parquet": _parquet,
    ".conll": _conll,
}
EXTENSIONS = tuple(_READERS)
