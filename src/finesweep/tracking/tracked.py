"""One MLflow run that is open."""

import math
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from finesweep.errors import ModelError
from finesweep.hooks import RunState
from finesweep.io.patience import is_away, single_attempts
from finesweep.io.reading import Unreadable, read_text
from finesweep.io.redaction import redact
from finesweep.tags import Tag
from finesweep.tracking.deleted import Found, restore
from finesweep.tracking.spool import Spool, spooled_runs
from finesweep.tracking.store import PatientClient, quick_answers

RUNNING = "RUNNING"  # MLflow's status of an open run
# The status of a closed MLflow run, by how the run ended.
STATUSES = {
    RunState.COMPLETE: "FINISHED",
    RunState.PRUNED: "KILLED",
    RunState.INTERRUPTED: "KILLED",
    RunState.FAIL: "FAILED",
}
MAX_PARAM = 6000  # characters; MLflow cuts longer values without a word


class TrackedRun:
    """One MLflow run that is open.

    Writes never wait for the store: while it is locked or away they go into the run's spool, so that a
    training goes on. Reads wait.
    """

    def __init__(self, client: PatientClient, run_id: str) -> None:
        self.client, self.run_id = client, run_id
        self.history: dict[tuple[str, int], float] = {}  # what was logged through this object
        self._spool = Spool(client.spool, run_id)
        self._is_gone = False  # the run, from its store

    def log_metrics(self, metrics: dict[str, float], step: int, epoch: float | None = None) -> None:
        """Logs metrics, without values that are not finite: MLflow would store an infinity as 1.8e308."""
        values = metrics if epoch is None else {**metrics, "epoch": epoch}
        finite = {key: float(value) for key, value in values.items() if math.isfinite(value)}
        self._write("metrics", metrics=finite, step=step, time=_now())
        self.history |= {(key, step): value for key, value in finite.items()}

    def log_params(self, params: dict[str, Any]) -> None:
        self._write("params", params={key: str(value)[:MAX_PARAM] for key, value in params.items()})

    def set_tags(self, tags: dict[str, str]) -> None:
        self._write("tags", tags=tags)

    def log_text(self, text: str, artifact_file: str) -> None:
        self._write("text", text=text, artifact_file=artifact_file)

    def log_file(self, path: Path, artifact_path: str | None = None) -> None:
        self._write("file", path=str(path.resolve()), artifact_path=artifact_path)

    def log_folder(self, folder: Path, artifact_path: str) -> None:
        self._write("folder", path=str(folder.resolve()), artifact_path=artifact_path)

    def download(self, artifact_path: str, folder: Path) -> Path:
        """Raises: ModelError if the run has no such artifact."""
        folder.mkdir(parents=True, exist_ok=True)
        try:
            return Path(self.client.download_artifacts(self.run_id, artifact_path, str(folder)))
        except (MlflowException, OSError) as error:
            raise ModelError(f"run {self.run_id}: no artifact {artifact_path!r}: {error}") from error

    def read_text(self, artifact_path: str) -> str:
        """Raises: ModelError if the run has no such artifact, or it is no text."""
        with TemporaryDirectory() as scratch:
            try:
                return read_text(self.download(artifact_path, Path(scratch)))
            except Unreadable as error:
                raise ModelError(f"run {self.run_id}: artifact {error}") from error

    def delete_artifacts(self, artifact_path: str) -> None:
        """Deletes artifacts where the store can; a store that cannot keeps them."""
        with suppress(NotImplementedError, OSError, MlflowException):
            root = self.client.get_run(self.run_id).info.artifact_uri
            get_artifact_repository(root).delete_artifacts(artifact_path)

    def end(self, state: RunState, error: str | None = None) -> None:
        """Tags the run of a training with its state and its error, and closes it."""
        self.set_tags({Tag.STATE: str(state)} | ({Tag.ERROR: redact(error)[:1000]} if error else {}))
        self.close(state)

    def close(self, state: RunState) -> None:
        self._write("close", status=STATUSES[state], time=_now())

    def deliver(self) -> None:
        """Writes what the spool holds into the store. Raises: what says that the store is still away."""
        if self._spool.is_empty:
            return
        with single_attempts():
            self._spool.deliver(self._send)

    def _write(self, kind: str, **values: Any) -> None:
        """Writes into the store, after what the spool holds; into the spool while the store is away.

        Nothing is written into a store that was deleted: the command ends with an error that says so.
        """
        if self.client.is_gone or self._is_gone:
            return None
        if self.client.may_be_tried:
            try:
                self.deliver()
                with single_attempts():
                    return self._send(kind, values)
            except Exception as error:
                if not is_away(error):
                    raise
                self.client.note_absence()
        self._spool.append(kind, values)

    def _send(self, kind: str, values: dict[str, Any]) -> None:
        """Writes into the store. A run that was deleted is restored; one that is gone stays away."""
        try:
            self._send_once(kind, values)
        except MlflowException as error:
            if is_away(error):
                raise
            found = restore(self.client, self.run_id)
            self._is_gone = found is Found.GONE
            if found in (Found.THERE, Found.UNKNOWN):
                raise
            if found is Found.RESTORED:
                self._send_once(kind, values)

    def _send_once(self, kind: str, values: dict[str, Any]) -> None:
        if kind in UPLOADS:
            return WRITES[kind](self.client, self.run_id, **values)
        with quick_answers():
            return WRITES[kind](self.client, self.run_id, **values)


def deliver_spooled(client: PatientClient) -> None:
    """Delivers the spools of all runs of this store; waits for it. Raises: StoreError."""
    for run_id in spooled_runs(client.spool):
        client.patience.call(TrackedRun(client, run_id).deliver)


def _now() -> int:
    return int(time.time() * 1000)


def _log_metrics(client: PatientClient, run_id: str, metrics: dict[str, float], step: int, time: int) -> None:
    client.log_batch(run_id, metrics=[Metric(key, value, time, step) for key, value in metrics.items()])


def _log_params(client: PatientClient, run_id: str, params: dict[str, str]) -> None:
    client.log_batch(run_id, params=[Param(key, value) for key, value in params.items()])


def _set_tags(client: PatientClient, run_id: str, tags: dict[str, str]) -> None:
    client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])


def _log_text(client: PatientClient, run_id: str, text: str, artifact_file: str) -> None:
    client.log_text(run_id, text, artifact_file)


def _log_file(client: PatientClient, run_id: str, path: str, artifact_path: str | None) -> None:
    client.log_artifact(run_id, path, artifact_path)


def _log_folder(client: PatientClient, run_id: str, path: str, artifact_path: str) -> None:
    client.log_artifacts(run_id, path, artifact_path)


def _close(client: PatientClient, run_id: str, status: str, time: int) -> None:
    client.set_terminated(run_id, status, time)


# How to send each kind of write; the keywords of the function are the fields of an entry in the spool.
WRITES: dict[str, Callable[..., None]] = {
    "metrics": _log_metrics,
    "params": _log_params,
    "tags": _set_tags,
    "text": _log_text,
    "file": _log_file,
    "folder": _log_folder,
    "close": _close,
}
UPLOADS = ("file", "folder")  # which may be large, and take their time
