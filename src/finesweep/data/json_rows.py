"""Reads JSON lines, and JSON arrays of objects: each object is a row."""

import json
from pathlib import Path
from typing import Any

from finesweep.data.source import at_line
from finesweep.data.table_file import Request, TableFile, places_of, table_text
from finesweep.data.text import split_lines
from finesweep.errors import DataError


def read_json(path: Path, request: Request) -> TableFile:
    """Reads a file whose rows are objects such as `{"text": "..."}`. A key that a row lacks is an empty cell.

    Raises: DataError for anything else, with its line.
    """
    text, notes = table_text(path, request.config)
    repeated: set[str] = set()
    if text.lstrip().startswith("["):
        rows, lines = _parsed(path, text, 1, repeated), None
    else:
        numbered = [(n, line) for n, line in enumerate(split_lines(text), start=1) if line.strip()]
        rows, lines = [_parsed(path, line, n, repeated) for n, line in numbered], [n for n, _ in numbered]
    names: dict[str, None] = {}
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            place = TableFile(path, [], {}, lines).place(index)
            shown = repr(row) if len(repr(row)) <= 20 else type(row).__name__
            raise DataError(f'{place}: got {shown}; expected an object such as {{"text": "..."}}')
        names.update(dict.fromkeys(row))
    known = list(names)
    keys = {name: known[places[0]] for name in request.columns if (places := places_of(name, known))}
    columns = {name: [row.get(key) for row in rows] for name, key in keys.items()}
    return TableFile(path, [*known, *repeated], columns, lines, notes)


def _parsed(path: Path, text: str, line: int, repeated: set[str]) -> Any:
    """Parses one value, and adds the keys that an object has twice. Raises: DataError."""

    def made(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        row = dict(pairs)
        if len(row) < len(pairs):
            keys = [key for key, _ in pairs]
            repeated.update(key for key in row if keys.count(key) > 1)
        return row

    try:
        return json.loads(text, object_pairs_hook=made)
    except json.JSONDecodeError as error:
        raise DataError(f"{at_line(path, line + error.lineno - 1)}: not valid JSON: {error.msg}") from error
    except (ValueError, RecursionError) as error:  # a number of 5,000 digits; a thousand nested lists
        problem = "nested too deeply" if isinstance(error, RecursionError) else "a number is too long"
        raise DataError(f"{at_line(path, line)}: JSON that cannot be read: {problem}") from error
