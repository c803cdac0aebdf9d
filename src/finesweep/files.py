"""Files that are whole or not there."""

import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def write_text(path: Path, text: str) -> None:
    """Writes `text` beside `path`, then renames it into place; mode as the umask says."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            file.write(text)
        umask = os.umask(0)
        os.umask(umask)
        os.chmod(name, 0o666 & ~umask)
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
