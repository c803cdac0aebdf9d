"""Names the states of trials for a person. Optuna has no word for a paused trial, which is PRUNED there."""

from collections.abc import Collection, Sequence

from optuna.trial import FrozenTrial

from finesweep.study.records import TrialRecord
from finesweep.study.selection import continued

PAUSED = "PAUSED"  # it waits with a checkpoint
CONTINUED = "CONTINUED"  # it was paused, and another trial went on from it
GIVEN_UP = "GIVEN UP"  # it was paused, and its checkpoint is gone


def state_names(trials: Sequence[FrozenTrial], given_up: Collection[int]) -> dict[int, str]:
    """Returns the state of each trial by its number. given_up: numbers that the study's record has."""
    numbers = continued(trials)

    def name(trial: FrozenTrial) -> str:
        if not TrialRecord(trial).is_paused:
            return trial.state.name
        if trial.number in numbers:
            return CONTINUED
        return GIVEN_UP if trial.number in given_up else PAUSED

    return {trial.number: name(trial) for trial in trials}
