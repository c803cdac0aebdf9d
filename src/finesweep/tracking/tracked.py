"""One MLflow run that is open."""

import logging
import math
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import LoggedModel
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.utils.file_utils import local_file_uri_to_path

from finesweep.errors import ModelError, StoreError
from finesweep.hooks import RunNotClosed, RunState
from finesweep.io.patience import describe, single_attempts
from finesweep.io.reading import Unreadable, read_text
from finesweep.io.redaction import redact
from finesweep.tags import Tag
from finesweep.tracking import models
from finesweep.tracking.data_input import DataInput
from finesweep.tracking.deleted import Found, restore
from finesweep.tracking.mlmodel import Pipeline
from finesweep.tracking.spool import Spool, Undeliverable, spooled_runs
from finesweep.tracking.store import PatientClient, is_internal_error, quick_answers
from finesweep.tracking.writes import MAX_TAG, UPLOADS, WRITES

log = logging.getLogger(__name__)
RUNNING = "RUNNING"  # MLflow's status of an open run
# The status of a closed MLflow run, by how the run ended.
STATUSES = {
    RunState.COMPLETE: "FINISHED",
    RunState.PRUNED: "KILLED",
    RunState.PAUSED: "KILLED",
    RunState.INTERRUPTED: "KILLED",
    RunState.FAIL: "FAILED",
}
TRIES = 3  # of a write that the server answers with an error of its own, while it answers others
MAX_PARAM = 6000  # characters; MLflow cuts longer values without a word


class TrackedRun:
    """One MLflow run that is open.

    Writes never wait for the store: while it is locked, away or broken they go into the run's spool, so that
    a training goes on. Reads wait. A run that a person has deleted is restored.
    """

    def __init__(self, client: PatientClient, run_id: str) -> None:
        self.client, self.run_id = client, run_id
        self.history: dict[tuple[str, int], float] = {}  # what was logged through this object
        self._spool = Spool(client.spool, run_id)
        self._is_gone = False  # the run, from its store
        self._internal_errors = 0  # in a row, for the first write in the spool

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

    def log_inputs(self, datasets: Sequence[DataInput]) -> None:
        """Logs the data sets that the run reads; MLflow shows them beside it and can filter by them."""
        self._write("inputs", datasets=[data.stored() for data in datasets])

    def describe(self, text: str) -> None:
        """Sets the run's description, in Markdown, unless a person has edited it.

        `EXPERIMENT` in the text stands for the id of the run's experiment.
        """
        self._write("description", text=text[:MAX_TAG])

    def log_text(self, text: str, artifact_file: str) -> None:
        self._write("text", text=text, artifact_file=artifact_file)

    def log_file(self, path: Path, artifact_path: str | None = None) -> None:
        self._write("file", path=str(path.resolve()), artifact_path=artifact_path)

    def log_model(self, checkpoint: Path, pipeline: Pipeline) -> None:
        """Logs the run's checkpoint as its model, which MLflow can load and serve."""
        self._write("model", path=str(checkpoint.resolve()), pipeline=pipeline.stored())

    def download(self, artifact_path: str, folder: Path) -> Path:
        """Raises: ModelError if the run has no such artifact."""
        folder.mkdir(parents=True, exist_ok=True)
        try:
            return self.client.patience.call(self._download, artifact_path, folder)
        except (MlflowException, OSError) as error:
            raise ModelError(f"run {self.run_id}: no artifact {artifact_path!r}: {error}") from error

    def _download(self, artifact_path: str, folder: Path) -> Path:
        name, _, inside = artifact_path.partition("/")
        if name == models.NAME and (model := self._model()):
            return models.download(self.client, model, inside, folder)
        download = MlflowClient.download_artifacts
        return Path(download(self.client, self.run_id, artifact_path, str(folder)))

    def _model(self) -> LoggedModel | None:
        return models.find_model(self.client, self.client.get_run(self.run_id))

    def local(self, artifact_path: str) -> Path | None:
        """Returns where an artifact lies on this machine; None if it is not there, or in a remote store."""
        model = self._model() if artifact_path == models.NAME else None
        root = str(self.client.get_run(self.run_id).info.artifact_uri)
        place = str(model.artifact_location) if model else f"{root}/{artifact_path}"
        path = Path(local_file_uri_to_path(place))
        return path if "://" not in place.removeprefix("file://") and path.exists() else None

    def read_text(self, artifact_path: str) -> str:
        """Raises: ModelError if the run has no such artifact, or it is no text."""
        with TemporaryDirectory() as scratch:
            try:
                return read_text(self.download(artifact_path, Path(scratch)))
            except Unreadable as error:
                raise ModelError(f"run {self.run_id}: artifact {error}") from error

    def delete_checkpoint(self) -> None:
        """Deletes the run's checkpoint where the store can; keeps one that is registered as a model."""
        model = self._model()  # of a store that is away: the finish step is taken again
        try:
            if model:
                models.delete(self.client, model)
            else:
                root = self.client.get_run(self.run_id).info.artifact_uri
                get_artifact_repository(root).delete_artifacts(models.NAME)
        except Exception as error:  # each kind of artifact store has its own
            log.warning("run %s: its checkpoint stays among the artifacts: %s", self.run_id, error)

    def end(self, state: RunState, error: str | None = None) -> None:
        """Tags the run of a training with its state and its error, and closes it."""
        self.set_tags({Tag.STATE: str(state)} | ({Tag.ERROR: redact(error)[:1000]} if error else {}))
        self.close(state)

    def close(self, state: RunState) -> None:
        self._write("close", status=STATUSES[state], time=_now())

    def end_signed_off(self, state: RunState, error: str | None = None) -> None:
        """Ends the run of a trial that is signed off. Raises: RunNotClosed; a recovery then does it."""
        try:
            self.end(state, error)
        except Exception as problem:
            raise RunNotClosed(f"run {self.run_id} is {state}, and could not be closed") from problem

    def deliver(self, wait: bool = True) -> None:
        """Writes what the spool holds into the store. Raises: StoreError, of one attempt.

        wait: for another process that is delivering.
        """
        if self._spool.is_empty:
            return
        with single_attempts():
            self._spool.deliver(self._send_spooled, wait)

    def _write(self, kind: str, **values: Any) -> None:
        """Writes into the store, after what the spool holds; into the spool while the store is no use.

        Nothing is written into a store that was deleted: the command ends with an error that says so.
        """
        if self.client.is_gone or self._is_gone:
            return
        why = "the store did not answer before"
        if self.client.may_be_tried:
            try:
                self.deliver(wait=False)
                with single_attempts():
                    return self._send(kind, values)
            except StoreError as error:
                self.client.note_absence()
                why = describe(error)
        self._spool.append(kind, values, why)

    def _send(self, kind: str, values: dict[str, Any]) -> None:
        """Writes into the store. A run that was deleted is restored; one that is gone stays away."""
        try:
            self._send_once(kind, values)
        except MlflowException:
            found = self._find()
            if found is Found.THERE:
                raise
            if found is Found.RESTORED:
                self._send_once(kind, values)

    def _find(self) -> Found:
        """Looks whether the run was deleted, which would be why the store refuses its writes."""
        try:
            with single_attempts(), quick_answers():
                found = restore(self.client, self.run_id)
        except (StoreError, MlflowException):  # the store does not say
            return Found.THERE
        self._is_gone = found is Found.GONE
        return found

    def _send_once(self, kind: str, values: dict[str, Any]) -> None:
        with ExitStack() as stack:
            stack.enter_context(self.client.patience.naming(self.client.is_trouble))
            if kind not in UPLOADS:
                stack.enter_context(quick_answers())
            WRITES[kind](self.client, self.run_id, **values)

    def _send_spooled(self, kind: str, values: dict[str, Any]) -> None:
        """Raises: Undeliverable for what no later attempt can deliver; StoreError for anything else."""
        if kind in UPLOADS and not Path(str(values.get("path"))).exists():
            raise Undeliverable(f"{values.get('path')} is not there any more")
        try:
            self._send(kind, values)
            self._internal_errors = 0
        except StoreError as error:
            self._internal_errors += is_internal_error(error)
            if self._internal_errors < TRIES or not self.client.answers():
                raise
            self._internal_errors = 0
            raise Undeliverable(describe(error)) from error
        except Exception as error:
            raise Undeliverable(describe(error)) from error


def deliver_spooled(client: PatientClient) -> None:
    """Delivers the spools of all runs of this store; waits for it. Raises: StoreError."""
    for run_id in spooled_runs(client.spool):
        try:
            client.patience.call(TrackedRun(client, run_id).deliver)
        except StoreError as error:
            raise StoreError(f"{error} (the writes of run {run_id} are kept in {client.spool})") from error
        client.note_presence()


def _now() -> int:
    return int(time.time() * 1000)
