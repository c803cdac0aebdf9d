"""Computes how much each parameter of a study mattered."""

import warnings
from typing import TYPE_CHECKING

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState, create_trial

from finesweep.study.editing import as_seen
from finesweep.study.pausing import each_once
from finesweep.study.records import StudyRecord, TrialRecord
from finesweep.study.selection import FINISHED

if TYPE_CHECKING:
    from optuna.importance import PedAnovaImportanceEvaluator

MIN_TRIALS = 10  # complete ones; with fewer, the order of the parameters is hardly better than chance


def importances(study: Study) -> dict[str, float]:
    """Returns each parameter's share in reaching the best trials, or the Pareto front; greatest first.

    Keys are Optuna's names. Empty while there are too few trials, and where all are equal.
    """
    return shares(searched(study))


def shares(search: Study) -> dict[str, float]:
    """Computes the shares by PED-ANOVA, for a study that holds search trials alone."""
    complete = search.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
    if len(complete) < MIN_TRIALS or len({tuple(trial.values) for trial in complete}) < 2:
        return {}
    from optuna.importance import get_param_importances  # and with it scikit-learn: a second

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that some values of a parameter were tried once only
        importance = get_param_importances(search, evaluator=evaluator(search))
    # Optuna returns equal shares if no parameter tells the best trials from the others.
    return {} if len(importance) > 1 and len(set(importance.values())) == 1 else importance


def evaluator(search: Study) -> "PedAnovaImportanceEvaluator":
    """Makes the evaluator, which compares the best trials, a tenth of them but at least five, with all.

    Source: Optuna's documentation of `target_quantile` asks for five trials.
    """
    from optuna.importance import PedAnovaImportanceEvaluator

    complete = len(search.get_trials(deepcopy=False, states=(TrialState.COMPLETE,)))
    return PedAnovaImportanceEvaluator(target_quantile=max(0.1, min(0.5, 5 / max(1, complete))))


def searched(study: Study) -> Study:
    """Copies the study into memory; trials that did not search, or did not train, count as failed there."""
    copy, record = optuna.create_study(directions=study.directions), StudyRecord(study)
    trials = each_once(study.get_trials(deepcopy=False))
    for trial in trials if record.outside is None else as_seen(trials, record.space or ()):
        copy.add_trial(trial if _counts(trial) else create_trial(state=TrialState.FAIL))
    return copy


def _counts(trial: FrozenTrial) -> bool:
    record = TrialRecord(trial)
    return trial.state in FINISHED and record.confirms is None and record.reused_of is None
