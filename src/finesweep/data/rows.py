"""Turns the cells of one table file into texts and labels, by one rule for all formats.

Spaces around labels, halves of characters, decimal commas and empty cells are dealt with here, and what is
changed or left out is noted. `tasks/cells.py` says what a single cell may hold.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from finesweep.config.run import Empty
from finesweep.data.table_file import TableFile
from finesweep.errors import DataError
from finesweep.tasks.cells import CellError, EmptyCell

_SHOWN = 3  # places in one message
# Thousands may be grouped by points: 1.250,00
_COMMA_NUMBER = re.compile(r"[+-]?(\d{1,3}(\.\d{3})+|\d+)(,\d+)?", re.ASCII)
_PLAIN_COMMA = re.compile(r"[+-]?(\d+,\d{1,2}|\d+,\d{4,}|0,\d+|\d{4,},\d+|\d{1,3}(\.\d{3})+,\d+)", re.ASCII)


@dataclass(frozen=True)
class Column:
    """The values of one text column, or of the labels. `None` is an empty cell."""

    title: str  # for messages: "column 'text'", or "the label"
    values: list[Any]
    complaint: str = ""  # about the first empty cell


def read_column(table: TableFile, title: str, cells: Sequence[Any], read: Callable[[Any], Any]) -> Column:
    """Reads every cell. Raises: DataError for cells that are wrong; it shows the first and counts them."""
    values: list[Any] = []
    complaint, wrong, first = "", 0, ""
    for row, cell in enumerate(cells):
        value = None
        try:
            value = read(cell)
        except EmptyCell as error:
            complaint = complaint or str(error)
        except CellError as error:
            wrong += 1
            first = first or f"{table.place(row)}: {_sentence(title, str(error))}"
        values.append(value)
    if wrong:
        raise DataError(first if wrong == 1 else f"{first} (and {wrong - 1} more such rows)")
    return Column(title, values, complaint)


def _sentence(title: str, complaint: str) -> str:
    return complaint if complaint.startswith("the ") else f"{title} {complaint}"


def settle_empty(
    table: TableFile, texts: list[Column], labels: Column | None, policy: Empty, blank: Any
) -> list[int]:
    """Deals with empty cells as `data.empty` says, and returns the indices of the rows that stay.

    labels: None for rows to predict, which all stay. blank: an empty text, "" or []. Side effects: replaces
    empty texts that stay by `blank`, and notes what it does in `table.notes`.
    Raises: DataError if the policy is `error` and a cell is empty; it counts all of them.
    """
    columns = [*texts, *([labels] if labels else [])]
    if not any(None in column.values for column in columns):
        return list(range(table.rows()))
    if policy is Empty.error:
        raise DataError(_refusal(table, columns))
    must_be_full = columns if policy is Empty.drop else columns[len(texts) :]
    kept = [
        row
        for row in range(table.rows())
        if labels is None or all(column.values[row] is not None for column in must_be_full)
    ]
    if left_out := table.rows() - len(kept):
        reason = "a text or a label is empty" if policy is Empty.drop else "the label is empty"
        table.notes.append(
            f"{table.path}: {left_out} of {table.rows()} rows left out: {reason} (data.empty={policy.value})"
        )
    if not kept:
        raise DataError(f"{table.path}: no rows are left after those with empty cells; {_counts(columns)}")
    _fill(table, texts, kept, blank)
    return kept


def _fill(table: TableFile, texts: list[Column], kept: list[int], blank: Any) -> None:
    for column in texts:
        empty = [row for row in kept if column.values[row] is None]
        for row in empty:
            column.values[row] = blank
        if empty:
            table.notes.append(f"{table.path}: {column.title} is empty in {len(empty)} rows, which stay")


def _refusal(table: TableFile, columns: list[Column]) -> str:
    first, column = min(
        ((column.values.index(None), column) for column in columns if None in column.values),
        key=lambda place: place[0],
    )
    sentence = _sentence(column.title, column.complaint)
    return (
        f"{table.place(first)}: {sentence}. Empty cells in {table.rows()} rows: {_counts(columns, table)}. "
        "Fill them, or set data.empty=drop to leave these rows out, or data.empty=keep to keep rows with an "
        "empty text"
    )


def _counts(columns: list[Column], table: TableFile | None = None) -> str:
    parts = []
    for column in columns:
        rows = [row for row, value in enumerate(column.values) if value is None]
        if rows:
            parts.append(f"{len(rows)} in {column.title}{_places(rows, table)}")
    return "; ".join(parts)


def _places(rows: list[int], table: TableFile | None) -> str:
    if table is None:
        return ""
    what = "line" if table.lines else "row"
    numbers = [table.lines[row] if table.lines else row + 1 for row in rows[:_SHOWN]]
    more = ", ..." if len(rows) > _SHOWN else ""
    return f" ({what} {', '.join(map(str, numbers))}{more})"


def whole_characters(table: TableFile, name: str, cells: list[Any]) -> list[Any]:
    """Replaces halves of characters (lone surrogates, of a text cut within an emoji), and notes it."""
    mended = [_mended(cell) for cell in cells]
    broken = [row for row, (old, new) in enumerate(zip(cells, mended, strict=True)) if old is not new]
    if broken:
        table.notes.append(
            f"{table.place(broken[0])}: column {name!r} holds half a character (a lone surrogate), which is "
            f"replaced by U+FFFD; {len(broken)} such rows"
        )
    return mended


def _mended(cell: Any) -> Any:
    """Returns the very same object if nothing is broken."""
    if isinstance(cell, str):
        try:
            cell.encode()
        except UnicodeEncodeError:
            return cell.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    elif isinstance(cell, list):
        items = [_mended(item) for item in cell]
        if any(new is not old for new, old in zip(items, cell, strict=True)):
            return items
    return cell


def decimal_points(table: TableFile, name: str, cells: list[Any], decimal: str | None) -> list[Any]:
    """Rewrites numbers with a decimal comma, such as `1.250,50`, with a decimal point.

    decimal: `data.decimal`. If it is null, commas are decimal where all texts of the column can be read so,
    and one of them cannot be read otherwise (1,234 could be a thousand); this is noted.
    """
    texts = [cell.strip() for cell in cells if isinstance(cell, str) and cell.strip()]
    if decimal == "." or not any("," in text for text in texts):
        if decimal != ",":
            return cells
    elif decimal is None:
        if not all(map(_COMMA_NUMBER.fullmatch, texts)) or not any(map(_PLAIN_COMMA.fullmatch, texts)):
            return cells
        table.notes.append(f"{table.path}: column {name!r} is read with decimal commas (data.decimal)")
    return [_with_point(cell) for cell in cells]


def _with_point(cell: Any) -> Any:
    if isinstance(cell, str) and _COMMA_NUMBER.fullmatch(cell.strip()):
        return cell.strip().replace(".", "").replace(",", ".")
    return cell
