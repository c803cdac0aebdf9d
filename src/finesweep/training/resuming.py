"""Decides whether a training can go on from a checkpoint: it is whole, and the libraries can read it."""

from pathlib import Path

import torch
from safetensors import safe_open
from transformers.trainer_pt_utils import safe_globals

from finesweep.errors import first_line
from finesweep.io import checkpoint
from finesweep.io.reading import read_object
from finesweep.training.callback import CARRIED

# The Trainer would go on without a word if one of the first three were missing.
NEEDED = ("optimizer.pt", "scheduler.pt", "trainer_state.json", CARRIED)


def find_problem(folder: Path, processes: int = 1) -> str | None:
    """Returns the reason why no training can go on from this checkpoint, or None if one can.

    processes: how many train together; each has random states of its own.
    """
    if reason := checkpoint.find_damage(folder):
        return reason
    each = [f"rng_state_{rank}.pth" for rank in range(processes)] if processes > 1 else ["rng_state.pth"]
    if missing := [name for name in (*NEEDED, *each) if not (folder / name).is_file()]:
        return f"{missing[0]}: missing"
    for path in sorted(folder.iterdir()):
        try:
            _read(path, processes)
        except Exception as error:  # UnpicklingError, SafetensorError, RuntimeError, KeyError, ...
            return f"{path.name}: {type(error).__name__}: {first_line(error)}"
    return None


def _read(path: Path, processes: int) -> None:
    """Reads a file as the Trainer or the callback will. Raises: what they would raise."""
    if path.suffix == ".safetensors":
        with safe_open(path, "pt") as weights:
            weights.keys()
    elif path.suffix in (".pt", ".pth"):
        with safe_globals():
            torch.load(path, map_location="cpu", weights_only=True)
    elif path.name == "trainer_state.json":
        _check_state(path)
    elif path.name == CARRIED:
        carried = read_object(path)
        _check_numbers(carried["loss"], carried["steps"], carried["seconds"])
        if processes > 1:
            _check_numbers(*(carried["losses"][rank] for rank in range(processes)))
        _check_numbers(*carried.get("predictions", {}))


def _check_state(path: Path) -> None:
    state = read_object(path)
    _check_numbers(state["global_step"], state["max_steps"])
    for entry in state["log_history"]:
        _check_numbers(entry["step"], *entry.values())


def _check_numbers(*values: object) -> None:
    for value in values:
        float(value)  # type: ignore[arg-type]  # it may be anything: raises
