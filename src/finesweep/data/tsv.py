"""Reads tab-separated files strictly: no quoting, one row per line, as many fields as the header on each."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from finesweep.data.source import at_line
from finesweep.data.text import read_text, split_lines
from finesweep.errors import DataError

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Tsv:
    """The columns that were read. `lines[row]` is the row's line in the file, counted from 1."""

    columns: dict[str, list[str]]
    lines: list[int]


def read_tsv(
    path: Path,
    columns: Sequence[str],
    *,
    fixed_header: Sequence[str] | None = None,
    skip_short_lines: bool = False,
) -> Tsv:
    """Reads the named columns.

    fixed_header: the header of a file that has none. skip_short_lines: leave out lines with too few fields.

    Raises:
        DataError: a column is missing, a line has too few or too many fields, or there are no rows.
    """
    lines = split_lines(read_text(path))
    header = list(fixed_header) if fixed_header is not None else lines[0].split("\t")
    first = 0 if fixed_header is not None else 1
    wanted = list(columns)
    _check_header(path, header, wanted)
    rows, numbers = _split_rows(path, lines[first:], first + 1, len(header), skip_short_lines)
    if not rows:
        raise DataError(f"{path}: no rows, only a header")
    positions = [header.index(name) for name in wanted]
    return Tsv({name: [row[at] for row in rows] for name, at in zip(wanted, positions, strict=True)}, numbers)


def _check_header(path: Path, header: list[str], wanted: list[str]) -> None:
    missing = [name for name in wanted if name not in header]
    if missing:
        raise DataError(
            f"{at_line(path, 1)}: expected a header with {_listed(wanted)}; {_listed(missing)} missing; "
            f"the line has {_listed(header)}"
        )
    repeated = [name for name in wanted if header.count(name) > 1]
    if repeated:
        raise DataError(f"{at_line(path, 1)}: the header names {_listed(repeated)} more than once")


def _split_rows(
    path: Path, lines: list[str], first: int, width: int, skip_short: bool
) -> tuple[list[list[str]], list[int]]:
    rows, numbers = [], []
    for number, line in enumerate(lines, start=first):
        fields = line.split("\t")
        if len(fields) == width:
            rows.append(fields)
            numbers.append(number)
        elif not (skip_short and len(fields) < width):
            problem = f"{len(fields)} tab-separated fields, expected {width}"
            raise DataError(f"{at_line(path, number)}: {problem}: {line[:80]!r}")
    if len(rows) < len(lines):
        log.info(
            "%s: skipped %d broken lines, which the official file is known to have",
            path,
            len(lines) - len(rows),
        )
    return rows, numbers


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name if len(name) <= 40 else name[:37] + "...") for name in names[:20])
    return shown + (", ..." if len(names) > 20 else "")
