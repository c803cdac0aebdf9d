"""Typed views of the attributes that finesweep writes into Optuna's storage; no other file knows their keys.

The keys are those of version 0.1, whose studies stay readable. An attribute is None until it is written.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import optuna
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from finesweep.config.study import ConfirmConfig, StopWhen
from finesweep.hooks import Noise, RunState
from finesweep.study import stored_space
from finesweep.study.attributes import Attribute, Record, Required, Stored, known_fields
from finesweep.study.cache import OUTSIDE, TrialCache
from finesweep.study.certainty import Certainty
from finesweep.study.ensemble import Ensembled
from finesweep.study.space import Space


@dataclass
class Outcome:
    """How a run ended: the state that its MLflow run carries as a tag, and the values that Optuna is told."""

    state: RunState
    values: list[float] = field(default_factory=list)
    checkpoint: str | None = None
    error: str | None = None
    retry_overrides: list[str] | None = None  # set: the trial is tried again, with these overrides on top
    death: str | None = None  # of one of its processes, which interrupted it and costs a retry

    @classmethod
    def load(cls, stored: dict[str, Any]) -> "Outcome":
        return cls(
            RunState(stored["state"]),
            stored["values"],
            stored["checkpoint"],
            stored["error"],
            retry_overrides=stored["extra"],
            death=stored.get("death"),
        )

    def dump(self) -> dict[str, Any]:
        stored = asdict(self)
        if self.death is None:  # as in studies from before it
            del stored["death"]
        return stored | {"state": str(self.state), "extra": stored.pop("retry_overrides")}


@dataclass
class Progress(Stored):
    """How far a trial has come, as its worker wrote it with the last heartbeat."""

    epoch: float | None = None
    step: int | None = None  # optimizer steps, those of earlier tries included
    max_steps: int | None = None
    trained_steps: int = 0  # optimizer steps of this try alone, which budgets count
    examples_per_s: float | None = None
    value: float | None = None  # of the last evaluation

    def dump(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value is not None}


@dataclass
class Conclusion:
    """The result of a study's finish step."""

    # Finished trials that it counted, how many winners were to be confirmed, those outside of an edit.
    trials: list[int]
    best: int  # number of the winning trial
    predict: bool = False  # whether the winner predicted the test split
    submissions: list[str] = field(default_factory=list)  # paths, as `study.places` writes them
    metrics: dict[str, float] = field(default_factory=dict)  # final scores of the winner
    importances: dict[str, float] = field(default_factory=dict)  # by parameter; shares that sum to 1
    certainty: Certainty | None = None  # None in studies from before it
    ensemble: Ensembled | None = None  # None without `study.ensemble`

    @classmethod
    def load(cls, stored: dict[str, Any]) -> "Conclusion":
        known = known_fields(cls, stored)
        if known.get("certainty") is not None:
            known["certainty"] = Certainty.load(known["certainty"])
        if known.get("ensemble") is not None:
            known["ensemble"] = Ensembled.load(known["ensemble"])
        return cls(**known)

    def dump(self) -> dict[str, Any]:
        """Leaves out what is not known, as studies from before it do."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    def counts(self, finished: int, outside: list[int] | None) -> bool:
        """Tells whether these are its trials: their number, and those outside of the study's space."""
        return self.trials[0] == finished and self.trials[2:] == (outside or [])


@dataclass
class Command(Stored):
    """One command that worked on the study; its history keeps more of it, for people."""

    time: str = "1970-01-01T00:00:00"  # ISO format, with the time zone (local in version 0.1)
    program: str = "python train.py"  # how a person started it, without its arguments
    tracking_uri: str | None = None  # its MLflow store, without a password; None from before it was noted
    sampler: str = "tpe"
    n_trials: int | None = None  # and the other budgets: as this command had them
    pruner: str = "none"
    pruner_options: dict[str, Any] = field(default_factory=dict)
    timeout_s: float | None = None
    max_train_steps: int | None = None
    stop_when: str = StopWhen.none.value


@dataclass
class Request(Stored):
    """How the last command asked for the sweep: a worker on any host composes the same of it.

    Passwords are names of environment variables. The storage is left out: who reads this has its address.
    """

    arguments: list[str]  # Hydra's
    config_name: str
    conf: str | None  # the main folder of configs; None: that of the package
    config_dir: str | None  # one more
    project: str  # the folder that the command was started in
    parent_run_id: str = ""
    began: float = 0.0  # when the command was noted in the study, by the study's clock


@dataclass(frozen=True)
class Limits(Stored):
    """The budgets of a search besides `n_trials`."""

    timeout_s: float | None = None
    max_train_steps: int | None = None


@dataclass(frozen=True)
class Steered(Stored):
    """What a person asked of a study by a command of its own, and who asked, where and when."""

    what: str  # such as: extend n_trials=60
    user: str
    host: str
    time: str  # ISO format, with the time zone


class TrialRecord(Record):
    """The attributes of a trial. A frozen trial can only be read: it is a copy."""

    owner = Attribute[str]("owner")  # the process that runs it: a `machine.process.ProcessIdentity`
    # When its owner began it, by the study's clock; written with its point, of which nothing is missing then.
    started = Attribute[float]("started")
    heartbeat = Attribute[float]("beat")  # when its owner was last alive, by the study's clock
    recoverer = Attribute[str | None]("recoverer")  # the process that ends it in place of its dead owner
    recovered_since = Attribute[float]("recovered_since")  # by the study's clock
    ordinal = Attribute[int]("ordinal")  # which suggestion of the study it is, from 0; retries keep it
    retry_of = Attribute[int]("retry_of")  # number of the trial that it tries again
    error = Attribute[str]("error")  # why it failed for good
    run_id = Attribute[str]("run_id")  # of its MLflow run
    checkpoint = Attribute[str]("checkpoint")  # its weights; paths are read and written by `study.places`
    folder = Attribute[str]("folder")  # path of its outputs
    overrides = Attribute[list[str]]("overrides")  # that run it alone; passwords are replaced
    progress = Attribute[Progress]("live", Progress.load, Progress.dump)
    # What pruning compares: share of the training, and the value measured there; None in older studies.
    curve = Attribute[list[tuple[float, float]]]("curve", lambda stored: [tuple(point) for point in stored])
    went_on_at = Attribute[float]("went_on_at")  # the share of its training when a rung last let it go on
    noise = Attribute[Noise]("noise", lambda stored: Noise(*stored), list)  # of its value over evaluated rows
    stopped = Attribute[Steered]("stopped", Steered.load, Steered.dump)  # by a person: it shall end now
    origin = Attribute[str]("origin")  # the trial of an earlier study that found its point: STUDY#7
    outside = Attribute[bool](OUTSIDE)  # of the space as it was edited; `cache` adds it to what it reads
    again = Attribute[int]("again")  # number of a trial without weights whose point an edit has trained again
    tried = Attribute[Steered]("tried", Steered.load, Steered.dump)  # a person queued its point
    told_to_stop = Attribute[bool]("told")  # its worker was told to stop, so a kill that follows is no death
    worker_deaths = Attribute[int]("deaths")  # of its workers and those of the tries before it
    outcome = Attribute[Outcome]("outcome", Outcome.load, Outcome.dump)  # written before anybody is told
    retry_overrides = Attribute[list[str]]("extra")  # on top of its point: the smaller batch after an OOM
    reused_of = Attribute[int]("reused_of")  # number of the trial that evaluated the same point before
    continues = Attribute[int]("continues")  # number of the paused trial that it goes on from
    confirms = Attribute[int]("confirms")  # number of the trial whose point it trains with another seed
    seed = Attribute[int]("seed")  # that other seed

    def __init__(self, trial: FrozenTrial | optuna.Trial, study: Study | None = None) -> None:
        """study: of a frozen trial that is to be written; what is read of it stays as it was."""
        self.name, self._trial = f"trial {trial.number}", trial
        self._study = trial.study if isinstance(trial, optuna.Trial) else study

    @property
    def is_paused(self) -> bool:
        """Whether it ended at a rung, with a checkpoint; another trial may have gone on from it since.

        One that is signed off, but RUNNING still, is not yet. One that a person stopped is none: it has ended
        for good.
        """
        has_ended = isinstance(self._trial, FrozenTrial) and self._trial.state is TrialState.PRUNED
        # Read for all trials at once, so the outcome is not parsed.
        pauses = has_ended and (self.read("outcome") or {}).get("state") == RunState.PAUSED
        return pauses and self.read("stopped") is None

    @property
    def goes_on_from(self) -> int | None:
        """The number of the trial whose checkpoints it adopts: an interrupted try, or a paused one."""
        return self.continues if self.retry_of is None else self.retry_of

    @classmethod
    def writable(cls, study: Study, trial: FrozenTrial) -> "TrialRecord":
        """Returns the record of a frozen trial in a form that can be written."""
        return cls(trial, study)

    @classmethod
    def attributes(cls, **values: Any) -> dict[str, Any]:
        """Builds the attributes of a trial that is still to be made; leaves out those that are None."""
        return super().attributes(**{name: value for name, value in values.items() if value is not None})

    @property
    def has_begun(self) -> bool:
        """Whether a trial that waits was trained before, as a trial that it tries or trains again."""
        return self.retry_of is not None or self.again is not None

    def read(self, key: str) -> Any:
        return self._trial.user_attrs.get(key)

    def write(self, attrs: dict[str, Any], steps: dict[int, float] | None = None) -> None:
        """Writes attributes and values that were measured at steps."""
        if self._study is None:
            raise TypeError(f"{self.name}: a frozen trial cannot be written")
        write_trial(self._study, self._trial._trial_id, attrs, steps or {})
        if isinstance(self._trial, optuna.Trial):
            self._trial._cached_frozen_trial.user_attrs.update(attrs)
            self._trial._cached_frozen_trial.intermediate_values.update(steps or {})


def write_trial(study: Study, trial_id: int, attrs: dict[str, Any], steps: Mapping[int, float] = {}) -> None:
    """Writes attributes and intermediate values of a trial: at once, except in memory."""
    storage = study._storage
    if isinstance(storage, TrialCache):
        return storage.set_trial_user_attrs(trial_id, attrs, steps)
    for key, value in attrs.items():
        storage.set_trial_user_attr(trial_id, key, value)
    for step, measured in steps.items():
        storage.set_trial_intermediate_value(trial_id, step, measured)


class StudyRecord(Record):
    """The attributes of a study, as they were when the record was made; what is written goes through."""

    identity = Attribute[dict[str, Any]]("identity")  # what makes trials comparable
    objectives = Attribute[dict[str, str]]("objectives")  # metric -> minimize or maximize
    commanded = Attribute[dict[str, Any]]("commanded")  # the budgets that the last command asked for
    confirm = Attribute[ConfirmConfig](
        "confirm", lambda stored: ConfirmConfig(**stored), lambda config: asdict(config)
    )
    glue_task = Attribute[str]("glue_task")
    score = Attribute[str]("score")  # the metric as a person reads it: f1 of 'fraud'
    conclusion = Attribute[Conclusion]("conclusion", Conclusion.load, Conclusion.dump)
    boots = Attribute[dict[str, float]]("boots")  # of hosts: id -> seconds since 1970; see `study.clock`
    machines = Attribute[dict[str, str]]("machines")  # of the same hosts: id of the boot -> host and machine
    history = Attribute[list[dict[str, Any]]]("history")  # of commands: when, where, budgets, sampler, ...
    request = Attribute[Request]("request", Request.load, Request.dump)  # None in studies from before it
    artifacts = Attribute[list[str]]("artifacts")  # ids of the runs that keep a checkpoint as an artifact
    given_up = Attribute[list[int]]("given_up")  # numbers of the paused trials whose checkpoints are gone
    stopped_commands = Attribute[list[str]]("stop")  # whose workers shall save and end
    hashed_seeds = Attribute[bool]("hashed_seeds")  # of the sampler; None in studies from before it
    spread_start = Attribute[bool]("spread_start")  # of TPE; None in studies from before it
    first_points = Attribute[int]("first_points")  # queued before it; None in studies from before
    started_from = Attribute[list[str]]("started_from")  # earlier studies, whose points were queued
    final_chose = Attribute[list[str]]("final_chose")  # those that chose by the final score's rows
    outside = Attribute[list[int]](OUTSIDE)  # trials outside of the space; None: it was never edited
    space = Attribute[Space]("space", stored_space.load, stored_space.dump)  # None in studies from before it
    halted = Attribute[float]("halted")  # when a person stopped all work on it, by the study's clock
    steered = Attribute[list[Steered]](  # what was asked of the whole study
        "steered", lambda stored: [*map(Steered.load, stored)], lambda asked: [*map(Steered.dump, asked)]
    )
    n_trials = Required[int]("n_trials")  # the budget, as a command or `finesweep extend` set it last
    limits = Attribute[Limits]("limits", Limits.load, Limits.dump)  # None in studies from before it
    metric = Required[str]("metric")  # the first objective

    def __init__(self, study: Study) -> None:
        self.name, self._study, self._attrs = study.study_name, study, study.user_attrs

    def read(self, key: str) -> Any:
        return self._attrs.get(key)

    def write(self, attrs: dict[str, Any]) -> None:
        """Writes attributes: at once, except in memory."""
        storage = self._study._storage
        if isinstance(storage, TrialCache):
            storage.set_study_user_attrs(self._study._study_id, attrs)
        else:
            for key, value in attrs.items():
                self._study.set_user_attr(key, value)
        self._attrs.update(attrs)

    @property
    def is_halted(self) -> bool:
        """Whether a person has stopped all work on the study, and no command has begun since."""
        began = self.request.began if self.request else 0.0
        return self.halted is not None and self.halted > began

    @property
    def last_command(self) -> Command | None:
        return Command.load(self.history[-1]) if self.history else None
