"""Reads texts and JSON that others wrote or that may be damaged. Every problem is one error, `Unreadable`."""

import json
import os
from pathlib import Path
from typing import Any

# Levels of nested JSON. finesweep writes fewer than ten; Python's own functions fail at about a thousand.
MAX_DEPTH = 100
TOO_DEEP = f"nested more than {MAX_DEPTH} levels deep"


class Unreadable(ValueError):
    """A file or a text is damaged, or is not what it should be."""


def read_text(path: Path) -> str:
    """Reads a text file as UTF-8.

    Raises: Unreadable, also for anything but a regular file: reading a named pipe would wait for a writer.
    """
    try:
        if not path.is_file():
            kind = "is not a regular file" if os.path.lexists(path) else "is not there"
            raise Unreadable(f"{path.name}: {kind}")
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise Unreadable(f"{path.name}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise Unreadable(f"{path.name}: not UTF-8 ({error.reason} at byte {error.start})") from error


def read_json(path: Path) -> Any:
    """Reads a JSON file. Raises: Unreadable."""
    text = read_text(path)
    try:
        return parse_json(text)
    except Unreadable as error:
        raise Unreadable(f"{path.name}: {error}") from error


def read_object(path: Path) -> dict[str, Any]:
    """Reads a JSON file that holds an object. Raises: Unreadable."""
    content = read_json(path)
    if not isinstance(content, dict):
        raise Unreadable(f"{path.name}: holds no JSON object")
    return content


def parse_json(text: str) -> Any:
    """Parses JSON as `decode` does. Raises: Unreadable, also for texts that cannot be written as UTF-8."""
    try:
        value = decode(text)
        if "\\u" in text:  # half of a surrogate pair could be neither printed nor written
            json.dumps(value, ensure_ascii=False).encode()
    except ValueError as error:
        raise Unreadable(str(error).partition("; use sys.")[0]) from error
    return value


def decode(text: str) -> Any:
    """Parses JSON that is nested at most `MAX_DEPTH` levels deep. Raises: ValueError."""
    try:
        value = json.loads(text)
    except RecursionError:
        raise Unreadable(TOO_DEEP) from None
    if text.count("[") + text.count("{") > MAX_DEPTH and _is_deep(value):
        raise Unreadable(TOO_DEEP)
    return value


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH):
        level = [item for node in level for item in _items(node)]
    return bool(level)


def _items(node: Any) -> list[Any]:
    if isinstance(node, dict):
        return list(node.values())
    return node if isinstance(node, list) else []
