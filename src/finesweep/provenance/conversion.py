"""Converts dataclasses to JSON and back, by their type hints."""

from dataclasses import MISSING, fields, is_dataclass
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

UNKNOWN = "unknown"  # the field of a dataclass that keeps the JSON's other keys


def dump(value: Any) -> Any:
    """Returns dictionaries for JSON. A field whose default is None is left out while it is None."""
    if is_dataclass(value):
        stored = {item.name: dump(getattr(value, item.name)) for item in fields(value)}
        for item in fields(value):
            if item.default is None and stored[item.name] is None:
                del stored[item.name]
        unknown = stored.pop(UNKNOWN, {})
        return stored | unknown
    if isinstance(value, dict):
        return {key: dump(item) for key, item in value.items()}
    return [dump(item) for item in value] if isinstance(value, list) else value


def load(kind: Any, stored: Any, path: str = "") -> Any:
    """Builds a value of the type `kind` from JSON; `path` is its dotted path, for the error.

    Raises: ValueError naming the first field that is missing, or of another type.
    """
    if isinstance(kind, UnionType):  # X | None
        return None if stored is None else load(get_args(kind)[0], stored, path)
    outer, inner = get_origin(kind) or kind, get_args(kind)
    if outer is not Any and not isinstance(stored, dict if is_dataclass(outer) else outer):
        raise ValueError(f"{path}: got {'nothing' if stored is None else repr(str(stored)[:60])}")
    if is_dataclass(outer):
        return _load_fields(kind, stored, path)
    if outer is dict and inner:
        return {key: load(inner[1], item, f"{path}.{key}") for key, item in stored.items()}
    if outer is list and inner:
        return [load(inner[0], item, f"{path}.{index}") for index, item in enumerate(stored)]
    return stored


def _load_fields(kind: Any, stored: dict[str, Any], path: str) -> Any:
    types = get_type_hints(kind)
    values: dict[str, Any] = {}
    for item in fields(kind):
        inside = f"{path}.{item.name}".lstrip(".")
        if item.name == UNKNOWN:
            values[UNKNOWN] = {key: value for key, value in stored.items() if key not in types}
        elif item.name in stored:
            values[item.name] = load(types[item.name], stored[item.name], inside)
        elif item.default is MISSING and item.default_factory is MISSING:
            raise ValueError(f"{inside}: got nothing")
    return kind(**values)
