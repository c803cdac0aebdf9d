"""A kept checkpoint is a model of MLflow's, which MLflow loads, serves and registers."""

import csv
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import mlflow
import pytest
from mlflow.entities import LoggedModelStatus

from finesweep.config.run import RunConfig, TrackingConfig
from finesweep.data import load_splits
from finesweep.errors import ConfigError, ModelError
from finesweep.io import checkpoint
from finesweep.tracking import TrackedRun, deliver_spooled, open_store, register, start_run
from finesweep.tracking.models import find_model
from finesweep.training.run import run
from finesweep.training.served import pipeline_of

Compose = Callable[..., RunConfig]


def test_mlflow_loads_a_checkpoint_that_is_stored_once_and_answers_as_the_run_did(
    config: Compose, tmp_path: Path
) -> None:
    settings = config("optimizer.learning_rate=5e-3", "trainer.num_train_epochs=3")
    result = run(settings, tmp_path / "out")
    run_id = str(result.run_id)
    client = open_store(settings.tracking)
    tracked = client.get_run(run_id)
    model = find_model(client, tracked)
    assert model and model.status == LoggedModelStatus.READY and model.name == "checkpoint"
    assert [output.model_id for output in tracked.outputs.model_outputs] == [model.model_id]
    scores = {metric.key: (metric.value, metric.dataset_name) for metric in model.metrics or []}
    assert scores["eval_accuracy"] == (result.value, "demo")
    assert model.params["optimizer.learning_rate"] == "0.005"

    stored = sorted(path.name for path in Path("mlruns/artifacts").rglob("*") if path.is_file())
    assert stored.count("model.safetensors") == 1
    assert not [name for name in stored if name.endswith((".pkl", ".bin", ".pt", ".pth"))]
    again = TrackedRun(client, run_id).download("checkpoint", tmp_path / "again")
    assert checkpoint.find_damage(again) is None and (again / "MLmodel").is_file()

    before = mlflow.get_tracking_uri()
    mlflow.set_tracking_uri(client.tracking_uri)
    try:
        loaded = mlflow.transformers.load_model(f"runs:/{run_id}/checkpoint")
    finally:
        mlflow.set_tracking_uri(before)
    rows = load_splits(settings.data).test["test"]
    pairs = [{"text": row["question"], "text_pair": row["sentence"]} for row in rows]
    answers = [answer["label"] for answer in loaded(pairs, batch_size=100)]
    with Path(str(result.submission)).open() as file:
        assert answers == [row["prediction"] for row in csv.DictReader(file, delimiter="\t")]


def kept(folder: Path) -> Path:
    folder.mkdir()
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        (folder / name).write_text("{}")
    checkpoint.write_manifest(folder)
    return folder


def test_a_model_that_mlflow_could_not_take_is_delivered_later_and_once(
    config: Compose, tmp_path: Path
) -> None:
    pipeline = pipeline_of(config())
    tracked = start_run(TrackingConfig(), "demo", "run", {})
    client = tracked.client
    client.note_absence()
    for _ in range(2):
        tracked.log_model(kept(tmp_path / "c") if not (tmp_path / "c").exists() else tmp_path / "c", pipeline)
    assert find_model(client, client.get_run(tracked.run_id)) is None
    client.note_presence()
    deliver_spooled(client)
    assert len(client.search_logged_models(["1"])) == 1
    tracked.delete_checkpoint()
    assert not client.search_logged_models(["1"])
    assert not [path for path in Path("mlruns/artifacts").rglob("*") if path.is_file()]


def test_a_winner_is_registered_once_and_the_alias_moves(config: Compose, tmp_path: Path) -> None:
    store, pipeline = TrackingConfig(), pipeline_of(config())
    first, second, without = (start_run(store, "demo", name, {}) for name in ("one", "two", "three"))
    for tracked in (first, second):
        tracked.log_model(kept(tmp_path / tracked.run_id), pipeline)
    assert register(store, first.run_id, "qnli") == ("1", True)
    assert register(store, second.run_id, "qnli") == ("2", True)
    assert register(store, first.run_id, "qnli") == ("1", False)
    client = open_store(store)
    assert client.get_model_version_by_alias("qnli", "champion").version in (1, "1")
    second.delete_checkpoint()  # a version needs it
    assert find_model(client, client.get_run(second.run_id)) is not None
    version = client.get_model_version("qnli", "2")
    assert (Path(urlsplit(version.source).path) / "MLmodel").is_file()
    with pytest.raises(ModelError, match="no model of it is in MLflow"):
        register(store, without.run_id, "qnli")
    with pytest.raises(ConfigError, match="NAME: got 'a/b'; legal: a name that MLflow takes"):
        register(store, first.run_id, "a/b")
