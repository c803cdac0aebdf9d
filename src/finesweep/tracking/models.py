"""Checkpoints as MLflow's logged models: a run's checkpoint artifact, which MLflow can load and serve.

The model is named `checkpoint`, and MLflow finds it as `runs:/RUN_ID/checkpoint`, where the artifact of older
runs lies. So weights are stored once. Its files are those of the checkpoint, and beside them what MLflow
wants: `MLmodel`, the tokenizer once more, and the packages.
"""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from mlflow.entities import LoggedModel, LoggedModelOutput, LoggedModelStatus, Metric, Run
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from finesweep.tags import TIMES, Tag
from finesweep.tracking.mlmodel import TOKENIZER_FOLDER, is_tokenizer_file, write_mlmodel
from finesweep.tracking.store import PatientClient

log = logging.getLogger(__name__)
NAME = "checkpoint"
ADAPTERS = "adapter_config.json"  # the file by which a checkpoint has adapters alone


def log_model(client: PatientClient, run_id: str, path: str, pipeline: dict[str, Any]) -> None:
    """Logs a checkpoint's folder as the logged model of its run. What an earlier attempt did is not repeated.

    pipeline: the fields of a `mlmodel.Pipeline`.
    """
    run = client.get_run(run_id)
    model = find_model(client, run) or _create(client, run)
    if model.status == LoggedModelStatus.READY:
        return
    scores = _scores(client, run)
    outputs = run.outputs.model_outputs if run.outputs else []
    if model.model_id not in [output.model_id for output in outputs]:
        step = max((metric.step for metric in scores), default=0)
        client.log_outputs(run_id, [LoggedModelOutput(model.model_id, step)])
    _link_scores(client, run, model, scores)
    folder = Path(path)
    client.log_model_artifacts(model.model_id, path)
    if not (folder / ADAPTERS).is_file():
        _log_mlmodel(client, folder, pipeline, run_id, model)
    client.finalize_logged_model(model.model_id, LoggedModelStatus.READY)


def _log_mlmodel(
    client: PatientClient, folder: Path, pipeline: dict[str, Any], run_id: str, model: LoggedModel
) -> None:
    """Adds what MLflow needs to load and serve the checkpoint. It knows no adapters without their base."""
    with TemporaryDirectory() as scratch:
        (tokenizer := Path(scratch, TOKENIZER_FOLDER)).mkdir(parents=True)
        for file in filter(is_tokenizer_file, folder.iterdir()):
            shutil.copy(file, tokenizer)
        size = sum(file.stat().st_size for file in folder.iterdir())
        with _kept_without_mlmodel(run_id):
            write_mlmodel(Path(scratch), pipeline, run_id, model.model_id, size)
        client.log_model_artifacts(model.model_id, scratch)


@contextmanager
def _kept_without_mlmodel(run_id: str) -> Iterator[None]:
    """Keeps a checkpoint whose MLmodel cannot be written, because of a part of MLflow's own."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        log.warning("run %s: its checkpoint has no MLmodel: %s: %s", run_id, type(error).__name__, error)


def find_model(client: PatientClient, run: Run) -> LoggedModel | None:
    """Finds the logged model of a run's checkpoint; None for a run of an earlier finesweep."""
    which = f"name = '{NAME}' and source_run_id = '{run.info.run_id}'"
    found = client.search_logged_models([run.info.experiment_id], which)
    return next(iter(sorted(found, key=lambda model: model.status != LoggedModelStatus.READY)), None)


def download(client: PatientClient, model: LoggedModel, path: str, folder: Path) -> Path:
    """Downloads the checkpoint, or a path in it, into `folder`/checkpoint."""
    target = folder / NAME
    target.mkdir(parents=True, exist_ok=True)
    _repository(client, model).download_artifacts(path, str(target))
    return target / path


def delete(client: PatientClient, model: LoggedModel) -> bool:
    """Deletes a model and its files; keeps one that is registered. Returns whether it is gone."""
    if client.search_model_versions(f"run_id = '{model.source_run_id}'"):
        return False
    _repository(client, model).delete_artifacts("")
    client.delete_logged_model(model.model_id)
    return True


def _repository(client: PatientClient, model: LoggedModel) -> Any:
    return get_artifact_repository(model.artifact_location, tracking_uri=client.tracking_uri)


def _create(client: PatientClient, run: Run) -> LoggedModel:
    lineage = (Tag.KIND, Tag.STUDY, Tag.TRIAL, Tag.WEIGHTS_SHA256, Tag.SOURCE_NAME, Tag.USER)
    tags = {key: value for key, value in run.data.tags.items() if key in lineage}
    return client.create_logged_model(
        run.info.experiment_id, NAME, run.info.run_id, tags=tags, params=run.data.params
    )


def _scores(client: PatientClient, run: Run) -> list[Metric]:
    """Reads the scores of the evaluation that the checkpoint is of."""
    run_id = run.info.run_id
    best = client.get_metric_history(run_id, "best_value") if "best_value" in run.data.metrics else []
    names = [name for name in run.data.metrics if name.startswith("eval_") and not name.endswith(TIMES)]
    history = (metric for name in names if best for metric in client.get_metric_history(run_id, name))
    return [*best[-1:], *(metric for metric in history if metric.step == best[-1].step)]


def _link_scores(client: PatientClient, run: Run, model: LoggedModel, scores: list[Metric]) -> None:
    """Writes scores once more, equal to the last digit, as the model's on the data that it was scored on."""
    inputs = run.inputs.dataset_inputs if run.inputs else []
    read = {tag.value: data.dataset for data in inputs for tag in data.tags}
    on = {"dataset_name": read["eval"].name, "dataset_digest": read["eval"].digest} if "eval" in read else {}
    linked = [Metric(m.key, m.value, m.timestamp, m.step, model_id=model.model_id, **on) for m in scores]
    if linked:
        client.log_batch(run.info.run_id, metrics=linked)
