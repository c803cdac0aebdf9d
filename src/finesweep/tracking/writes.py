"""How each kind of write reaches MLflow's store, at once or later out of a run's spool."""

import hashlib
from collections.abc import Callable
from typing import Any

from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, RunTag

from finesweep.tags import Tag
from finesweep.tracking.models import log_model
from finesweep.tracking.store import PatientClient

SIDE = "workflowType=machine_learning"  # of MLflow's UI, which opens a page without it on its GenAI side
MAX_TAG = 8000  # characters; MLflow cuts longer values without a word
EXPERIMENT = "{experiment_id}"  # stands in a description for the id of the run's experiment


def _log_metrics(client: PatientClient, run_id: str, metrics: dict[str, float], step: int, time: int) -> None:
    client.log_batch(run_id, metrics=[Metric(key, value, time, step) for key, value in metrics.items()])


def _log_params(client: PatientClient, run_id: str, params: dict[str, str]) -> None:
    client.log_batch(run_id, params=[Param(key, value) for key, value in params.items()])


def _set_tags(client: PatientClient, run_id: str, tags: dict[str, str]) -> None:
    client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])


def _log_inputs(client: PatientClient, run_id: str, datasets: list[dict[str, Any]]) -> None:
    client.log_inputs(
        run_id,
        [
            DatasetInput(Dataset(**entry["dataset"]), [InputTag(Tag.CONTEXT, entry["context"])])
            for entry in datasets
        ],
    )


def _describe(client: PatientClient, run_id: str, text: str) -> None:
    """Sets the run's description, unless a person has edited it since it was last written."""
    run = client.get_run(run_id)
    tags = run.data.tags
    if (note := tags.get(Tag.NOTE)) and _sha256(note) != tags.get(Tag.NOTED):
        return
    text = text.replace(EXPERIMENT, run.info.experiment_id)[:MAX_TAG]
    _set_tags(client, run_id, {Tag.NOTE: text, Tag.NOTED: _sha256(text)})


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()


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
    "inputs": _log_inputs,
    "description": _describe,
    "text": _log_text,
    "file": _log_file,
    "folder": _log_folder,  # a checkpoint in the spool of an earlier version
    "model": log_model,
    "close": _close,
}
UPLOADS = ("file", "folder", "model")  # which may be large, and take their time
