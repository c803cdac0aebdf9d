"""Cache entries: folders that one process builds, and that any number of processes then read."""

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

log = logging.getLogger(__name__)

T = TypeVar("T")

_CHECKSUMS = "checksums.json"
_ABANDONED_S = 6 * 3600  # A build never takes that long, so its process was killed.
_ATTEMPTS = 5  # An attempt is lost when another process replaces a damaged entry at the same moment.


def cached_folder(folder: Path, build: Callable[[Path], None], load: Callable[[Path], T]) -> T:
    """Returns `load(folder)`; before that, `build` fills the folder if it is missing or damaged.

    Several processes may build at once: the first one's entry is kept. Readers check every file's SHA-256.
    Raises: OutputError if the folder cannot be written, or cannot be read back.
    """
    problem: Exception | None = None
    for _ in range(_ATTEMPTS):
        if not folder.is_dir():
            _build_entry(folder, build)
        try:
            _verify(folder)
            return load(folder)
        except (OSError, ValueError) as error:
            problem = error
            log.warning("%s is damaged (%s): building it again", folder, error)
            _discard(folder)
    raise OutputError(f"{folder}: written but not readable: {problem}; check the disk, or set cache_dir")


def _build_entry(folder: Path, build: Callable[[Path], None]) -> None:
    """Builds the entry beside its place; if another process was first, its entry stays.

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
            "free some room, make it writable, or set cache_dir to another folder"
        ) from error


def _verify(folder: Path) -> None:
    """Raises: ValueError or OSError unless every file is as it was written."""
    sums = json.loads((folder / _CHECKSUMS).read_text())
    for name, expected in sums.items():
        if sha256(folder / name) != expected:
            raise ValueError(f"{name} has changed since it was written")


def _discard(folder: Path) -> None:
    """Renames a damaged entry, then removes it, so that a reader sees a whole entry or none."""
    try:
        aside = Path(tempfile.mkdtemp(prefix=f"{STAGING}{folder.name}-", dir=folder.parent))
        try:
            os.rename(folder, aside / "damaged")
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except FileNotFoundError:
        return  # another process was quicker
    except OSError as error:
        raise OutputError(f"{folder}: damaged and cannot be removed: {error}; remove it") from error


def _remove_abandoned(parent: Path) -> None:
    """Removes hidden folders that killed builders left hours ago."""
    for entry in parent.glob(".*"):
        with suppress(OSError):
            if time.time() - entry.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(entry)
