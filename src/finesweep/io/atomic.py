"""Files that are whole or not there; disks that are full."""

import errno
import os
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

from finesweep.errors import OutputError

FULL = ("No space left on device", "disk is full", "PytorchStreamWriter failed")  # safetensors, SQLite, torch


def umask() -> int:
    """Of this process; temporary files and folders, and safetensors', are made for their owner alone."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def write_text(path: Path, text: str) -> None:
    """Writes `text` beside `path`, then renames it into place; mode as the umask says."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(name, 0o666 & ~umask())
        os.replace(name, path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def make_whole(path: Path, make: Callable[[Path], object]) -> None:
    """Has `make` write a file beside `path`, then renames it into place; under a lock of the caller's.

    For databases: one whose creation was cut off cannot be opened any more.
    """
    for left in path.parent.glob(f".{path.name}-new*"):  # by a kill
        left.unlink(missing_ok=True)
    new = path.with_name(f".{path.name}-new")
    make(new)
    os.replace(new, path)


def has_table(path: Path, table: str) -> bool:
    """Whether a SQLite file has it. Raises: sqlite3.Error for what is no such file."""
    with closing(sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)) as connection:
        found = connection.execute("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (table,))
        return found.fetchone() is not None


def causes(error: BaseException) -> Iterator[BaseException]:
    """The error, and what it was raised from."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = seen.__cause__ or seen.__context__


def has_no_room(error: BaseException) -> bool:
    """Whether a disk was full, or a folder not writable. Each library says it with a type of its own."""
    return any(
        isinstance(cause, OutputError)
        or getattr(cause, "errno", None) in (errno.ENOSPC, errno.EDQUOT)
        or any(text in str(cause) for text in FULL)
        for cause in causes(error)
    )
