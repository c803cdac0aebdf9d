"""Reads one cell of the user's table: as a label name, a number, a flag, a text or a list."""

import math
from collections.abc import Sequence

LARGEST = 3.4e38  # the largest float32; the model learns numbers as float32


class CellError(ValueError):
    """A cell that is no legal label or text. The message says what the cell holds and what is legal."""


def is_empty(cell: object) -> bool:
    return cell is None or (isinstance(cell, float) and math.isnan(cell))


def as_name(cell: object) -> str:
    """Reads a label name. 1.0 becomes 1, because pandas stores integers as floats if one is missing.

    Raises: CellError.
    """
    if is_empty(cell) or cell == "":
        raise CellError("the label is empty")
    if isinstance(cell, float):
        if not cell.is_integer():
            raise CellError(
                f"the label is {cell}; legal: a name, an integer; for scores set data.problem_type=regression"
            )
        return str(int(cell))
    if isinstance(cell, str | bool | int):
        return str(cell)
    raise CellError(
        f"the label is {cell!r}; legal: text, an integer, true or false; a list of labels is for "
        "data.problem_type=multi_label_classification"
    )


def as_number(cell: object) -> float:
    """Reads a number. Raises: CellError if it is not finite, or beyond float32."""
    try:
        number = float("nan" if cell is None or isinstance(cell, bool) else cell)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        number = math.nan
    if not abs(number) <= LARGEST:
        raise CellError(
            f"the label is {cell!r}; legal for regression: a finite number, at most {LARGEST:.2g}"
        )
    return number


def as_flag(cell: object) -> bool:
    """Reads a 0/1 cell; true, false, 1.0 and 0.0 are legal too. Raises: CellError."""
    text = str(int(cell)) if isinstance(cell, float) and cell.is_integer() else str(cell).strip().lower()
    if text in ("1", "1.0", "true"):
        return True
    if text in ("0", "0.0", "false"):
        return False
    raise CellError(f"the label is {'empty' if is_empty(cell) else repr(cell)}; legal: 0 or 1")


def as_text(cell: object) -> str:
    """Reads a text. Raises: CellError."""
    if isinstance(cell, str):
        return cell
    raise CellError("is empty" if is_empty(cell) else f"is {cell!r}, expected text")


def as_list(cell: object, what: str) -> list[str]:
    """Reads a list of texts. `what` names the items in errors. Raises: CellError."""
    if is_empty(cell):
        raise CellError(f"is empty, expected a list of {what}")
    if isinstance(cell, str) or not isinstance(cell, Sequence) or not all(isinstance(x, str) for x in cell):
        raise CellError(f"is {cell!r}, expected a list of {what}")
    return list(cell)
