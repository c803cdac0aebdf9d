"""Ranks the trials of a search by their values."""

from optuna.study import Study, StudyDirection
from optuna.study._multi_objective import _get_pareto_front_trials_by_trials
from optuna.trial import FrozenTrial, TrialState

from finesweep.study.records import TrialRecord
from finesweep.study.selection import continued, searching


def best_first(study: Study) -> list[FrozenTrial]:
    """Lists the complete trials of the search, best first; of equals, the earlier one.

    With several objectives: the Pareto front by the first objective, then the others.
    """
    ranked = sorted(_trained(study), key=lambda trial: (_loss(study, trial), trial.number))
    front = {trial.number for trial in pareto_front(study)} if len(study.directions) > 1 else set()
    return sorted(ranked, key=lambda trial: trial.number not in front)  # stable


def _trained(study: Study) -> list[FrozenTrial]:
    complete = study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    return [trial for trial in searching(complete) if TrialRecord(trial).reused_of is None]


def _loss(study: Study, trial: FrozenTrial) -> float:
    """Gives the first objective with the sign that makes less better."""
    return float(trial.values[0]) * (-1 if study.directions[0] is StudyDirection.MAXIMIZE else 1)


def pareto_front(study: Study) -> list[FrozenTrial]:
    """Lists the complete trials that no other beats in every objective, best in the first objective first."""
    front = _get_pareto_front_trials_by_trials(_trained(study), study.directions)
    return sorted(front, key=lambda trial: (_loss(study, trial), trial.number))


def scored_once(study: Study) -> list[FrozenTrial]:
    """Lists the trials of the search that have a value, each point once: of a paused one, what went on."""
    search = searching(study.get_trials(deepcopy=False))
    went_on, key = continued(search), TrialRecord.reused_of.key
    return [one for one in search if one.values and one.number not in went_on and key not in one.user_attrs]
