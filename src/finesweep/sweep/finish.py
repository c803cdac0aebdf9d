"""The last step of a sweep, taken by one worker: the best trial predicts, and the parent run gets it all."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

from optuna.study import Study
from optuna.trial import FrozenTrial

from finesweep import device
from finesweep.config import RunConfig, parse_config
from finesweep.inputs import load_inputs
from finesweep.predict import score_and_predict
from finesweep.sweep import study as studies
from finesweep.sweep.lock import study_lock
from finesweep.sweep.retention import checkpoint_of
from finesweep.sweep.study import Ledger
from finesweep.tracking import TrackedRun, open_store

if TYPE_CHECKING:
    from finesweep.sweep.worker import Worker


def finish(worker: "Worker", ledger: Ledger) -> None:
    """Does nothing while others are at work, and nothing twice: a study with more trials finishes anew."""
    config = worker.sweep.study
    with study_lock(config.storage, f"{ledger.name}:finish"):
        study = ledger.study
        trials = ledger.trials()
        if not studies.is_over(trials, config):
            return
        best = studies.best_first(study)[: worker.sweep.keep_checkpoints]
        composed = worker.compose(best[0].number, best[0].params)
        run_config = parse_config(composed)
        if studies.is_concluded(study, trials, run_config.predict):
            return
        _keep_artifacts(worker, study, best)
        found = _submit(worker, best[0], run_config, Path(str(composed.hydra.sweep.dir)).resolve())
        finished = {
            "finished": studies.count_finished(trials),
            "best": best[0].number,
            "predict": run_config.predict,
        }
        study.set_user_attr(studies.CONCLUSION, finished | found)
        TrackedRun(open_store(worker.tracking), worker.parent_run_id).close("FINISHED")


def _keep_artifacts(worker: "Worker", study: Study, best: list[FrozenTrial]) -> None:
    """The best trials' checkpoints as artifacts of their runs; those that lost since the last time go."""
    client = open_store(worker.tracking)
    kept = {trial.user_attrs[studies.RUN_ID]: trial for trial in best}
    earlier = set(study.user_attrs.get("artifacts", []))
    for run_id in earlier - kept.keys():
        TrackedRun(client, run_id).delete_artifacts("checkpoint")
    for run_id in kept.keys() - earlier:
        folder = checkpoint_of(kept[run_id])
        if folder and folder.is_dir():
            TrackedRun(client, run_id).log_folder(folder, "checkpoint")
    study.set_user_attr("artifacts", sorted(kept))


def _submit(worker: "Worker", best: FrozenTrial, config: RunConfig, folder: Path) -> dict[str, object]:
    """Final score and submission of the best trial, on the parent run and in the study's folder."""
    device.prepare(config.trainer)
    checkpoint = _checkpoint(worker, best, folder)
    parent = TrackedRun(open_store(worker.tracking), worker.parent_run_id)
    predicted = score_and_predict(config, load_inputs(config), checkpoint, folder, parent)
    run_id = str(best.user_attrs[studies.RUN_ID])
    parent.set_tags({"finesweep.best_trial": str(best.number), "finesweep.best_run_id": run_id})
    parent.log_metrics({"best_value": float(best.value or 0.0)}, step=best.number)
    parent.set_tags({f"best.{key}": str(value) for key, value in best.params.items()})
    summary = {"trial": best.number, "run_id": run_id, "value": best.value, "params": best.params}
    parent.log_text(json.dumps(summary, indent=2) + "\n", "best.json")
    return {"submissions": [str(path) for path in predicted.submissions], "metrics": predicted.metrics}


def _checkpoint(worker: "Worker", best: FrozenTrial, folder: Path) -> Path:
    """The best trial's checkpoint; where its folder is gone (a cleaned outputs/), the artifact of its run."""
    local = checkpoint_of(best)
    if local and local.is_dir():
        return local
    tracked = TrackedRun(open_store(worker.tracking), str(best.user_attrs[studies.RUN_ID]))
    return tracked.download("checkpoint", folder)
