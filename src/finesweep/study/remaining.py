"""Tells what remains to be done in a study: trials of the search, confirmations, the finish step."""

from collections.abc import Sequence
from dataclasses import replace

from optuna.trial import FrozenTrial, TrialState

from finesweep.config.study import Ensemble, Pruner, StopWhen
from finesweep.study import budget, clock, confirm
from finesweep.study.opened import OpenedStudy
from finesweep.study.pausing import Pausing
from finesweep.study.records import Conclusion, StudyRecord, TrialRecord
from finesweep.study.selection import count_finished, failures, is_running, searching


def ended_by(opened: OpenedStudy) -> str | None:
    """Names what has ended the search, for a person; None while it goes on."""
    return spent(opened, opened.skim())


def spent(opened: OpenedStudy, trials: Sequence[FrozenTrial], spoken_for: bool = False) -> str | None:
    """Names the budget of the search that is used up, as `budget.spent` does."""
    pausing = Pausing.of(opened.study, opened.config)
    return budget.spent(trials, opened.config, spoken_for, opened.goal, pausing)


def to_confirm(opened: OpenedStudy) -> list[tuple[FrozenTrial, int]]:
    """Lists candidate and seed of each confirmation that is missing."""
    return confirm.missing(opened.study, opened.config.confirm, opened.run_seed)


def too_many_failed(opened: OpenedStudy, trials: Sequence[FrozenTrial]) -> bool:
    return len(failures(trials)) >= opened.config.max_failures


def more_may_come(opened: OpenedStudy) -> bool:
    """Tells whether a trial may come later.

    Trials that other workers still run decide which candidates are to be confirmed, which paused ones go
    on, and whether `stop_when` still ends the search; and a worker that is out of sight may be dead until
    it is heard of.
    """
    trials, running = opened.skim(), map(TrialRecord, opened.running())
    now = clock.now(opened.study)
    if any(opened.listener.may_be_dead(record.owner, record.heartbeat, now) for record in running):
        return not too_many_failed(opened, trials)
    more_follows = opened.config.confirm.top_k > 0 or opened.config.pruner is Pruner.pause
    more_follows = more_follows or _is_stopped_early(opened, trials)
    return more_follows and not too_many_failed(opened, trials) and is_running(searching(trials))


def _is_stopped_early(opened: OpenedStudy, trials: Sequence[FrozenTrial]) -> bool:
    """Tells whether nothing but `stop_when` ends the search."""
    anyway = replace(opened.config, stop_when=StopWhen.none)
    is_stopped = opened.config.stop_when is not StopWhen.none
    return is_stopped and budget.spent(trials, anyway, spoken_for=True, goal=opened.goal) is None


def has_work(opened: OpenedStudy) -> bool:
    """Tells whether a worker that started now would find a trial, or the finish step, to take."""
    opened.renew()
    trials = opened.skim()
    if too_many_failed(opened, trials):
        return False
    if spent(opened, trials, spoken_for=True) is None or to_confirm(opened):
        return True
    return is_over(opened) and not is_concluded(opened, predict=False)


def is_over(opened: OpenedStudy) -> bool:
    """Tells whether a budget is used up, all is confirmed, there is a result, and nobody works."""
    opened.renew()
    trials = opened.skim()
    has_result = any(trial.state is TrialState.COMPLETE for trial in searching(trials))
    if is_running(trials) or not has_result:
        return False
    return spent(opened, trials) is not None and not to_confirm(opened)


def is_concluded(opened: OpenedStudy, predict: bool) -> bool:
    """Tells whether the finish step was taken for these trials, with predictions if wanted."""
    conclusion = StudyRecord(opened.study).conclusion
    return (
        conclusion is not None
        and conclusion.trials == conclusion_counts(opened)
        and conclusion.predict in (True, predict)
        and _is_tried_together(opened, conclusion)
    )


def _is_tried_together(opened: OpenedStudy, conclusion: Conclusion) -> bool:
    """Tells whether the kept checkpoints were tried as `study.ensemble` asks, or none is submitted."""
    wanted, made = opened.config.ensemble, conclusion.ensemble
    if wanted is Ensemble.none:
        return made is None or not made.is_submitted
    return made is not None and made.kind == wanted.value


def conclusion_counts(opened: OpenedStudy) -> list[int]:
    """Returns what a conclusion counts: finished trials, candidates to confirm, and numbers left out."""
    outside = StudyRecord(opened.study).outside or []
    return [count_finished(opened.skim()), opened.config.confirm.top_k, *outside]
