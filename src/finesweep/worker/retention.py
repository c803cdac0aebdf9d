"""Retention: keeps the weights of the best trials and removes all others."""

import json
import logging
import shutil
from pathlib import Path

from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from finesweep.errors import ConfigError
from finesweep.hooks import RunState
from finesweep.io import checkpoint
from finesweep.io.atomic import write_text
from finesweep.io.reading import Unreadable, read_object
from finesweep.machine.process import ProcessIdentity, this_process
from finesweep.study.baseline import baseline_of
from finesweep.study.places import Places, places_of
from finesweep.study.queue import TrialQueue
from finesweep.study.ranking import best_first, pareto_front
from finesweep.study.records import StudyRecord, TrialRecord
from finesweep.tracking import STATUSES

log = logging.getLogger(__name__)


def drop_losers(queue: TrialQueue, keep: int) -> None:
    """Removes the checkpoints of complete trials, except the best `keep`, and updates their `result.json`.

    Candidates for confirmation, a Pareto front and the baseline keep theirs, too; trials that confirm another
    one do not.
    Removes nothing if a checkpoint that stays is damaged.
    """
    trials = queue.skim()  # before the best ones: what completes in between is no loser yet
    for trial in trials:
        _clean_up_after_kill(trial, queue.places)
    kept = _kept(queue, keep)
    losers = [
        trial
        for trial in trials
        if trial.state is TrialState.COMPLETE and _is_loser(trial, kept, queue.places)
    ]
    if not losers:
        return
    if damaged := [path for path in kept if checkpoint.find_damage(path)]:
        log.warning("nothing is removed, for a checkpoint that should stay is damaged: %s", damaged[0])
        return
    for record in map(TrialRecord, losers):
        assert record.checkpoint and record.folder
        shutil.rmtree(queue.places.find(record.checkpoint), ignore_errors=True)
        _forget(queue.places.find(record.folder) / "result.json")


def _kept(queue: TrialQueue, keep: int) -> set[Path]:
    """Returns the checkpoints that stay, of those that are there."""
    study = queue.study
    stay = best_first(study)[: max(keep, queue.config.confirm.top_k)]
    if len(study.directions) > 1:
        stay += pareto_front(study)
    stay += filter(None, [baseline_of(study)])
    return {path for trial in stay if (path := checkpoint_of(trial, queue.places)) and path.is_dir()}


def _clean_up_after_kill(trial: FrozenTrial, places: Places) -> None:
    """Removes weights that nobody needs, which a worker left because it was killed."""
    record = TrialRecord(trial)
    if record.folder is None or record.reused_of is not None:  # the folder of another trial
        return
    folder = places.find(record.folder)
    if places.is_foreign(folder):
        return
    if (trial.state is TrialState.PRUNED and not record.is_paused) or record.error is not None:
        shutil.rmtree(folder / "training", ignore_errors=True)
    if trial.state is TrialState.FAIL:  # published, and then killed: the retry has its own
        shutil.rmtree(folder / "checkpoint", ignore_errors=True)
        _forget(folder / "result.json", killed=True)


def _is_loser(trial: FrozenTrial, kept: set[Path], places: Places) -> bool:
    path = checkpoint_of(trial, places)
    if path is None or path in kept or TrialRecord(trial).reused_of is not None:
        return False
    return path.is_dir() and not places.is_foreign(path)


def checkpoint_of(trial: FrozenTrial, places: Places) -> Path | None:
    path = TrialRecord(trial).checkpoint
    return places.find(path) if path else None


def _forget(result: Path, killed: bool = False) -> None:
    """Takes a checkpoint out of a `result.json`. killed: whether its status FINISHED becomes KILLED."""
    if not result.exists():
        return
    try:
        before = read_object(result)
    except Unreadable as error:
        log.warning("%s stays as it is, for it is damaged: %s", result, error)
        return
    after = before | {"checkpoint": None}
    if killed and before.get("status") == STATUSES[RunState.COMPLETE]:
        after["status"] = STATUSES[RunState.INTERRUPTED]
    if after != before:
        write_text(result, json.dumps(after, indent=2) + "\n")


def check_candidates(study: Study, top_k: int) -> None:
    """Raises: ConfigError if the weights of a candidate for confirmation are gone: it could win.

    Those that another host may have on a disk of its own are not.
    """
    for rank, trial in enumerate(best_first(study)[:top_k]):
        if is_lost(study, trial):
            raise ConfigError.at(
                "hydra.sweeper.study.confirm.top_k", top_k,
                f"{rank} or less in this study: the weights of trial {trial.number} are gone. Another study, "
                "with a greater hydra.sweeper.keep_checkpoints, keeps more",
            )  # fmt: skip


def is_lost(study: Study, trial: FrozenTrial) -> bool:
    """Tells whether a trial's weights are surely gone: another host may have them on a disk of its own."""
    record = TrialRecord(trial)
    folder = places_of(study).find(record.folder) if record.folder else None
    is_here = record.owner is None or ProcessIdentity.parse(record.owner).host == this_process().host
    return not has_weights(study, trial) and (is_here or (folder is not None and folder.is_dir()))


def has_weights(study: Study, trial: FrozenTrial) -> bool:
    """Tells whether a trial's weights are there, in its folder or as the artifact of its run."""
    folder = checkpoint_of(trial, places_of(study))
    is_kept = TrialRecord(trial).run_id in (StudyRecord(study).artifacts or [])
    return is_kept or (folder is not None and folder.is_dir())
