"""Describes a study in numbers: the content of `finesweep status --json` and `finesweep best --json`."""

import shlex
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from optuna.study import Study, StudyDirection
from optuna.trial import FrozenTrial, TrialState

from finesweep.config.study import ConfirmConfig
from finesweep.errors import StudyError
from finesweep.io.terminal import argument
from finesweep.monitor import hosts
from finesweep.monitor.snapshot import search_ended_by
from finesweep.monitor.states import CONTINUED, GIVEN_UP, PAUSED, state_names
from finesweep.monitor.stores import storage_of, tracking_of
from finesweep.monitor.wording import STORAGE, TRACKING
from finesweep.study import clock
from finesweep.study.best_of_n import expected_best
from finesweep.study.budget import busy_seconds, train_steps
from finesweep.study.certainty import Certainty
from finesweep.study.confirm import confirmed_candidates, is_within_noise, seed_noise, winner
from finesweep.study.ensemble import Ensembled
from finesweep.study.pausing import waiting
from finesweep.study.places import places_of
from finesweep.study.ranking import best_first, pareto_front, scored_once
from finesweep.study.records import Command, Conclusion, StudyRecord, TrialRecord
from finesweep.study.selection import count_finished, current, failures, is_taken_off, searching
from finesweep.study.space import params_of
from finesweep.study.steering import steered

SOME = 4  # trials from which on the best of fewer is worth a line
STATES = (TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL, TrialState.RUNNING, TrialState.WAITING)


@dataclass
class Confirmed:
    """A candidate trained with new seeds; the value that it was chosen for does not count."""

    trial: int
    mean: float
    std: float | None  # of the sample; null for a single seed
    n: int


@dataclass
class Best:
    """The content of `finesweep best --json`; fields may be added, but none removed or renamed."""

    study: str
    metric: str
    direction: str
    value: float
    trial: int
    run_id: str
    params: dict[str, Any]
    command: str  # re-runs it without the sweep
    submission: str | None  # the first of `submissions`
    submissions: list[str] = field(default_factory=list)
    checkpoint: str | None = None
    score: str | None = None  # the metric as a person reads it: f1 of 'fraud'
    final_metrics: dict[str, float] = field(default_factory=dict)
    confirmed: list[Confirmed] = field(default_factory=list)  # best mean first; empty without `confirm`
    within_noise: bool | None = None  # whether the lead over the second of `confirmed` may be chance
    seed_noise: float | None = None  # standard deviation over new seeds, of all `confirmed` together
    row_noise: float | None = None  # standard error of `value` over evaluation rows
    rows: int | None = None  # how many these are
    certainty: Certainty | None = None  # intervals and comparisons, from the finish step on
    ensemble: Ensembled | None = None  # the kept checkpoints together, with `study.ensemble`
    chosen_of: int = 1  # how many points the evaluation rows scored
    best_of_n: dict[int, float] = field(default_factory=dict)  # trials -> expected best value
    partly_trained: int = 0  # how many of its values are those of trials that did not reach their end
    pareto: list[dict[str, Any]] = field(
        default_factory=list
    )  # with several objectives, by the first of them
    storage: str = STORAGE  # its Optuna database
    tracking_uri: str = TRACKING  # the MLflow store of its runs


@dataclass
class Status:
    """The content of `finesweep status --json`; fields may be added, but none removed or renamed."""

    study: str
    n_trials: int
    finished: int  # of the search; trials that confirm a winner come on top
    states: dict[str, int]  # all trials
    best: dict[str, Any] | None
    metric: str = ""
    failures: list[str] = field(default_factory=list)
    ended_by: str | None = None  # the budget that is used up
    seconds: float = 0.0  # in which trials ran
    train_steps: int = 0
    paused: int = 0  # trials that wait with a checkpoint, and are not finished; PRUNED in `states`
    continued: int = 0  # paused trials that another went on from; PRUNED in `states`
    given_up: int = 0  # paused trials that never went on; PRUNED in `states`
    taken_off: int = 0  # trials that a person took off the queue
    reused: int = 0  # trials whose point was known
    confirming: int = 0  # finished trials that confirm another one
    importances: dict[str, float] = field(default_factory=dict)  # of the finish step; shares that sum to 1
    commands: list[dict[str, Any]] = field(default_factory=list)  # what the study was worked on with
    steered: list[dict[str, Any]] = field(default_factory=list)  # what people asked of it, by time
    outside: int = 0  # finished trials outside of its edited space, which count for nothing
    halted: bool = False  # whether a person stopped all work, and no command has begun since
    workers: list[dict[str, Any]] = field(default_factory=list)  # that run a trial: `monitor.hosts.Worker`
    stranded: list[int] = field(default_factory=list)  # trials whose worker is lost, while none is at work
    storage: str = STORAGE  # its Optuna database
    tracking_uri: str = TRACKING  # the MLflow store of its runs

    @property
    def outcomes(self) -> dict[str, int]:
        """How many trials are in each state, in a person's words; without those that no trial is in."""
        pausing = {PAUSED: self.paused, CONTINUED: self.continued, GIVEN_UP: self.given_up}
        # Tries that were handed on to another trial are FAIL in Optuna, but nothing failed.
        handed_on = self.states["FAIL"] - len(self.failures) - self.taken_off
        failed = {"FAIL": len(self.failures), "handed on": handed_on, "taken off": self.taken_off}
        pruned = {"PRUNED": self.states["PRUNED"] - sum(pausing.values())}
        counts = self.states | pruned | failed | pausing
        return {name: count for name, count in counts.items() if count}


def describe(study: Study) -> Status:
    """Describes the state of a study. Raises: StudyError for a study that finesweep did not make."""
    record = StudyRecord(study)
    n_trials = record.n_trials
    trials = study.get_trials(deepcopy=False)
    search = searching(trials)
    states = {state.name: sum(trial.state is state for trial in trials) for state in STATES}
    words = Counter(state_names(trials, record.given_up or ()).values())
    known = hosts.workers(trials, clock.now(study))
    return Status(
        study=study.study_name,
        n_trials=n_trials,
        finished=count_finished(search) - len(waiting(search, record.given_up or ())),
        states=states,
        best=asdict(best(study)) if best_first(study) else None,
        metric=record.metric,
        failures=[f"trial {t.number}: {TrialRecord(t).error}" for t in failures(trials)],
        ended_by=search_ended_by(study, trials),
        seconds=round(busy_seconds(trials), 1),
        train_steps=train_steps(trials),
        paused=words[PAUSED],
        continued=words[CONTINUED],
        given_up=words[GIVEN_UP],
        taken_off=sum(map(is_taken_off, trials)),
        reused=sum(TrialRecord(trial).reused_of is not None for trial in trials),
        confirming=count_finished(current(trials)) - count_finished(search),
        importances=record.conclusion.importances if record.conclusion else {},
        commands=record.history or [],
        steered=[asked.dump() for asked in steered(study)],
        outside=count_finished(trials) - count_finished(current(trials)),
        halted=record.is_halted,
        workers=[asdict(worker) for worker in known],
        stranded=[worker.trial for worker in hosts.stranded(known)],
        storage=storage_of(study),
        tracking_uri=tracking_of(study),
    )


def best(study: Study) -> Best:
    """Describes the best trial. Raises: StudyError if no trial is complete yet."""
    record = StudyRecord(study)
    config = record.confirm or ConfirmConfig()
    first = _winner(study, config)
    # The submission belongs to the finish step's winner; a later, better trial has none yet.
    concluded = record.conclusion if record.conclusion and record.conclusion.best == first.number else None
    places, checkpoint = places_of(study), TrialRecord(first).checkpoint
    submissions = [str(places.find(path)) for path in concluded.submissions] if concluded else []
    confirmed = confirmed_candidates(study, config)
    noise = TrialRecord(first).noise
    return Best(
        study=study.study_name,
        metric=record.metric,
        direction=study.directions[0].name.lower(),
        value=first.values[0],
        trial=first.number,
        run_id=str(TrialRecord(first).run_id),
        params=params_of(first),
        command=command(first, record.last_command),
        submission=next(iter(submissions), None),
        submissions=submissions,
        checkpoint=str(places.find(checkpoint)) if checkpoint else None,
        score=record.score,
        final_metrics=concluded.metrics if concluded else {},
        confirmed=[Confirmed(s.trial.number, s.mean, s.std, len(s.values)) for s in confirmed],
        within_noise=is_within_noise(*confirmed[:2]) if len(confirmed) > 1 else None,
        seed_noise=seed_noise(confirmed),
        row_noise=noise.std if noise else None,
        rows=noise.rows if noise else None,
        certainty=_certainty(concluded, study) if concluded else None,
        ensemble=concluded.ensemble if concluded else None,
        chosen_of=len(scored_once(study)),
        best_of_n=_best_of_n(study),
        partly_trained=sum(trial.state is not TrialState.COMPLETE for trial in scored_once(study)),
        pareto=pareto(study) if len(study.directions) > 1 else [],
        storage=storage_of(study),
        tracking_uri=tracking_of(study),
    )


def _certainty(concluded: Conclusion, study: Study) -> Certainty | None:
    """Returns what the finish step noted; of a study that has gone on since, without its comparisons."""
    trials, found = study.get_trials(deepcopy=False), concluded.certainty
    if found is None or concluded.counts(count_finished(trials), StudyRecord(study).outside):
        return found
    news = "how it compares with the others: trials were added since the finish step, which compares anew"
    return replace(found, comparisons=[], missing=[*found.missing, news])


def _winner(study: Study, config: ConfirmConfig) -> FrozenTrial:
    """Finds the best trial. Raises: StudyError."""
    first = winner(study, config)
    if first is None:
        raise StudyError(
            f"study {study.study_name!r}: no trial is complete yet; "
            f"see: finesweep status {argument(study.study_name)}"
        )
    return first


def _best_of_n(study: Study) -> dict[int, float]:
    """Returns the expected best of a quarter, a half and all of the points; nothing for fewer than four."""
    trained = scored_once(study)
    count, maximize = len(trained), study.directions[0] is StudyDirection.MAXIMIZE
    if count < SOME:
        return {}
    n = [count // 4, count // 2, count]
    expected = expected_best([trial.values[0] for trial in trained], maximize, n)
    return dict(zip(n, map(float, expected), strict=True))


def pareto(study: Study) -> list[dict[str, Any]]:
    names = list(StudyRecord(study).objectives or {})
    return [
        {
            "trial": trial.number,
            "run_id": TrialRecord(trial).run_id,
            "values": dict(zip(names, trial.values, strict=True)),
            "params": params_of(trial),
        }
        for trial in pareto_front(study)
    ]


def command(trial: FrozenTrial, last: Command | None) -> str:
    """Writes the command that runs this trial again, alone; `last`: the last one that worked on its study."""
    return " ".join([(last or Command()).program, *map(shlex.quote, TrialRecord(trial).overrides or [])])
