"""The time that an engine has allotted to a worker, which takes no trial that it could not finish."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from optuna.trial import FrozenTrial, TrialState

from finesweep.study.budget import seconds_of


@dataclass(frozen=True)
class Allotment:
    """The time until an engine ends this worker; it may be unlimited."""

    ends_at: float | None = None  # seconds since 1970, by this host's clock

    def admits(self, trials: Sequence[FrozenTrial]) -> bool:
        """Tells whether the time that is left would have sufficed for each trial that is complete."""
        return self.ends_at is None or time.time() + longest_s(trials) <= self.ends_at

    def explain(self, trials: Sequence[FrozenTrial]) -> str:
        """Says how much time is left, and how much a trial may need."""
        left = max(0.0, (self.ends_at or 0.0) - time.time())
        longest = longest_s(trials)
        return f"{left:.0f} s are left of its time, and the longest trial so far took {longest:.0f} s"

    @property
    def is_over(self) -> bool:
        return self.ends_at is not None and time.time() >= self.ends_at


def longest_s(trials: Sequence[FrozenTrial]) -> float:
    """Returns the seconds that the longest of the complete trials took, in all its tries; 0 without any."""
    complete = (trial for trial in trials if trial.state is TrialState.COMPLETE)
    return max((seconds_of(trial, trials) for trial in complete), default=0.0)
