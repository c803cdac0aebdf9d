"""Cache entries: each is a folder that one process builds and any number of processes read."""

import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from finesweep.errors import OutputError
from finesweep.io.atomic import STAGING, staged
from finesweep.io.checkpoint import sha256
from finesweep.io.reading import read_object

log = logging.getLogger(__name__)

T = TypeVar("T")

_CHECKSUMS = "checksums.json"
_ABANDONED_S = 6 * 3600  # no build takes so long: the process that built was killed
_ATTEMPTS = 5  # an attempt fails if another process replaces a damaged entry at the same moment


def cached_folder(folder: Path, build: Callable[[Path], None], load: Callable[[Path], T]) -> T:
    """Returns `load(folder)`. If the folder is missing or damaged, `build` fills it first.

    Several processes may build the same entry at once: the first to finish wins. Every file's SHA-256 is
    checked before it is read.
    Raises: OutputError if the folder cannot be written, or cannot be read back.
    """
    problem: Exception | None = None
    for _ in range(_ATTEMPTS):
        if not folder.is_dir():
            if os.path.lexists(folder):  # a file, or a link to nothing
                _discard(folder)
            _build_entry(folder, build)
        try:
            _verify(folder)
            return load(folder)
        except Exception as error:  # each library has its own error for a damaged file
            problem = error
            log.warning("%s is damaged (%s) and is built again", folder, error)
            _discard(folder)
    raise OutputError(
        f"{folder}: was written but cannot be read: {problem}; check the disk, or set cache_dir"
    )


def _build_entry(folder: Path, build: Callable[[Path], None]) -> None:
    """Builds the entry in a staging folder and renames it, unless another process was faster.

    Raises: OutputError if the cache cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder.parent)
        with staged(folder, folder=True) as staging:
            build(staging)
            sums = {file.name: sha256(file) for file in sorted(staging.iterdir())}
            (staging / _CHECKSUMS).write_text(json.dumps(sums))
    except OSError as error:
        if folder.is_dir():
            return
        raise OutputError(
            f"cache_dir: {folder.parent} cannot be written: {error.strerror or error}; "
            "free disk space, make it writable, or set cache_dir to another folder"
        ) from error


def _verify(folder: Path) -> None:
    """Compares all files with their checksums. Raises: ValueError or OSError for a changed or lost file."""
    sums = read_object(folder / _CHECKSUMS)
    if not sums:
        raise ValueError(f"{_CHECKSUMS} lists no files")
    for name, expected in sums.items():
        if not (folder / name).is_file() or sha256(folder / name) != expected:
            raise ValueError(f"{name} has changed since it was written")


def _discard(folder: Path) -> None:
    """Removes a damaged entry. It is renamed first, so that a reader sees a whole entry or none."""
    try:
        aside = Path(tempfile.mkdtemp(prefix=f"{STAGING}{folder.name}-", dir=folder.parent))
        try:
            os.rename(folder, aside / "damaged")
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except FileNotFoundError:
        return  # another process has removed it already
    except OSError as error:
        raise OutputError(
            f"{folder}: is damaged and cannot be removed ({error}); remove it by hand"
        ) from error


def _remove_abandoned(parent: Path) -> None:
    """Removes hidden folders that killed builders left hours ago."""
    for entry in parent.glob(".*"):
        with suppress(OSError):
            if time.time() - entry.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(entry)
