"""Writes files and folders whole or not at all: stages them in the same folder, then renames them."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

STAGING = (
    ".staging-"  # A name that begins so is unfinished; a kill can leave it behind, and nothing reads it.
)


@contextmanager
def staged(
    target: Path,
    *,
    folder: bool = False,
    replace_folder: bool = False,
    sync: bool = False,
    parent: Path | None = None,
) -> Iterator[Path]:
    """Yields an empty file (or folder) that is renamed to `target` when the block ends.

    If the block raises, what was staged is removed and `target` stays as it was. File modes follow the umask.

    replace_folder: removes an older `target` first; without it, a folder that is not empty is an error.
    sync: flushes files, folder and parent to the disk, so that a power cut loses nothing either.
    parent: another folder of the same file system to stage in, whose owner removes what a kill leaves.
    Raises: OSError if the parent cannot be written, or `target` is a folder that may not be replaced.
    """
    staging = _create(parent or target.parent, f"{STAGING}{target.name}-", folder)
    try:
        yield staging
        _set_modes(staging, sync)
        if replace_folder:
            remove(target, ignore_errors=True)
        staging.rename(target)
        if sync:
            flush(target.parent)
    finally:
        remove(staging, ignore_errors=True)


def write_text(path: Path, text: str, *, sync: bool = False) -> None:
    """Writes a text file whole or not at all, as UTF-8; `sync` flushes it to the disk."""
    with staged(path, sync=sync) as staging:
        staging.write_text(text, encoding="utf-8")


def remove_unfinished(target: Path) -> None:
    """Removes what killed writers of `target` left. The caller holds a lock: no writer of it is alive."""
    for path in target.parent.iterdir():
        if path.name.startswith(f"{STAGING}{target.name}-"):
            remove(path, ignore_errors=True)


def remove(path: Path, *, ignore_errors: bool = False) -> None:
    """Removes a folder with its content, a file or a link, if it is there. A link's target stays."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=ignore_errors)
        return
    with suppress(*([OSError] if ignore_errors else [])):
        path.unlink(missing_ok=True)


def _create(parent: Path, prefix: str, folder: bool) -> Path:
    if folder:
        return Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    descriptor, name = tempfile.mkstemp(prefix=prefix, dir=parent)
    os.close(descriptor)
    return Path(name)


def _set_modes(staging: Path, sync: bool) -> None:
    """Sets the mode of everything staged by the umask, and flushes it to the disk if `sync`; folders last."""
    mask = _umask()
    for path in (*sorted(staging.rglob("*"), reverse=True), staging):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~mask)
        if sync:
            flush(path)


def _umask() -> int:
    """Returns the umask of this process; temporary files and those of safetensors do not follow it."""
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def flush(path: Path) -> None:
    """Syncs a file, or the names in a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
