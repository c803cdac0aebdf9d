"""Reads CSV (quoted, with a delimiter that is set or fits the header) and TSV (not quoted, as in GLUE)."""

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from finesweep.config.run import TAB
from finesweep.data.source import at_line
from finesweep.data.table_file import Request, TableFile, delimited_table, table_text
from finesweep.data.text import split_lines
from finesweep.errors import DataError

_DELIMITERS = (",", ";", "\t", "|")  # of equally good ones, the first is taken
_NAMES = {"\t": TAB}
_DECLARED = re.compile(r'"?sep=([^\r\n"])"?(\r\n|\r|\n)', re.IGNORECASE)  # the first line of Excel's files
csv.field_size_limit(2**31 - 1)  # the library's limit, 131,072 characters, is less than a long document


def read_csv(path: Path, request: Request) -> TableFile:
    """Reads a CSV file; empty lines are no rows. Raises: DataError for a line unlike the header."""
    text, notes = table_text(path, request.config)
    text, declared = _declared(text)
    configured = request.config.delimiter
    delimiter = "\t" if configured == TAB else configured or declared or _fitting(text, request.columns)
    if configured is None and delimiter != ",":
        shown, shows = _NAMES.get(delimiter, repr(delimiter)), "first line" if declared else "header"
        notes.append(f"{path}: fields are separated by {shown}, as its {shows} shows (data.delimiter)")
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    first = 2 if declared else 1
    rows, lines, start = [], [], first
    try:
        for row in reader:
            if row:  # the csv module returns an empty line as an empty list
                rows.append(row)
                lines.append(start)
            start = reader.line_num + first
    except csv.Error as error:
        raise DataError(
            f"{at_line(path, start)}: not valid CSV: the row that begins here: {error}; a quotation mark in "
            "a text must be doubled, and the text quoted"
        ) from error
    _check_widths(path, rows, lines)
    return replace(delimited_table(path, request, rows[0], rows[1:], lines[1:], notes), delimiter=delimiter)


def read_tsv_table(path: Path, request: Request) -> TableFile:
    """Reads a TSV file; empty lines are no rows. Raises: DataError for a line unlike the header."""
    text, notes = table_text(path, request.config)
    text, declared = _declared(text)
    numbered = [(n, line) for n, line in enumerate(split_lines(text), start=2 if declared else 1) if line]
    rows = [line.split("\t") for _, line in numbered]
    lines = [n for n, _ in numbered]
    _check_widths(path, rows, lines)
    return delimited_table(path, request, rows[0], rows[1:], lines[1:], notes)


def _declared(text: str) -> tuple[str, str | None]:
    """Takes off a first line `sep=;`, by which Excel knows the delimiter, and returns that, too."""
    match = _DECLARED.match(text)
    return (text[match.end() :], match[1]) if match else (text, None)


def _fitting(text: str, columns: Sequence[str]) -> str:
    """Returns the delimiter with which the header has most of the used columns, then most columns."""

    def fit(delimiter: str) -> tuple[int, int]:
        reader = csv.reader(io.StringIO(text[: 2**20], newline=""), delimiter=delimiter)
        names = [name.strip() for name in next(reader, [])]
        return sum(name in names for name in columns), len(names)

    return max(_DELIMITERS, key=fit)


def _check_widths(path: Path, rows: list[list[str]], lines: list[int]) -> None:
    """Raises: DataError for a row with more or fewer fields than the header."""
    width = len(rows[0])
    for row, line in zip(rows, lines, strict=True):
        if len(row) != width:
            raise DataError(f"{at_line(path, line)}: {len(row)} fields, expected {width}, as in the header")
