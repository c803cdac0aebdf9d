"""How each kind of write reaches MLflow's store, at once or later out of a run's spool."""

from collections.abc import Callable

from mlflow.entities import Metric, Param, RunTag

from finesweep.tracking.store import PatientClient


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
