"""Whatever is in a folder of checkpoints: it is whole, or it is damaged, and a damaged one falls back."""

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from damage import files, flipped, one_thing_wrong
from hypothesis import given
from hypothesis import strategies as st

from finesweep.io import atomic, checkpoint
from finesweep.io.reading import Unreadable, parse_json, read_json, read_text


def write(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "config.json").write_text("{}")


MANIFEST = {
    "files": {
        "config.json": {"size": 2, "sha256": "4413" * 16},
        "model.safetensors": {"size": 7, "sha256": "9a8f" * 16},
    }
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return checkpoint.save(write, tmp_path_factory.mktemp("training"), 10)


@given(content=files | one_thing_wrong(MANIFEST))
def test_no_manifest_but_the_right_one_passes(whole: Path, content: bytes) -> None:
    manifest = whole / "manifest.json"
    good = manifest.read_bytes()
    try:
        manifest.write_bytes(content)
        assert checkpoint.find_damage(whole)
    finally:
        manifest.write_bytes(good)
    assert checkpoint.find_damage(whole) is None


@pytest.mark.parametrize(
    "name", ["../step-000010/model.safetensors", "/etc/hostname", "model.safetensors/x", "x" * 300, "a\0b"]
)
def test_a_manifest_cannot_name_files_elsewhere(tmp_path: Path, name: str) -> None:
    folder = checkpoint.save(write, tmp_path, 10)
    content = json.loads((folder / "manifest.json").read_text())
    content["files"][name] = content["files"]["model.safetensors"]
    (folder / "manifest.json").write_text(json.dumps(content))
    assert checkpoint.find_damage(folder)


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    checkpoint.write_manifest(folder)


def replaced(by: Callable[[Path], None]) -> Callable[[Path], None]:
    def harm(folder: Path) -> None:
        shutil.rmtree(folder)
        by(folder)

    return harm


def unreadable(folder: Path) -> None:
    (folder / "manifest.json").unlink()
    os.mkfifo(folder / "manifest.json")


HARMS = {
    "a manifest that lists no weights": no_weights,
    "a named pipe as manifest": unreadable,
    "a file": replaced(lambda path: path.write_text("")),
    "a link to nothing": replaced(lambda path: path.symlink_to("nowhere")),
    "a link to itself": replaced(lambda path: path.symlink_to(path)),
    "a named pipe": replaced(os.mkfifo),
    "an empty folder": replaced(Path.mkdir),
}


@pytest.mark.parametrize("name", HARMS)
def test_whatever_stands_in_place_of_the_newest_the_one_before_is_used(tmp_path: Path, name: str) -> None:
    older = checkpoint.save(write, tmp_path, 10)
    newest = checkpoint.save(write, tmp_path, 20)
    HARMS[name](newest)
    (tmp_path / "damaged-step-000020").write_text("of an earlier time")
    assert checkpoint.newest(tmp_path) == older
    assert not os.path.lexists(newest)
    checkpoint.save(write, tmp_path, 20)
    HARMS[name](newest)
    checkpoint.keep_only(tmp_path, {older})
    assert not os.path.lexists(newest)
    HARMS["a file"](older)
    checkpoint.save(write, tmp_path, 10)  # takes its place


def test_the_newest_is_the_one_of_the_most_steps(tmp_path: Path) -> None:
    for step in (999_999, 1_000_000, 20):
        checkpoint.save(write, tmp_path, step)
    (tmp_path / "step-last").mkdir()
    (tmp_path / "step-last" / "notes").write_text("")
    assert checkpoint.newest(tmp_path) == tmp_path / "step-1000000"
    checkpoint.keep_only(tmp_path, set())
    assert [path.name for path in tmp_path.iterdir()] == ["step-last"]  # it is not ours


@given(identity=files)
def test_only_the_same_identity_is_resumed(tmp_path_factory: pytest.TempPathFactory, identity: bytes) -> None:
    folder = tmp_path_factory.mktemp("run") / "training"
    assert checkpoint.resumable(folder, "the same") is None
    saved = checkpoint.save(write, folder, 10)
    assert checkpoint.resumable(folder, "the same") == saved
    (folder / "identity").write_bytes(identity)
    assert checkpoint.resumable(folder, "the same") is None
    assert [path.name for path in folder.iterdir()] == ["identity"]


@pytest.mark.parametrize("target", ["elsewhere", "nowhere"])
def test_a_training_folder_that_is_a_link_becomes_a_folder_and_the_links_target_stays(
    tmp_path: Path, target: str
) -> None:
    checkpoint.resumable(tmp_path / "elsewhere", "the same")
    saved = checkpoint.save(write, tmp_path / "elsewhere", 10)
    (tmp_path / "training").symlink_to(target)
    assert checkpoint.resumable(tmp_path / "training", "the same") is None
    assert (tmp_path / "training").is_dir() and not (tmp_path / "training").is_symlink()
    assert checkpoint.find_damage(saved) is None


def test_the_identity_is_on_the_disk_before_a_checkpoint_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed = []
    monkeypatch.setattr(atomic, "flush", flushed.append)
    checkpoint.resumable(tmp_path / "training", "the same")
    assert any(path.name.startswith(".staging-identity") for path in flushed)
    assert flushed[-1] == tmp_path / "training"  # the name, too


@given(content=files | flipped(b'{"a": [1, "b", {"c": null}]}'))
def test_a_file_is_read_or_unreadable(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    path.write_bytes(content)
    try:
        json.dumps(read_json(path), ensure_ascii=False).encode()
    except Unreadable as error:
        assert str(error).startswith("any.json: ")


@given(depth=st.integers(1, 3000), inside=st.sampled_from(["", "0", '{"a": 1}']))
def test_json_is_nested_a_hundred_levels_deep_or_refused(depth: int, inside: str) -> None:
    text = "[" * depth + inside + "]" * depth
    levels = depth + (inside == '{"a": 1}')
    if levels < 100:
        assert json.dumps(parse_json(text)) == json.dumps(json.loads(text))
    elif levels > 101:
        with pytest.raises(Unreadable, match="nested more than 100"):
            parse_json(text)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: None, "is not there"),
        (Path.mkdir, "is not a regular file"),
        (os.mkfifo, "is not a regular file"),
        (lambda path: path.symlink_to("nowhere"), "is not a regular file"),
        (lambda path: path.write_bytes(b"\xff"), "not UTF-8"),
    ],
)
def test_a_text_that_cannot_be_read_says_why(
    tmp_path: Path, make: Callable[[Path], None], reason: str
) -> None:
    make(tmp_path / "file")
    with pytest.raises(Unreadable, match=f"file: {reason}"):
        read_text(tmp_path / "file")
