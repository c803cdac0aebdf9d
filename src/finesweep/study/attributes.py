"""Declares the attributes of a record, which are stored in Optuna, as typed fields of a class.

An attribute is read from the storage when it is accessed, and written when it is assigned.
"""

from collections.abc import Callable
from dataclasses import asdict
from typing import Any, Generic, Self, TypeVar, overload

from finesweep.errors import StudyError
from finesweep.io.terminal import trainer

T = TypeVar("T")


def known_fields(cls: type, stored: dict[str, Any]) -> dict[str, Any]:
    """Leaves out fields of a dataclass that another version of finesweep wrote."""
    return {key: value for key, value in stored.items() if key in cls.__dataclass_fields__}  # type: ignore[attr-defined]


class Stored:
    """Is a dataclass that is stored as a dictionary of its fields."""

    @classmethod
    def load(cls, stored: dict[str, Any]) -> Self:
        return cls(**known_fields(cls, stored))

    def dump(self) -> dict[str, Any]:
        return asdict(self)  # type: ignore[call-overload, no-any-return]


class Record:
    """Reads and writes the attributes of a study or of a trial."""

    name: str

    def read(self, key: str) -> Any:
        raise NotImplementedError

    def write(self, attrs: dict[str, Any]) -> None:
        """Writes attributes by stored key."""
        raise NotImplementedError

    def write_all(self, **values: Any) -> None:
        """Writes several attributes in one step; those that are None stay as they are."""
        self.write(self.attributes(**{name: value for name, value in values.items() if value is not None}))

    @classmethod
    def attributes(cls, **values: Any) -> dict[str, Any]:
        """Builds the attributes of a trial or study that is still to be made, by stored key."""
        declared: dict[str, Attribute[Any]] = {name: getattr(cls, name) for name in values}
        return {declared[name].key: declared[name].dump(value) for name, value in values.items()}


class Attribute(Generic[T]):
    """One attribute of a record, stored under `key`; `load` and `dump` convert from and to JSON."""

    def __init__(
        self, key: str, load: Callable[[Any], T] | None = None, dump: Callable[[T], Any] | None = None
    ) -> None:
        self.key = key
        self.load: Callable[[Any], T] = load or (lambda stored: stored)
        self.dump: Callable[[T], Any] = dump or (lambda value: value)

    @overload
    def __get__(self, record: None, owner: type) -> "Attribute[T]": ...

    @overload
    def __get__(self, record: Record, owner: type) -> T | None: ...

    def __get__(self, record: Record | None, owner: type) -> "Attribute[T] | T | None":
        if record is None:
            return self
        stored = record.read(self.key)
        return None if stored is None else self.load(stored)

    def __set__(self, record: Record, value: T) -> None:
        record.write({self.key: self.dump(value)})


class Required(Attribute[T]):
    """An attribute that every study of finesweep has. Reading raises StudyError for another study."""

    @overload
    def __get__(self, record: None, owner: type) -> Attribute[T]: ...

    @overload
    def __get__(self, record: Record, owner: type) -> T: ...

    def __get__(self, record: Record | None, owner: type) -> Attribute[T] | T:
        if record is None:
            return self
        value = super().__get__(record, owner)
        if value is None:
            raise StudyError(
                f"study {record.name!r}: not made by finesweep, or cut off while it was made; "
                f"start another one with {trainer()} -m hydra.sweeper.study.name=NAME"
            )
        return value
