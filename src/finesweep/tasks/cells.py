"""Reads one cell of the user's table: as a label name, a number, a flag, a text or a list.

One rule holds for all formats: a cell without a value, NaN, and a text of white space alone are empty.
"""

import math
import re
from collections.abc import Collection, Sequence
from datetime import date, time
from decimal import Decimal

LARGEST = 3.4e38  # the largest float32; the model learns numbers as float32
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)
_WHOLE = re.compile(r"[+-]?\d+", re.ASCII)
_WHOLE_AS_FLOAT = re.compile(r"([+-]?\d+)\.0*", re.ASCII)
_UNWRITABLE = re.compile(r"[\t\r\n\0]")  # in a file with one line per row and tabs between columns


class CellError(ValueError):
    """A cell that is no legal label or text. The message says what the cell holds and what is legal."""


class EmptyCell(CellError):
    """A cell that holds nothing; `data.empty` says what happens to its row."""


def is_empty(cell: object) -> bool:
    if isinstance(cell, str):
        return not cell or cell.isspace()
    return cell is None or (isinstance(cell, float | Decimal) and math.isnan(cell))


def as_name(cell: object, listed: Collection[str] = ()) -> str:
    """Reads a label name, without the spaces around it. 1.0 becomes 1: pandas stores integers so.

    Dates and times are written as in a CSV file: 2020-01-02, 2020-01-02 03:04:05.

    listed: `data.labels`; these are names even if they look like numbers.
    Raises: CellError for a number that is not whole, and for what is no single name.
    """
    if is_empty(cell):
        raise EmptyCell("the label is empty")
    if not isinstance(cell, str | bool | int | float | Decimal | date | time):
        raise CellError(
            f"the label is {shown(cell)}; legal: text, an integer, true or false; a list of labels is for "
            "data.problem_type=multi_label_classification"
        )
    name = written_name(str(cell))
    if name in listed or isinstance(cell, bool):
        return name
    if whole := _WHOLE_AS_FLOAT.fullmatch(name):
        return whole[1]
    if isinstance(cell, float) or (is_number(name.replace(",", ".")) and not _WHOLE.fullmatch(name)):
        raise CellError(
            f"the label is {shown(name)}, which looks like a number; legal: a name, an integer; to predict "
            "numbers, set data.problem_type=regression data.metric=pearson; if it is a name, list all names "
            "in data.labels"
        )
    return name


def written_name(text: str) -> str:
    """Removes the spaces around a label name. Raises: CellError if no prediction file can hold it."""
    name = text.strip()
    if _UNWRITABLE.search(name):
        raise CellError(f"the label is {shown(name)}; legal: a name without tabs, line breaks and NUL")
    return name


def is_number(text: str) -> bool:
    """Tells whether a text is a number such as 1, -0.5 or 1e3; not `nan`, and no separators of thousands."""
    return _NUMBER.fullmatch(text.strip()) is not None


def as_number(cell: object) -> float:
    """Reads a number. Raises: CellError if it is not finite, or beyond float32."""
    if is_empty(cell):
        raise EmptyCell("the label is empty")
    number = math.nan
    if isinstance(cell, int | float | Decimal) and not isinstance(cell, bool):
        number = float(cell) if -LARGEST <= cell <= LARGEST else math.inf
    elif isinstance(cell, str) and is_number(cell):
        number = float(cell)
    if not abs(number) <= LARGEST:
        comma = "; for decimal commas set data.decimal=','" if isinstance(cell, str) and "," in cell else ""
        raise CellError(
            f"the label is {shown(cell)}; legal for regression: a finite number, at most {LARGEST:.2g}{comma}"
        )
    return number


def as_flag(cell: object) -> bool:
    """Reads a 0/1 cell; true, false, 1.0 and 0.0 are legal too. Raises: CellError."""
    if is_empty(cell):
        raise EmptyCell("the label is empty")
    text = str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip().lower()
    if text in ("1", "1.0", "true"):
        return True
    if text in ("0", "0.0", "false"):
        return False
    raise CellError(f"the label is {shown(cell)}; legal: 0 or 1")


def as_text(cell: object) -> str:
    """Reads a text. Raises: CellError."""
    if is_empty(cell):
        raise EmptyCell("is empty")
    if isinstance(cell, str):
        return cell
    raise CellError(f"is {shown(cell)}, expected text")


def as_list(cell: object, what: str) -> list[str]:
    """Reads a list of texts. `what` names the items in errors. Raises: CellError."""
    if is_empty(cell):
        raise EmptyCell(f"is empty, expected a list of {what}")
    if isinstance(cell, str) or not isinstance(cell, Sequence) or not all(isinstance(x, str) for x in cell):
        raise CellError(f"is {shown(cell)}, expected a list of {what}")
    return list(cell)


def shown(cell: object) -> str:
    """Writes a cell for a message, cut after 60 characters."""
    text = repr(cell)
    return text if len(text) <= 60 else f"{text[:57]}..."
