"""Takes the last step of a sweep: the best trial scores and predicts, and the parent run gets the results."""

import logging
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial

from finesweep.config.parse import parse_config
from finesweep.config.places import reachable
from finesweep.config.run import RunConfig, TrackingConfig
from finesweep.config.study import Ensemble
from finesweep.errors import ModelError
from finesweep.hooks import RunState
from finesweep.io import checkpoint
from finesweep.machine import device
from finesweep.machine.placement import take_idle_cores
from finesweep.monitor.description import of_study
from finesweep.monitor.publish import publish
from finesweep.report.publish import publish_page
from finesweep.study.confirm import winner
from finesweep.study.identity import refuse_other_rows
from finesweep.study.importance import importances
from finesweep.study.lock import study_lock
from finesweep.study.noise import certainty_of
from finesweep.study.queue import TrialQueue
from finesweep.study.ranking import best_first
from finesweep.study.records import Conclusion, StudyRecord, TrialRecord
from finesweep.study.remaining import conclusion_counts, is_concluded, is_over
from finesweep.study.space import params_of
from finesweep.tags import Tag
from finesweep.tracking import TrackedRun, deliver_spooled, open_store, restore_deleted
from finesweep.training import recording
from finesweep.training.inputs import load_inputs
from finesweep.training.predict import Predicted, score_and_predict
from finesweep.training.served import pipeline_of
from finesweep.worker.describing import describe_paused, describe_run
from finesweep.worker.editing import train_lost_again
from finesweep.worker.ensemble import submit_together
from finesweep.worker.paused import give_up_all
from finesweep.worker.retention import checkpoint_of

log = logging.getLogger(__name__)


Compose = Callable[[FrozenTrial], Any]  # the Hydra config that a trial was, or would be, run with


def finish(
    queue: TrialQueue, tracking: TrackingConfig, parent_run_id: str, keep_checkpoints: int, compose: Compose
) -> bool:
    """Takes the finish step, unless trials are still running, or it was taken for the same trials before.

    keep_checkpoints: how many of the best trials' checkpoints become artifacts.
    Returns whether trials were queued instead: winners of an edited study whose weights are gone.
    """
    return queue.patience.call(_finish, queue, tracking, parent_run_id, keep_checkpoints, compose)


def _finish(
    queue: TrialQueue, tracking: TrackingConfig, parent_run_id: str, keep_checkpoints: int, compose: Compose
) -> bool:
    config = queue.config
    with study_lock(config.storage, f"{queue.name}:finish"):
        counts = conclusion_counts(queue)  # first: what trials or an edit change meanwhile is concluded again
        best = winner(queue.study, config.confirm)
        if best is None or not is_over(queue):
            return False
        if _trains_again(queue):
            return True
        composed = compose(best)
        run_config = reachable(parse_config(composed))
        if is_concluded(queue, run_config.predict):
            return False
        restore_deleted(tracking, [parent_run_id])
        parent = TrackedRun(open_store(tracking), parent_run_id)
        deliver_spooled(parent.client)  # what is read here, of the best trials, must be whole
        folder = Path(str(composed.hydra.sweep.dir))
        _keep_models(queue, best, tracking, keep_checkpoints, compose)
        predicted, ensemble = _submit(queue, best, run_config, folder, parent), None
        if config.ensemble is not Ensemble.none:
            ensemble, predicted = submit_together(queue, best, run_config, predicted, folder, parent)
        conclusion = _conclusion(queue, counts, best, run_config.predict, predicted)
        _conclude(queue, replace(conclusion, ensemble=ensemble), folder, parent)
        return False


def _trains_again(queue: TrialQueue) -> bool:
    """Queues the first trials of an edited study again whose weights are gone, if that was not done before.

    One that a person stopped, or that failed, leaves another one the first.
    """
    with queue.lock():
        waits = train_lost_again(queue.study, queue.config.confirm.top_k, log.warning)
    return waits and not is_over(queue)


def _conclusion(
    queue: TrialQueue, counts: list[int], best: FrozenTrial, predict: bool, predicted: Predicted
) -> Conclusion:
    return Conclusion(
        trials=counts,
        best=best.number,
        predict=predict,
        submissions=[queue.places.write(path) for path in predicted.submissions],
        metrics=predicted.metrics,
        # Both are stored, because `status` would need seconds to compute them.
        importances=importances(queue.study),
        certainty=certainty_of(queue.study, queue.places, best, predicted.scorer, predicted.folder),
    )


def _conclude(queue: TrialQueue, conclusion: Conclusion, folder: Path, parent: TrackedRun) -> None:
    """Publishes the conclusion and writes it into the study, which is finished then."""
    give_up_all(queue)  # before the page says what came of them
    publish(queue.study, parent, folder, conclusion)
    publish_page(queue.study, parent, conclusion)
    describe_paused(queue, parent)
    StudyRecord(queue.study).conclusion = conclusion
    describe_run(lambda: parent, partial(of_study, queue.study, works=False))
    parent.close(RunState.COMPLETE)


def _keep_models(
    queue: TrialQueue, winner: FrozenTrial, tracking: TrackingConfig, keep: int, compose: Compose
) -> None:
    """Logs the best trials' checkpoints as models; removes those of trials that are no longer best.

    A trial whose weights were removed before, because it was not among the best then, has none.
    """
    client, study = open_store(tracking), queue.study
    best = [winner, *best_first(study)[:keep]]
    kept = {str(TrialRecord(trial).run_id): trial for trial in best}
    record = StudyRecord(study)
    earlier = set(record.artifacts or [])
    there = restore_deleted(tracking, sorted(kept))
    for run_id in earlier - kept.keys():
        TrackedRun(client, run_id).delete_checkpoint()
    models = earlier & there
    for run_id in there - earlier:
        folder = checkpoint_of(kept[run_id], queue.places)
        if folder is None or not folder.is_dir():
            continue
        if reason := checkpoint.find_damage(folder):
            log.warning("%s is damaged (%s) and becomes no model", folder, reason)
            continue
        config = parse_config(compose(kept[run_id]))
        TrackedRun(client, run_id).log_model(folder, pipeline_of(config))
        models.add(run_id)
    record.artifacts = sorted(models)


def _submit(
    queue: TrialQueue, best: FrozenTrial, config: RunConfig, folder: Path, parent: TrackedRun
) -> Predicted:
    """Scores and predicts with the best trial. The parent run and the study's folder get the results."""
    device.prepare(config.trainer)
    run_id = str(TrialRecord(best).run_id)
    tracked = TrackedRun(open_store(config.tracking), run_id)
    chosen = _checkpoint(queue, best, folder, tracked)
    inputs = load_inputs(config)
    refuse_other_rows(queue.study, {name: split.sha256 for name, split in inputs.content.items()})
    predicted = score_and_predict(
        config, inputs, chosen, folder, parent, take_idle_cores(), queue.config.objectives or ()
    )
    recording.log_inputs(config, inputs, parent, config.predict)
    if restore_deleted(config.tracking, [run_id]):
        recording.log_inputs(config, inputs, tracked, config.predict)
        recording.amend_results(tracked, config.tracking, predicted)
    parent.set_tags({Tag.BEST_TRIAL: str(best.number), Tag.BEST_RUN_ID: run_id})
    parent.log_metrics({"best_value": best.values[0]}, step=best.number)
    parent.set_tags({f"best.{key}": str(value) for key, value in params_of(best).items()})
    return predicted


def _checkpoint(queue: TrialQueue, best: FrozenTrial, folder: Path, tracked: TrackedRun) -> Path:
    """Finds the best trial's checkpoint; where it is gone or damaged, downloads the artifact of its run."""
    local = checkpoint_of(best, queue.places)
    if local and local.is_dir():
        if not (reason := checkpoint.find_damage(local)):
            return local
        log.warning("%s is damaged (%s); the artifact of its run is used", local, reason)
    try:
        downloaded = tracked.download("checkpoint", folder)
    except ModelError as error:
        _note_lost(queue, local, tracked.run_id)
        raise ModelError(
            f"trial {best.number}: its weights are gone or damaged, in {local} and at its run ({error}); "
            "start the same command with hydra.sweeper.study.edit=true, and it is trained again"
        ) from error
    if reason := checkpoint.find_damage(downloaded):
        raise ModelError(
            f"trial {best.number}: its checkpoint is damaged, and so is the artifact of its run ({reason}); "
            f"train it again: finesweep reproduce {tracked.run_id}"
        )
    return downloaded


def _note_lost(queue: TrialQueue, folder: Path | None, run_id: str) -> None:
    """Notes that a trial has no weights any more; sets a damaged folder aside."""
    record = StudyRecord(queue.study)
    record.artifacts = [known for known in record.artifacts or [] if known != run_id]
    if folder and folder.is_dir() and not queue.places.is_foreign(folder):
        folder.rename(folder.with_name(f"{folder.name}-damaged"))
