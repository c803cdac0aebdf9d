"""The last step of a sweep, taken by one worker: the best trial predicts, and the parent run gets it all."""

import logging
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from optuna.study import Study
from optuna.trial import FrozenTrial

from finesweep import checkpoint, device
from finesweep.config import RunConfig, TrackingConfig, parse_config
from finesweep.errors import ConfigError, RunError
from finesweep.inputs import load_inputs
from finesweep.predict import Predicted, score_and_predict
from finesweep.provenance.record import FILE, results
from finesweep.reproduce.past import load_past
from finesweep.sweep import study as studies
from finesweep.sweep.confirm import winner
from finesweep.sweep.ledger import Ledger
from finesweep.sweep.lock import study_lock
from finesweep.sweep.plots import importances, publish
from finesweep.sweep.retention import checkpoint_of
from finesweep.sweep.space import params_of
from finesweep.tracking import TrackedRun, open_store

if TYPE_CHECKING:
    from finesweep.sweep.worker import Worker

log = logging.getLogger(__name__)


def finish(worker: "Worker", ledger: Ledger) -> None:
    """Does nothing while others are at work, and nothing twice: a study with more trials finishes anew."""
    config = worker.sweep.study
    with study_lock(config.storage, f"{ledger.name}:finish"):
        best = winner(ledger.study, config.confirm)
        if best is None or not ledger.is_over():
            return
        composed = worker.compose(best.number, [*worker.overrides, *worker.point(best)])
        run_config = parse_config(composed)
        if ledger.is_concluded(run_config.predict):
            return
        _keep_artifacts(worker, ledger.study, best)
        found = _submit(worker, best, run_config, Path(str(composed.hydra.sweep.dir)).resolve())
        parent = TrackedRun(open_store(worker.tracking), worker.parent_run_id)
        publish(ledger.study, parent, found)
        found["importances"] = importances(ledger.study)  # kept, for `status` would spend a second on it
        conclusion = {"trials": ledger.counted(), "best": best.number, "predict": run_config.predict}
        ledger.study.set_user_attr(studies.CONCLUSION, conclusion | found)
        parent.close("FINISHED")


def _keep_artifacts(worker: "Worker", study: Study, winner: FrozenTrial) -> None:
    """The best trials' checkpoints as artifacts of their runs; those that lost since the last time go."""
    client = open_store(worker.tracking)
    best = [winner, *studies.best_first(study)[: worker.sweep.keep_checkpoints]]
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
    chosen = _checkpoint(worker, best, folder)
    parent = TrackedRun(open_store(worker.tracking), worker.parent_run_id)
    predicted = score_and_predict(config, load_inputs(config), chosen, folder, parent)
    run_id = str(best.user_attrs[studies.RUN_ID])
    _tell_winner(TrackedRun(open_store(worker.tracking), run_id), predicted, worker.tracking)
    parent.set_tags({"finesweep.best_trial": str(best.number), "finesweep.best_run_id": run_id})
    parent.log_metrics({"best_value": best.values[0]}, step=best.number)
    parent.set_tags({f"best.{key}": str(value) for key, value in params_of(best).items()})
    return {"submissions": [str(path) for path in predicted.submissions], "metrics": predicted.metrics}


def _tell_winner(tracked: TrackedRun, predicted: Predicted, config: TrackingConfig) -> None:
    """The winner's run gets the submission, and its record the predictions: to be made again, equal."""
    tracked.log_metrics(predicted.metrics, step=0)
    with suppress(RunError, ConfigError):  # a trial of an older finesweep has no record, or another one
        past = load_past(tracked.run_id, config)
        past.record.results.setdefault("predictions", {}).update(predicted.hashes)
        scores = {(name, 0): value for name, value in predicted.metrics.items()}
        past.record.results = results(past.history | scores, past.record.results)
        tracked.log_text(past.record.to_json(), FILE)
    for path in predicted.submissions:
        tracked.log_file(path, "submission")


def _checkpoint(worker: "Worker", best: FrozenTrial, folder: Path) -> Path:
    """The best trial's checkpoint; where it is gone or damaged, the artifact of its run."""
    local = checkpoint_of(best)
    if local and local.is_dir():
        if not (reason := checkpoint.damage(local)):
            return local
        log.warning("%s is damaged (%s); the artifact of its run is used", local, reason)
    tracked = TrackedRun(open_store(worker.tracking), str(best.user_attrs[studies.RUN_ID]))
    return tracked.download("checkpoint", folder)
