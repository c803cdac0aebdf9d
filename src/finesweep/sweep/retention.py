"""Weights of the best k trials stay, the others' go: k times one checkpoint is what a study keeps on disk."""

import json
import shutil
from pathlib import Path

from optuna.study import Study
from optuna.trial import FrozenTrial

from finesweep.files import write_text
from finesweep.sweep.study import CHECKPOINT, FOLDER, best_first


def drop_losers(study: Study, keep: int) -> None:
    """Removes the checkpoints of all complete trials but the best `keep`; their `result.json` says so."""
    for trial in best_first(study)[keep:]:
        folder = checkpoint_of(trial)
        if folder and folder.is_dir():
            shutil.rmtree(folder, ignore_errors=True)
            _forget(Path(trial.user_attrs[FOLDER]) / "result.json")


def checkpoint_of(trial: FrozenTrial) -> Path | None:
    path = trial.user_attrs.get(CHECKPOINT)
    return Path(path) if path else None


def _forget(result: Path) -> None:
    if result.is_file():
        write_text(result, json.dumps(json.loads(result.read_text()) | {"checkpoint": None}, indent=2) + "\n")
