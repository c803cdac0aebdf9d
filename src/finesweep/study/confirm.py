"""Confirmation: the best few trials are trained again with new seeds, the same for each of them."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import optuna
from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from finesweep.config.study import ConfirmConfig
from finesweep.study import clock
from finesweep.study.backend import add_trial
from finesweep.study.liveness import this_owner
from finesweep.study.ranking import best_first
from finesweep.study.records import TrialRecord
from finesweep.study.space import Space, distributions

ROUNDING = 1e-12  # of the values, as in `tasks.resampling`, which would import datasets here
NOISE = 0.05  # a lead with a greater p-value is within noise


@dataclass(frozen=True)
class ConfirmedCandidate:
    """A candidate with the values of its new seeds. Its first value is left out: it was the best of many."""

    trial: FrozenTrial
    values: dict[int, float]  # by seed
    failed: int = 0  # seeds whose training failed

    @property
    def mean(self) -> float:
        return statistics.fmean(self.values.values())

    @property
    def std(self) -> float | None:
        """The standard deviation of the sample; None for a single value."""
        return statistics.stdev(self.values.values()) if len(self.values) > 1 else None


def missing(study: Study, config: ConfirmConfig, base_seed: int) -> list[tuple[FrozenTrial, int]]:
    """Lists candidate and seed of each missing training, seed by seed, so that a part can be compared."""
    candidates = best_first(study)[: config.top_k]
    tries = _tries(study.get_trials(deepcopy=False))
    wanted = [(trial, base_seed + offset) for offset in range(1, config.seeds + 1) for trial in candidates]
    return [
        (trial, seed)
        for trial, seed in wanted
        if not any(map(_is_settled, tries.get((trial.number, seed), [])))
    ]


def last_try(trials: Sequence[FrozenTrial], candidate: int, seed: int) -> FrozenTrial | None:
    """Finds the last try of a confirmation, whose worker died or was interrupted."""
    return next(reversed(_tries(trials).get((candidate, seed), [])), None)


def add_confirmation(
    study: Study, space: Space, trials: Sequence[FrozenTrial], candidate: FrozenTrial, seed: int
) -> optuna.Trial:
    """Adds a RUNNING trial of the candidate's point with a new seed, with this process as its owner.

    Both are written in one step: if its worker dies, `missing` lists the training again. The caller holds the
    study's lock. trials: all trials of the study.
    """
    earlier = last_try(trials, candidate.number, seed)
    last = TrialRecord(earlier) if earlier else None
    now = clock.now(study)
    attrs = TrialRecord.attributes(
        confirms=candidate.number,
        seed=seed,
        started=now,
        heartbeat=now,
        owner=this_owner(),
        retry_of=earlier.number if earlier else None,
        worker_deaths=last.worker_deaths if last else None,
        retry_overrides=(last.retry_overrides if last else None) or TrialRecord(candidate).retry_overrides,
    )
    template = optuna.trial.create_trial(
        state=TrialState.RUNNING,
        params=candidate.params,
        distributions=distributions(space, candidate.params),
        user_attrs=attrs,
    )
    return optuna.Trial(study, add_trial(study, template)._trial_id)


def _tries(trials: Sequence[FrozenTrial]) -> dict[tuple[int, int], list[FrozenTrial]]:
    tries: dict[tuple[int, int], list[FrozenTrial]] = {}
    for trial in trials:
        record = TrialRecord(trial)
        if record.confirms is not None and record.seed is not None:
            tries.setdefault((record.confirms, record.seed), []).append(trial)
    return tries


def _is_settled(trial: FrozenTrial) -> bool:
    record = TrialRecord(trial)
    is_given_up = _has_failed(trial) or record.stopped is not None
    return trial.state in (TrialState.COMPLETE, TrialState.RUNNING) or is_given_up


def _has_failed(trial: FrozenTrial) -> bool:
    return TrialRecord(trial).error is not None


def confirmed_candidates(study: Study, config: ConfirmConfig) -> list[ConfirmedCandidate]:
    """Lists confirmed candidates, best mean first; candidates with failed seeds come after the others.

    Candidates may have other numbers of seeds, where more were asked for or a person stopped one: means stay
    means.
    """
    confirmed = []
    tries = _tries(study.get_trials(deepcopy=False))
    for trial in best_first(study)[: config.top_k]:
        seeds = {seed: others for (candidate, seed), others in tries.items() if candidate == trial.number}
        complete = {
            seed: other.values[0]
            for seed, others in seeds.items()
            for other in others if other.state is TrialState.COMPLETE
        }  # fmt: skip
        if complete:
            failed = sum(seed not in complete and any(map(_has_failed, seeds[seed])) for seed in seeds)
            confirmed.append(ConfirmedCandidate(trial, complete, failed))
    sign = -1 if study.directions[0] is StudyDirection.MAXIMIZE else 1
    return sorted(confirmed, key=lambda candidate: (candidate.failed, sign * candidate.mean))


def seed_noise(confirmed: Sequence[ConfirmedCandidate]) -> float | None:
    """Returns the standard deviation over new seeds, pooled over the candidates; None without two of one."""
    spreads = [(len(one.values) - 1, one.std) for one in confirmed if one.std is not None]
    if not spreads:
        return None
    return math.sqrt(sum(free * std**2 for free, std in spreads) / sum(free for free, _ in spreads))


def is_within_noise(first: ConfirmedCandidate, second: ConfirmedCandidate) -> bool | None:
    """Tells whether a paired t-test over shared seeds finds no difference (two-sided, p > 0.05).

    None where there is no test: with fewer than two such seeds, and where all differ by the same. If the
    shared seeds differ the other way than the means, what the means say is noise, whatever the test finds.
    """
    seeds = sorted(first.values.keys() & second.values.keys())
    differences = [first.values[seed] - second.values[seed] for seed in seeds]
    values = [*first.values.values(), *second.values.values()]
    spread = max(differences, default=0.0) - min(differences, default=0.0)
    if len(differences) < 2 or spread <= ROUNDING * max(map(abs, values)):  # the test divides by it
        return None
    if (first.mean - second.mean) * statistics.fmean(differences) < 0:
        return True
    from scipy import stats  # half a second, and `status` seldom needs it

    return bool(stats.ttest_1samp(differences, 0.0).pvalue > NOISE)


def winner(study: Study, config: ConfirmConfig) -> FrozenTrial | None:
    """Gives the confirmed candidate with the best mean; the best trial if none was confirmed."""
    confirmed = confirmed_candidates(study, config)
    return confirmed[0].trial if confirmed else next(iter(best_first(study)), None)
