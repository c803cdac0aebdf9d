"""MLflow: the only importer of mlflow. One run is opened, written to and closed here.

Through `MlflowClient` alone: the fluent API keeps a global "active run", which several threads or studies of
one process would share.
"""

import getpass
import json
import logging
import math
import os
import socket
import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import Any

os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # no word to anybody about a person's runs

import psutil
from filelock import FileLock
from mlflow.entities import Metric, Param, Run, RunTag
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient

from finesweep.config import RunConfig, TrackingConfig, flat, to_yaml
from finesweep.errors import ConfigError, ModelError
from finesweep.files import make_whole
from finesweep.trial import Trial, TrialLost, TrialPruned, current_trial

logging.getLogger("mlflow").setLevel(logging.WARNING)
logging.getLogger("alembic").setLevel(logging.WARNING)

# Params of every run, so that runs can be compared; whatever was overridden comes on top.
COMPARED = ("model.name", "optimizer.name", "optimizer.learning_rate", "trainer.num_train_epochs",
            "trainer.per_device_train_batch_size", "seed")  # fmt: skip
EXPERIMENT_TAGS = {"mlflow.experimentKind": "custom_model_development"}  # the UI's side for training runs
SQLITE = "sqlite:///"
# How a training ended -> the status of its MLflow run.
STATUSES = {"COMPLETE": "FINISHED", "PRUNED": "KILLED", "INTERRUPTED": "KILLED", "FAIL": "FAILED"}
MAX_PARAM = 6000  # characters; MLflow cuts longer values without a word


def open_store(config: TrackingConfig) -> MlflowClient:
    """A client of the tracking store; a SQLite file is created by one process alone, the others wait.

    Raises: ConfigError if the store cannot be opened.
    """
    return _client(_absolute(config.uri))


def _absolute(uri: str) -> str:
    """MLflow keeps one store for each address it has seen: a relative path means another file elsewhere."""
    return f"{SQLITE}{Path(uri.removeprefix(SQLITE)).resolve()}" if uri.startswith(SQLITE) else uri


@lru_cache
def _client(uri: str) -> MlflowClient:
    try:
        if uri.startswith(SQLITE):
            path = Path(uri.removeprefix(SQLITE))
            path.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(f"{path}.lock"):
                if not path.exists():
                    make_whole(path, _create_sqlite)
        client = MlflowClient(uri)
        client.search_experiments(max_results=1)
        return client
    except (MlflowException, OSError, sqlite3.Error) as error:
        raise ConfigError(
            f"tracking.uri: cannot open {uri!r}: {str(error).splitlines()[0]}; legal: sqlite:///FILE in a "
            "writable folder, or the http(s) address of a running MLflow server"
        ) from error


def _create_sqlite(path: Path) -> None:
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore  # heavy, and once for each file

    SqlAlchemyStore(f"{SQLITE}{path}", str(path.parent / "artifacts")).engine.dispose()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=WAL")  # readers do not wait for writers; kept in the file


def experiment_id(config: TrackingConfig, name: str) -> str:
    """The experiment of this name, made if need be; its artifacts lie under `tracking.artifacts`."""
    client = open_store(config)
    if found := client.get_experiment_by_name(name):
        if found.lifecycle_stage == "deleted":  # in the UI; its name stays taken
            client.restore_experiment(found.experiment_id)
        return str(found.experiment_id)
    location = None if config.is_server else (Path(config.artifacts).resolve() / name).as_uri()
    try:
        return str(client.create_experiment(name, location, tags=EXPERIMENT_TAGS))
    except MlflowException:  # another process was faster
        if found := client.get_experiment_by_name(name):
            return str(found.experiment_id)
        raise


class TrackedRun:
    """One MLflow run that is open."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self.client, self.run_id = client, run_id

    def log_metrics(self, metrics: dict[str, float], step: int, epoch: float | None = None) -> None:
        """Values that are no finite numbers are left out: MLflow would store an infinity as 1.8e308."""
        values = metrics if epoch is None else {**metrics, "epoch": epoch}
        now = int(time.time() * 1000)
        batch = [Metric(key, value, now, step) for key, value in values.items() if math.isfinite(value)]
        self.client.log_batch(self.run_id, metrics=batch)

    def log_params(self, params: dict[str, Any]) -> None:
        batch = [Param(key, str(value)[:MAX_PARAM]) for key, value in params.items()]
        self.client.log_batch(self.run_id, params=batch)

    def set_tags(self, tags: dict[str, str]) -> None:
        self.client.log_batch(self.run_id, tags=[RunTag(key, value) for key, value in tags.items()])

    def log_text(self, text: str, artifact_file: str) -> None:
        self.client.log_text(self.run_id, text, artifact_file)

    def log_file(self, path: Path, artifact_path: str | None = None) -> None:
        self.client.log_artifact(self.run_id, str(path), artifact_path)

    def log_folder(self, folder: Path, artifact_path: str) -> None:
        self.client.log_artifacts(self.run_id, str(folder), artifact_path)

    def download(self, artifact_path: str, folder: Path) -> Path:
        """Raises: ModelError if the run has no such artifact."""
        folder.mkdir(parents=True, exist_ok=True)
        try:
            return Path(self.client.download_artifacts(self.run_id, artifact_path, str(folder)))
        except (MlflowException, OSError) as error:
            raise ModelError(f"run {self.run_id}: no artifact {artifact_path!r}: {error}") from error

    def delete_artifacts(self, artifact_path: str) -> None:
        """Where the store can; one that cannot keeps them."""
        root = self.client.get_run(self.run_id).info.artifact_uri
        with suppress(NotImplementedError, OSError, MlflowException):
            get_artifact_repository(root).delete_artifacts(artifact_path)

    def end(self, state: str, error: str | None = None) -> None:
        """Closes the run of a training; `state`: COMPLETE, PRUNED, INTERRUPTED or FAIL."""
        self.set_tags({"finesweep.state": state} | ({"finesweep.error": error[:1000]} if error else {}))
        self.close(STATUSES[state])

    def close(self, status: str) -> None:
        """`status`: FINISHED, FAILED or KILLED."""
        self.client.set_terminated(self.run_id, status)


@contextmanager
def open_run(config: RunConfig, overrides: Sequence[str]) -> Iterator[TrackedRun]:
    """A run of the current trial, or a plain one. Ends FINISHED, KILLED (pruned, interrupted) or FAILED."""
    trial = current_trial.get()
    name = trial.run_name if trial else f"{config.model.name}-{time.strftime('%m%d-%H%M%S')}"
    tags = {"finesweep.kind": "run"} if trial is None else {"finesweep.kind": "trial"} | trial.tags
    kill_abandoned_runs(config.tracking)
    tracked = start_run(config.tracking, config.data.name, name, tags)
    monitor = None
    try:
        if trial:
            trial.started(tracked.run_id)
        monitor = _system_monitor(config, tracked)
        tracked.log_params(_params(config, overrides))
        tracked.log_text(to_yaml(config), "config.yaml")
        tracked.log_text(json.dumps(list(overrides), indent=1), "overrides.json")
        yield tracked
    except TrialLost:
        tracked.end("INTERRUPTED")  # as whoever took the trial over has done, if they saw this run
        raise
    except BaseException as error:
        _end(tracked, trial, _state(error), error)
        raise
    else:
        _end(tracked, trial, "COMPLETE", None)
    finally:
        if monitor:
            monitor.finish()


def _state(error: BaseException) -> str:
    if isinstance(error, TrialPruned):
        return "PRUNED"
    return "INTERRUPTED" if isinstance(error, (KeyboardInterrupt, SystemExit)) else "FAIL"


def _end(tracked: TrackedRun, trial: Trial | None, state: str, error: BaseException | None) -> None:
    """The sweep first: if this process dies right after, it knows how the run is to be closed."""
    if trial:
        state = trial.ending(state, error)
    tracked.end(state, f"{type(error).__name__}: {error}" if state == "FAIL" else None)


def start_run(config: TrackingConfig, experiment: str, name: str, tags: dict[str, str]) -> TrackedRun:
    client = open_store(config)
    process = {
        "mlflow.user": _user(),
        "mlflow.source.name": "train.py",
        "finesweep.host": socket.gethostname(),
        "finesweep.process": process_identity(),
    }
    run = client.create_run(experiment_id(config, experiment), run_name=name, tags=process | tags)
    return TrackedRun(client, run.info.run_id)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def process_identity() -> str:
    """``pid:start`` of this process; the start time tells it from a later one of the same pid."""
    return f"{os.getpid()}:{psutil.Process().create_time():.2f}"


def _params(config: RunConfig, overrides: Sequence[str]) -> dict[str, Any]:
    values = flat(config)
    keys = [*COMPARED, *(text.lstrip("+~").partition("=")[0] for text in overrides)]
    chosen = {key: values[key] for key in keys if key in values}
    return {"data": config.data.name} | chosen


def _system_monitor(config: RunConfig, tracked: TrackedRun) -> Any:
    if not config.tracking.system_metrics:
        return None
    from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

    monitor = SystemMetricsMonitor(tracked.run_id, tracking_uri=_absolute(config.tracking.uri))
    monitor.start()
    return monitor


def record_run(config: TrackingConfig, experiment: str, name: str, tags: dict[str, str]) -> TrackedRun:
    """A trial that did not train: it failed before it could, or its point was known. The caller ends it."""
    return start_run(config, experiment, name, {"finesweep.kind": "trial"} | tags)


def close_trial_runs(config: TrackingConfig, study: str, number: int, state: str) -> None:
    """Closes what a dead worker left open of one trial; also what another run has closed as abandoned."""
    which = f"tags.`finesweep.study` = '{study}' and tags.`finesweep.trial` = '{number}'"
    for run in _search(config, which):
        if run.data.tags.get("finesweep.state") != state or run.info.status == "RUNNING":
            TrackedRun(open_store(config), run.info.run_id).end(state)


def kill_abandoned_runs(config: TrackingConfig) -> None:
    """Closes the runs and trials of this host whose process was killed and could not do it itself."""
    here = f"tags.`finesweep.host` = '{socket.gethostname()}'"
    for run in _search(config, f"{here} and attributes.status = 'RUNNING'"):
        pid, _, start = run.data.tags.get("finesweep.process", "0:0").partition(":")
        if run.data.tags.get("finesweep.kind") != "study" and not _lives(int(pid), float(start)):
            TrackedRun(open_store(config), run.info.run_id).end("INTERRUPTED")


def _search(config: TrackingConfig, which: str) -> list[Run]:
    client = open_store(config)
    experiments = [experiment.experiment_id for experiment in client.search_experiments()]
    return list(client.search_runs(experiments, which))


def _lives(pid: int, start: float) -> bool:
    try:
        return abs(psutil.Process(pid).create_time() - start) < 5.0  # the clock may have been set since
    except psutil.NoSuchProcess:
        return False


def open_study_run(config: TrackingConfig, experiment: str, study: str, params: dict[str, Any]) -> TrackedRun:
    """The study's parent run: found by its tag and set RUNNING again, or made."""
    client = open_store(config)
    text = f"tags.`finesweep.kind` = 'study' and tags.`finesweep.study` = '{study}'"
    found = client.search_runs([experiment_id(config, experiment)], text, max_results=1)
    if found:
        client.update_run(found[0].info.run_id, status="RUNNING")
        return TrackedRun(client, found[0].info.run_id)
    tracked = start_run(config, experiment, study, {"finesweep.kind": "study", "finesweep.study": study})
    tracked.log_params(params)
    return tracked
