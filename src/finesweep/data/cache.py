"""Folders that are made once and then only read, by any number of processes at a time."""

import hashlib
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
from finesweep.io.atomic import umask

log = logging.getLogger(__name__)

T = TypeVar("T")

_CHECKSUMS = "checksums.json"
_ABANDONED_S = 6 * 3600  # no build takes that long: its process was killed
_ATTEMPTS = 5  # each lost one means that another process replaced a damaged entry in between


def cached_folder(folder: Path, build: Callable[[Path], None], load: Callable[[Path], T]) -> T:
    """`load(folder)`, after `build` filled it if it was not there, or was damaged.

    Several processes may build at once: the first to finish is kept. Readers check every file's SHA-256.

    Raises:
        OutputError: the folder cannot be written.
    """
    problem: Exception | None = None
    for _ in range(_ATTEMPTS):
        if not folder.is_dir():
            _publish(folder, build)
        try:
            _verify(folder)
            return load(folder)
        except (OSError, ValueError) as error:
            problem = error
            log.warning("%s is damaged (%s): building it again", folder, error)
            _discard(folder)
    raise OutputError(f"{folder}: written but not readable: {problem}; check the disk, or set cache_dir")


def _publish(folder: Path, build: Callable[[Path], None]) -> None:
    """Builds beside the folder and renames into place; whoever comes second throws its own away."""
    temporary = None
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        _remove_abandoned(folder.parent)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        build(temporary)
        sums = {file.name: _sha256(file) for file in sorted(temporary.iterdir())}
        (temporary / _CHECKSUMS).write_text(json.dumps(sums))
        temporary.chmod(0o777 & ~umask())  # mkdtemp's 0700 would keep other users of a shared cache out
        try:
            os.rename(temporary, folder)
        except OSError:
            if not folder.is_dir():
                raise
    except OSError as error:
        raise OutputError(
            f"cache_dir: {folder.parent} cannot be written: {error.strerror or error}; "
            "free some room, make it writable, or set cache_dir to another folder"
        ) from error
    finally:
        if temporary is not None:
            shutil.rmtree(temporary, ignore_errors=True)


def _verify(folder: Path) -> None:
    """Raises ValueError or OSError unless every file is what was written."""
    sums = json.loads((folder / _CHECKSUMS).read_text())
    for name, expected in sums.items():
        if _sha256(folder / name) != expected:
            raise ValueError(f"{name} has changed since it was written")


def _discard(folder: Path) -> None:
    """Out of the way first: a reader must find a whole entry or none."""
    try:
        aside = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            os.rename(folder, aside / "damaged")
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except FileNotFoundError:
        return  # another process was quicker
    except OSError as error:
        raise OutputError(f"{folder}: damaged and cannot be removed: {error}; remove it") from error


def _remove_abandoned(parent: Path) -> None:
    """What killed builders left behind."""
    for entry in parent.glob(".*"):
        with suppress(OSError):
            if time.time() - entry.stat().st_mtime > _ABANDONED_S:
                shutil.rmtree(entry)


def _sha256(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
