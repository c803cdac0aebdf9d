"""The content of one table file of the user's, the same for every format."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from finesweep.config.run import DataConfig
from finesweep.data.source import at_line
from finesweep.data.text import UTF_8, decoded, marked_encoding, read_bytes
from finesweep.errors import ConfigError, DataError


@dataclass(frozen=True)
class Request:
    """What to read of a table file: the columns that are used, by the keys of `config`."""

    columns: Sequence[str]
    config: DataConfig


@dataclass(frozen=True)
class TableFile:
    """The content of a table file.

    `columns[name][row]` is a cell, None if it is missing; only columns that are used are there. `lines[row]`
    is the line on which a row starts, counted from 1; `lines` is None for files without lines.
    """

    path: Path
    names: Sequence[str]  # of all columns, as the file has them
    columns: dict[str, list[Any]]
    lines: list[int] | None
    notes: list[str] = field(default_factory=list)  # what was guessed, for people
    delimiter: str = "\t"  # of a text with delimiters
    class_names: dict[str, list[str]] = field(default_factory=dict)  # column -> names of its ClassLabel

    def place(self, row: int) -> str:
        """Names a row's place for messages. `row` counts from 0; messages from 1, without the header."""
        line = f", line {self.lines[row]}" if self.lines else ""
        return f"{self.path}, row {row + 1}{line}"

    def column(self, key: str, name: str) -> list[Any]:
        """Returns a column that the config key `data.<key>` names.

        Raises: ConfigError if the file has no such column, DataError if it has two.
        """
        if len(places_of(name, self.names)) > 1:
            raise DataError(f"{self.path}: the column {name!r} is there more than once; rename one")
        if name not in self.columns:
            known = ", ".join(filter(None, dict.fromkeys(self.names)))
            raise ConfigError(f"data.{key}: no column {name!r} in {self.path}; it has: {known}")
        return self.columns[name]

    def rows(self) -> int:
        return max(map(len, self.columns.values()), default=0)


def places_of(name: str, names: Sequence[str]) -> list[int]:
    """Returns where a column is among the names of all: as it is called or, else, with spaces around it."""
    exact = [index for index, other in enumerate(names) if other == name]
    return exact or [index for index, other in enumerate(names) if other.strip() == name]


def delimited_table(
    path: Path,
    request: Request,
    header: Sequence[str],
    rows: list[list[str]],
    lines: list[int],
    notes: list[str],
) -> TableFile:
    """Makes a table of a header and rows of equally many fields. Spaces around column names are removed."""
    names = [name.strip() for name in header]
    if not rows:
        raise DataError(f"{path}: no rows, only a header")
    at = {name: names.index(name) for name in request.columns if name in names}
    columns = {name: [row[index] for row in rows] for name, index in at.items()}
    return TableFile(path, names, columns, lines, notes)


def table_text(path: Path, config: DataConfig) -> tuple[str, list[str]]:
    """Reads the text of a table in the configured encoding, or in that of its byte order mark.

    Also returns what was guessed. Raises: DataError.
    """
    raw = read_bytes(path)
    marked = marked_encoding(raw)
    encoding = config.encoding or marked or UTF_8
    if encoding == UTF_8 and b"\0" in raw:
        line = raw.count(b"\n", 0, raw.index(b"\0")) + 1
        advice = "a table is a text; if it is UTF-16, set data.encoding=utf-16"
        raise DataError(f"{at_line(path, line)}: a NUL character; {advice}")
    try:
        text = decoded(path, raw, encoding)
    except DataError as error:
        advice = ", or set data.encoding, such as data.encoding=cp1252" if raw.strip() else ""
        raise DataError(f"{error}{advice}") from error
    guessed = [f"{path}: read as {marked.upper()}, by its byte order mark"] if marked else []
    return text, [] if config.encoding else guessed
