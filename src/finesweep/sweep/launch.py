"""Before and after the workers: check the ground, make the stores once, say how it went."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import psutil
import torch
from optuna.distributions import distribution_to_json
from optuna.study import Study
from optuna.trial import TrialState

from finesweep import device, tracking
from finesweep.config import RunConfig, to_dict
from finesweep.data import fingerprint
from finesweep.errors import ConfigError, StudyError, SweepFailed
from finesweep.preflight import check_folders, check_model, read_rows
from finesweep.sweep import study as studies
from finesweep.sweep.config import Sampler, SweepConfig, check_sweep
from finesweep.sweep.lock import study_lock
from finesweep.sweep.recovery import recover
from finesweep.sweep.samplers import make_sampler
from finesweep.sweep.space import Space, check_point, grid
from finesweep.sweep.study import Ledger
from finesweep.tracking import TrackedRun, open_store, open_study_run

# What the trials of a study share, but for what is searched; and of that, what says where and not what.
COMPARABLE = ("data", "model", "optimizer", "trainer")
PLACES = ("data.path", "trainer.threads", "trainer.device")
# Weights, gradients, AdamW's moments and activations of a base-sized BERT; small ones need less.
GB_PER_WORKER = 3


@dataclass
class Sweep:
    """What was asked for."""

    run: RunConfig  # the same for all trials, but for the space
    config: SweepConfig
    space: Space
    overrides: list[str]
    folder: str

    @property
    def name(self) -> str:
        return str(self.config.study.name)


@dataclass
class Prepared:
    """What the workers meet."""

    overrides: list[str]
    workers: int
    gpus: int
    study: Study
    parent: TrackedRun
    ledger: Ledger
    sweep: Sweep

    @property
    def parent_run_id(self) -> str:
        return self.parent.run_id

    @contextmanager
    def closing(self) -> Iterator[None]:
        """However the workers end, no trial is left open, nor the parent run if nobody else is at work."""
        status = "FAILED"
        reason: str | None = "its worker is gone"
        try:
            self.recover(reason)
            yield
            status = "FINISHED" if self.is_over else "FAILED"
        except KeyboardInterrupt:
            status, reason = "KILLED", None  # on purpose: it costs no retry
            raise
        finally:
            self.recover(reason)
            if not any(trial.state is TrialState.RUNNING for trial in self.ledger.trials()):
                self.parent.close(status)

    def recover(self, reason: str | None = "its worker is gone") -> int:
        return recover(self.ledger, self.sweep.run.tracking, reason)

    @property
    def is_over(self) -> bool:
        return studies.is_over(self.ledger.trials(), self.sweep.config.study)

    @property
    def nothing_to_do(self) -> bool:
        trials = self.ledger.trials()
        return self.is_over and studies.is_concluded(self.study, trials, self.sweep.run.predict)


def prepare(sweep: Sweep, parallel: bool) -> Prepared:
    """Refuses what cannot work before anything is written; then makes study and parent run, or finds them.

    Raises: ConfigError, DataError, ModelError, OutputError, StudyError.
    """
    check_sweep(sweep.config)
    study_config = sweep.config.study
    for point in sweep.config.enqueue:
        check_point(point, sweep.space)
    points = [*sweep.config.enqueue, *(grid(sweep.space) if study_config.sampler is Sampler.grid else [])]
    if study_config.sampler is Sampler.grid:
        study_config.n_trials = min(study_config.n_trials, len(points))
    make_sampler(study_config, 0)
    identity = _identity(sweep)
    workers, gpus = _count_workers(sweep, parallel)
    device.check(sweep.run.trainer)
    overrides = [*sweep.overrides, *_threads(sweep, workers, gpus)]
    studies.open_storage(study_config.storage)
    open_store(sweep.run.tracking)
    with study_lock(study_config.storage, sweep.name):  # two commands at once make one study, with one parent
        _guard(sweep, identity)
        check_folders(sweep.run.tracking, Path(sweep.folder))
        study = studies.create(study_config, sweep.run.data.direction, points, _attributes(sweep, identity))
        parent = open_study_run(sweep.run.tracking, sweep.run.data.name, sweep.name, _parent_params(sweep))
    tracking.kill_abandoned_runs(sweep.run.tracking)
    return Prepared(overrides, workers, gpus, study, parent, Ledger(study_config, sweep.space), sweep)


def _attributes(sweep: Sweep, identity: dict[str, Any]) -> dict[str, Any]:
    """What readers of the study need; no overrides, for a storage's address may hold a password."""
    return {
        "identity": identity,
        "n_trials": sweep.config.study.n_trials,
        "metric": sweep.run.data.metric,
        "glue_task": sweep.run.data.glue_task,
    }


def _identity(sweep: Sweep) -> dict[str, Any]:
    """What makes results comparable: a study is resumed only with the same. Reads and checks the data."""
    run = sweep.run
    splits = read_rows(run)
    check_model(run.model)
    plain = to_dict(run)
    searched = sweep.space.keys()
    groups = [group for group in COMPARABLE if group not in searched]
    leaves = {f"{group}.{key}": value for group in groups for key, value in plain[group].items()}
    return {
        "space": {key: json.loads(distribution_to_json(dimension)) for key, dimension in sweep.space.items()},
        "seed": plain["seed"],
        **{key: value for key, value in leaves.items() if key not in searched and key not in PLACES},
        "data.train content": fingerprint(splits.train),
        "data.eval content": fingerprint(splits.eval),
    }


def _guard(sweep: Sweep, identity: dict[str, Any]) -> None:
    """Raises: StudyError with the difference, if the study exists and is another one."""
    try:
        study = studies.load(sweep.name, sweep.config.study.storage)
    except StudyError:
        return
    earlier = study.user_attrs.get("identity")
    if earlier is None or json.loads(json.dumps(identity)) == earlier:
        return
    changed = [
        key
        for key in {**earlier, **identity}
        if earlier.get(key) != json.loads(json.dumps(identity.get(key)))
    ]
    lines = [f"  {key}: was {earlier.get(key)!r}, is {identity.get(key)!r}" for key in changed]
    raise StudyError(
        f"study {sweep.name!r} was started with something else; trials of the two cannot be compared:\n"
        + "\n".join(lines)
        + "\nstart another study with hydra.sweeper.study.name=NAME, or give it what it had"
    )


def _parent_params(sweep: Sweep) -> dict[str, Any]:
    study = sweep.config.study
    return {
        "study": sweep.name, "model.name": sweep.run.model.name, "data": sweep.run.data.name,
        "sampler": study.sampler.value, "study.seed": study.seed, "metric": sweep.run.data.metric,
        **{f"space.{key}": str(dimension) for key, dimension in sweep.space.items()},
    }  # fmt: skip


def _count_workers(sweep: Sweep, parallel: bool) -> tuple[int, int]:
    """How many workers, and how many GPUs they share.

    `auto` is one for each GPU; without one, one for each core as far as the memory goes: two one-thread
    workers do more than one with two threads.
    Raises: ConfigError for several workers under the basic launcher.
    """
    gpus = 0 if sweep.run.trainer.device == "cpu" else torch.cuda.device_count()
    if gpus > 1 and ":" in sweep.run.trainer.device:
        raise ConfigError.at(
            "trainer.device", sweep.run.trainer.device, "auto, cpu, cuda: workers share the GPUs"
        )
    asked = sweep.config.workers
    if asked == "auto":
        room = max(1, int(psutil.virtual_memory().available / 2**30 / GB_PER_WORKER))
        most = gpus or min(joblib.cpu_count(), room)
        return (min(most, sweep.config.study.n_trials) if parallel else 1), gpus
    if asked > 1 and not parallel:
        raise ConfigError.at(
            "hydra.sweeper.workers", asked, "1 with hydra/launcher=basic; hydra/launcher=joblib runs more"
        )
    return int(asked), gpus


def _threads(sweep: Sweep, workers: int, gpus: int) -> list[str]:
    """On a CPU each worker gets its share of the cores; as an override, it is part of every trial."""
    if gpus or sweep.run.trainer.threads is not None:
        return []
    return [f"trainer.threads={max(1, joblib.cpu_count() // workers)}"]


def conclude(sweep: Sweep, prepared: Prepared) -> None:
    """Prints the summary. Raises: SweepFailed if the sweep ended before its budget was met."""
    from finesweep.sweep.report import describe, print_summary

    print_summary(describe(prepared.study))
    trials = prepared.ledger.trials()
    if prepared.is_over or any(trial.state is TrialState.RUNNING for trial in trials):
        return
    failed = studies.failures(trials)
    causes = "\n".join(f"  trial {trial.number}: {trial.user_attrs[studies.ERROR]}" for trial in failed)
    raise SweepFailed(
        f"{len(failed)} trials failed, and hydra.sweeper.study.max_failures is "
        f"{sweep.config.study.max_failures}; raise it to go on. The causes:\n{causes}"
    )
