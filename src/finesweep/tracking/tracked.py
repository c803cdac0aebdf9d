"""One MLflow run that is open."""

import math
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlflow.entities import Metric, Param, RunTag
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient

from finesweep.errors import ModelError
from finesweep.hooks import RunState
from finesweep.io.reading import Unreadable, read_text
from finesweep.io.redaction import redact
from finesweep.tags import Tag

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
    """One MLflow run that is open."""

    def __init__(self, client: MlflowClient, run_id: str) -> None:
        self.client, self.run_id = client, run_id
        self.history: dict[tuple[str, int], float] = {}  # what was logged through this object

    def log_metrics(self, metrics: dict[str, float], step: int, epoch: float | None = None) -> None:
        """Logs metrics, without values that are not finite: MLflow would store an infinity as 1.8e308."""
        values = metrics if epoch is None else {**metrics, "epoch": epoch}
        now = int(time.time() * 1000)
        batch = [Metric(key, value, now, step) for key, value in values.items() if math.isfinite(value)]
        self.client.log_batch(self.run_id, metrics=batch)
        self.history |= {(metric.key, step): metric.value for metric in batch}

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

    def read_text(self, artifact_path: str) -> str:
        """Raises: ModelError if the run has no such artifact, or it is no text."""
        with TemporaryDirectory() as scratch:
            try:
                return read_text(self.download(artifact_path, Path(scratch)))
            except Unreadable as error:
                raise ModelError(f"run {self.run_id}: artifact {error}") from error

    def delete_artifacts(self, artifact_path: str) -> None:
        """Deletes artifacts where the store can; a store that cannot keeps them."""
        root = self.client.get_run(self.run_id).info.artifact_uri
        with suppress(NotImplementedError, OSError, MlflowException):
            get_artifact_repository(root).delete_artifacts(artifact_path)

    def end(self, state: RunState, error: str | None = None) -> None:
        """Tags the run of a training with its state and its error, and closes it."""
        self.set_tags({Tag.STATE: str(state)} | ({Tag.ERROR: redact(error)[:1000]} if error else {}))
        self.close(state)

    def close(self, state: RunState) -> None:
        self.client.set_terminated(self.run_id, STATUSES[state])
