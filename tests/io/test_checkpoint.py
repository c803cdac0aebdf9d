"""A checkpoint is whole, or it is not used."""

import os
from pathlib import Path

import pytest

from finesweep.errors import OutputError
from finesweep.io import checkpoint
from finesweep.io.output import check_writable


def write(folder: Path, content: bytes = b"weights") -> None:
    (folder / "model.safetensors").write_bytes(content)
    (folder / "model.safetensors").chmod(0o600)  # as safetensors does
    (folder / "optimizer.pt").write_bytes(b"moments")


def test_files_are_readable_as_the_umask_says(tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        folder = checkpoint.save(write, tmp_path, step=120)
    finally:
        os.umask(before)
    assert folder.name == "step-000120"
    assert folder.stat().st_mode & 0o777 == 0o755
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    def fail(folder: Path) -> None:
        write(folder)
        raise RuntimeError("disk full")

    with pytest.raises(RuntimeError):
        checkpoint.save(fail, tmp_path, step=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (lambda folder: (folder / "model.safetensors").write_bytes(b"wei"), "3 bytes, the manifest says 7"),
        (lambda folder: (folder / "model.safetensors").write_bytes(b"wrights"), "content differs"),
        (lambda folder: (folder / "optimizer.pt").unlink(), "optimizer.pt: missing"),
        (lambda folder: (folder / "manifest.json").unlink(), "manifest"),
    ],
)
def test_a_damaged_newest_is_set_aside_and_the_one_before_is_used(tmp_path: Path, harm, reason: str) -> None:  # type: ignore[no-untyped-def]
    older = checkpoint.save(write, tmp_path, step=10)
    newest = checkpoint.save(write, tmp_path, step=20)
    harm(newest)
    assert checkpoint.newest(tmp_path) == older
    assert reason in (tmp_path / "damaged-step-000020" / "REASON").read_text()


def test_a_published_checkpoint_holds_no_pickles_and_verifies(tmp_path: Path) -> None:
    folder = checkpoint.save(write, tmp_path / "training", step=10)
    published = checkpoint.publish(folder, tmp_path / "checkpoint")
    assert sorted(path.name for path in published.iterdir()) == ["manifest.json", "model.safetensors"]
    assert checkpoint.find_damage(published) is None
    assert checkpoint.find_damage(folder) is None  # a kill before the end of the run can still resume


def test_no_room_is_said_before_training_with_bytes_and_remedy(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"bytes free, 1,152,921,504,606,846,976 needed.*hydra.run.dir"):
        check_writable(tmp_path, needed_bytes=2**60)


def test_a_folder_that_cannot_be_is_refused_with_path_user_and_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(OutputError, match=r"file/run: user \w+ cannot write here \(.+\); make it writable"):
        check_writable(tmp_path / "file" / "run")
