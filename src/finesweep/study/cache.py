"""Optuna's cache of a study's trials, which can leave alone what has not changed its state."""

import copy
from collections.abc import Container, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from optuna.distributions import BaseDistribution, check_distribution_compatibility
from optuna.storages._cached_storage import _CachedStorage, _StudyInfo
from optuna.trial import FrozenTrial, TrialState, create_trial

OUTSIDE = "outside"  # an attribute: of a study, the trials outside of its edited space; of these, true


@dataclass
class _Point:
    """What a sampler has drawn, and not written yet, for a trial; and what it sees."""

    trial: FrozenTrial = field(default_factory=lambda: create_trial(state=TrialState.FAIL))  # none
    seen: list[FrozenTrial] = field(default_factory=list)
    params: dict[str, tuple[float, BaseDistribution]] = field(default_factory=dict)
    systems: dict[str, Any] = field(default_factory=dict)


class TrialCache(_CachedStorage):
    """Keeps finished trials, as Optuna's cache does, and skims over those that run.

    A running trial changes with every heartbeat, so with many workers most of what a full reading finds is of
    no use to who looks for finished trials, or for one to take.
    """

    def __init__(self, backend: Any, settled_by: str) -> None:
        """settled_by: the attribute that is written last when a trial begins; its point is complete then."""
        super().__init__(backend)
        self._backend: Any = backend
        self._settled_by = settled_by
        self._point = _Point()
        self._outside: dict[int, frozenset[int]] = {}  # by study: trials that its space, edited, lacks

    def forget(self) -> None:
        """Is called when a transaction was undone that may have been read: nothing of it is true."""
        with self._lock:
            self._studies.clear()
            self._outside.clear()
            self._trial_id_to_study_id_and_number.clear()
            self._study_id_and_number_to_trial_id.clear()

    def skim(self, study_id: int) -> list[FrozenTrial]:
        """Returns all trials: a running one as it began, the others as they are."""
        self._read(study_id, skims=True)
        with self._lock:
            return sorted(self._studies[study_id].trials.values(), key=lambda trial: trial.number)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        if self._point.seen:
            trials = [trial for trial in self._point.seen if states is None or trial.state in states]
            return copy.deepcopy(trials) if deepcopy else trials
        if states is None or TrialState.RUNNING in states:
            return super().get_all_trials(study_id, deepcopy, states)
        trials = [trial for trial in self.skim(study_id) if trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def get_trial(self, trial_id: int) -> FrozenTrial:
        return self._point.trial if self._is_drawn(trial_id) else super().get_trial(trial_id)

    def get_trial_system_attrs(self, trial_id: int) -> dict[str, Any]:
        if self._is_drawn(trial_id):
            return self._point.trial.system_attrs
        return super().get_trial_system_attrs(trial_id)

    def set_trial_user_attrs(
        self, trial_id: int, attrs: Mapping[str, Any], steps: Mapping[int, float] = {}
    ) -> None:
        """Writes all of the attributes and intermediate values, or none."""
        self._backend.write(trial_id, attrs, steps=steps)

    def get_study_user_attrs(self, study_id: int) -> dict[str, Any]:
        """Reads the attributes. If the space was edited since the last time, all trials are read again."""
        attrs: dict[str, Any] = super().get_study_user_attrs(study_id)
        outside = frozenset(attrs.get(OUTSIDE) or [])
        if self._outside.get(study_id, outside) != outside:
            self.forget()
        return attrs

    def set_study_user_attrs(self, study_id: int, attrs: Mapping[str, Any]) -> None:
        """Writes all of the attributes, or none."""
        if OUTSIDE in attrs:
            self.forget()
        self._backend.write_study(study_id, attrs)

    @contextmanager
    def drawing(self, trial: FrozenTrial, seen: list[FrozenTrial]) -> Iterator[dict[str, Any]]:
        """Writes what a sampler draws in the body when it ends, with the attributes that it yields.

        So a point is in the storage whole or not at all. seen: all trials, as the sampler sees them.
        """
        attrs: dict[str, Any] = {}
        self._point = _Point(trial, seen)
        try:
            yield attrs
            self._backend.write(trial._trial_id, attrs, self._point.params, self._point.systems)
        finally:
            self._point = _Point()

    def _is_drawn(self, trial_id: int) -> bool:
        return self._point.trial._trial_id == trial_id

    def set_trial_system_attr(self, trial_id: int, key: str, value: Any) -> None:
        if not self._is_drawn(trial_id):
            return super().set_trial_system_attr(trial_id, key, value)
        self._point.systems[key] = self._point.trial.system_attrs[key] = value

    def set_trial_param(
        self, trial_id: int, param_name: str, param_value_internal: float, distribution: BaseDistribution
    ) -> None:
        if not self._is_drawn(trial_id):
            return super().set_trial_param(trial_id, param_name, param_value_internal, distribution)
        known = (one.distributions[param_name] for one in self._point.seen if param_name in one.distributions)
        check_distribution_compatibility(next(known, distribution), distribution)
        self._point.params[param_name] = param_value_internal, distribution

    def as_known(self, study_id: int, trial_id: int) -> FrozenTrial:
        """Returns a copy of a trial as it was read, or created, last."""
        with self._lock:
            _, number = self._trial_id_to_study_id_and_number[trial_id]
            return copy.deepcopy(self._studies[study_id].trials[number])

    def _read_trials_from_remote_storage(self, study_id: int) -> None:
        self._read(study_id, skims=False)

    def _read(self, study_id: int, skims: bool) -> None:
        with self._lock:
            info = self._studies.setdefault(study_id, _StudyInfo())
            known = self._settled(info) if skims else {}
            unfinished, after = info.unfinished_trial_ids, info.last_finished_trial_id
            trials = self._backend.read_trials(study_id, unfinished, after, known)
            self._mark(study_id, trials)
            self._add_trials_to_cache(study_id, trials)
            for trial in trials:
                if trial.state.is_finished():
                    unfinished.discard(trial._trial_id)
                    info.last_finished_trial_id = max(info.last_finished_trial_id, trial._trial_id)
                else:
                    unfinished.add(trial._trial_id)

    def _mark(self, study_id: int, trials: list[FrozenTrial]) -> None:
        """Marks the trials that lie outside of the study's edited space."""
        if study_id not in self._outside:
            attrs = self._backend.get_study_user_attrs(study_id)
            self._outside[study_id] = frozenset(attrs.get(OUTSIDE) or [])
        for trial in trials:
            if trial.number in self._outside[study_id]:
                trial.user_attrs[OUTSIDE] = True

    def _settled(self, info: Any) -> dict[int, TrialState]:
        """Returns the states of the unfinished trials that need no second reading as long as they stay so."""
        numbers = (
            self._trial_id_to_study_id_and_number[trial_id][1] for trial_id in info.unfinished_trial_ids
        )
        trials = (info.trials[number] for number in numbers)
        return {
            trial._trial_id: trial.state
            for trial in trials
            if trial.state is TrialState.WAITING or self._settled_by in trial.user_attrs
        }
