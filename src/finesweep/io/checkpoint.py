"""Checkpoints that are whole or not there, and are verified by checksum before they are used.

A folder such as `step-000120` holds a checkpoint's files and `manifest.json`, which has the size and SHA-256
of each. A kill at any moment leaves at most a `.staging-*` folder, which nothing reads.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from finesweep.io.atomic import staged, write_text

MANIFEST = "manifest.json"
# Files that only a resumed training needs: they are never published, and three of them are pickles.
RESUME_FILES = ("optimizer.pt", "scheduler.pt", "scaler.pt", "rng_state.pth", "trainer_state.json",
                "observer.json")  # fmt: skip


def save(write: Callable[[Path], None], parent: Path, step: int) -> Path:
    """Has `write` fill an empty folder, which becomes `parent/step-NNNNNN`. Returns that folder."""
    parent.mkdir(parents=True, exist_ok=True)
    target = parent / f"step-{step:06d}"
    with staged(target, folder=True, replace_folder=True, sync=True) as staging:
        write(staging)
        write_manifest(staging)
    return target


def publish(folder: Path, target: Path) -> Path:
    """Makes `target` from a checkpoint, without the files that only resuming needs. Returns `target`.

    The checkpoint itself stays, so a kill in between loses nothing. What it leaves lies beside the
    checkpoint, and goes when a retry of the trial removes its checkpoints.
    """
    with staged(target, folder=True, replace_folder=True, sync=True, parent=folder.parent) as staging:
        for path in folder.iterdir():
            if path.name not in (*RESUME_FILES, MANIFEST):
                _link_or_copy(path, staging / path.name)
        write_manifest(staging)
    return target


def _link_or_copy(path: Path, target: Path) -> None:
    try:
        os.link(path, target)
    except OSError:  # a file system without hard links
        shutil.copyfile(path, target)


def write_manifest(folder: Path) -> None:
    """Writes the manifest of the files that are in the folder now."""
    (folder / MANIFEST).unlink(missing_ok=True)
    files = {
        str(path.relative_to(folder)): {"size": path.stat().st_size, "sha256": sha256(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
    (folder / MANIFEST).write_text(json.dumps({"files": files}, indent=1) + "\n")


def find_damage(folder: Path) -> str | None:
    """Compares every file with the manifest. Returns the first difference, or None for a whole checkpoint."""
    try:
        files = json.loads((folder / MANIFEST).read_text())["files"]
    except (OSError, ValueError, KeyError) as error:
        return f"manifest: {error}"
    for name, expected in files.items():
        path = folder / name
        if not path.is_file():
            return f"{name}: missing"
        if path.stat().st_size != expected["size"]:
            return f"{name}: {path.stat().st_size} bytes, the manifest says {expected['size']}"
        if sha256(path) != expected["sha256"]:
            return f"{name}: content differs from its manifest"
    return None


def newest(parent: Path) -> Path | None:
    """Returns the newest whole checkpoint; renames damaged ones to `damaged-*`, with a file REASON."""
    for folder in sorted(parent.glob("step-*"), reverse=True):
        reason = find_damage(folder)
        if reason is None:
            return folder
        aside = folder.with_name(f"damaged-{folder.name}")
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)
        (aside / "REASON").write_text(reason + "\n")
    return None


def resumable(folder: Path, identity: str) -> Path | None:
    """Returns the newest whole checkpoint of the training with this identity.

    Empties the folder if another training's checkpoints are in it, and notes the identity there.
    """
    file = folder / "identity"
    if file.is_file() and file.read_text() == identity:
        return newest(folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_text(file, identity)
    return None


def keep_only(parent: Path, kept: set[Path]) -> None:
    """Removes the other checkpoints under `parent`. The caller has verified the ones to keep."""
    for folder in parent.glob("step-*"):
        if folder not in kept:
            shutil.rmtree(folder)


def weights_sha256(folder: Path) -> str:
    """Returns the SHA-256 of a checkpoint's weights by its manifest; for several files, of their hashes."""
    files = json.loads((folder / MANIFEST).read_text())["files"]
    hashes = [files[name]["sha256"] for name in sorted(files) if name.endswith(".safetensors")]
    return hashes[0] if len(hashes) == 1 else hashlib.sha256("".join(hashes).encode()).hexdigest()


def sha256(path: Path) -> str:
    """Returns the SHA-256 of one file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
