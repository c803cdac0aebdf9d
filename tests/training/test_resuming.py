"""A training goes on only from a checkpoint that torch, safetensors and the callback can read."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from damage import files, flipped
from hypothesis import given, settings
from safetensors.torch import save_file

from finesweep.io import checkpoint
from finesweep.training.resuming import find_problem

STATE = {
    "global_step": 10,
    "max_steps": 20,
    "log_history": [{"step": 10, "epoch": 1.0, "eval_accuracy": 0.5}],
}
CARRIED = {"loss": 0.5, "steps": 2, "seconds": 1.5, "predictions": {"10": "abc"}}


def write(folder: Path) -> None:
    save_file({"weight": torch.zeros(2)}, folder / "model.safetensors")
    for name in ("optimizer.pt", "scheduler.pt", "rng_state.pth"):
        torch.save({"step": 1}, folder / name)
    (folder / "trainer_state.json").write_text(json.dumps(STATE))
    (folder / "observer.json").write_text(json.dumps(CARRIED))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return checkpoint.save(write, tmp_path, 10)


def test_a_good_one_has_no_problem(folder: Path) -> None:
    assert find_problem(folder) is None


@pytest.mark.parametrize("name", ["optimizer.pt", "scheduler.pt", "rng_state.pth", "trainer_state.json",
                                  "observer.json"])  # fmt: skip
def test_a_missing_file_is_a_problem_although_the_manifest_lacks_it_too(folder: Path, name: str) -> None:
    (folder / name).unlink()
    checkpoint.write_manifest(folder)
    assert find_problem(folder) == f"{name}: missing"


def test_of_several_processes_each_needs_its_random_states_and_its_losses(folder: Path) -> None:
    torch.save({"step": 1}, folder / "rng_state_0.pth")
    checkpoint.write_manifest(folder)
    assert find_problem(folder, processes=2) == "rng_state_1.pth: missing"
    torch.save({"step": 1}, folder / "rng_state_1.pth")
    checkpoint.write_manifest(folder)
    assert (find_problem(folder, processes=2) or "").startswith("observer.json: KeyError")
    (folder / "observer.json").write_text(json.dumps(CARRIED | {"losses": [0.5, 0.25]}))
    checkpoint.write_manifest(folder)
    assert find_problem(folder, processes=2) is None
    assert "rng_state_1.pth" not in {
        p.name for p in checkpoint.publish(folder, folder.parent / "c").iterdir()
    }


def rewrite(folder: Path, name: str, content: bytes) -> str | None:
    whole = (folder / name).read_bytes()
    try:
        (folder / name).write_bytes(content)
        checkpoint.write_manifest(folder)
        return find_problem(folder)
    finally:
        (folder / name).write_bytes(whole)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt", "trainer_state.json", "observer.json"])
@given(content=files)
@settings(max_examples=25)
def test_other_content_with_a_right_manifest_is_a_problem(folder: Path, name: str, content: bytes) -> None:
    assert (rewrite(folder, name, content) or "").startswith(name)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer.pt"])
@given(content=flipped(b"?" * 64))
@settings(max_examples=10)
def test_nothing_is_raised_for_a_file_that_begins_well(folder: Path, name: str, content: bytes) -> None:
    rewrite(folder, name, (folder / name).read_bytes()[:-60] + content)


def test_the_one_before_is_used(folder: Path) -> None:
    newest = folder.with_name("step-000020")
    shutil.copytree(folder, newest)
    (newest / "optimizer.pt").write_bytes(b"no pickle")
    checkpoint.write_manifest(newest)
    assert checkpoint.newest(folder.parent, find_problem) == folder
    assert "optimizer.pt: UnpicklingError" in (folder.parent / "damaged-step-000020/REASON").read_text()
