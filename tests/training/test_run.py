"""One run: tracked, the best evaluation kept, and what is kept is what predicts."""

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from labelled import task
from mlflow.entities import Run
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    TrainerControl,
    TrainerState,
    TrainingArguments,
    pipeline,
)

from finesweep.config.run import RunConfig
from finesweep.data import load_splits
from finesweep.io import checkpoint
from finesweep.machine.process import this_process
from finesweep.tasks import Scorer
from finesweep.tracking import open_store, start_run
from finesweep.training import trainer
from finesweep.training.callback import LossNotFinite, TrainingCallback
from finesweep.training.evaluation import by_length
from finesweep.training.run import run

Compose = Callable[..., RunConfig]


def runs(config: RunConfig) -> list[Run]:
    client = open_store(config.tracking)
    return list(client.search_runs([e.experiment_id for e in client.search_experiments()]))


def artifacts(config: RunConfig, run_id: str, folder: str = "") -> set[str]:
    return {Path(entry.path).name for entry in open_store(config.tracking).list_artifacts(run_id, folder)}


def test_a_run_leaves_its_whole_trail(config: Compose, tmp_path: Path) -> None:
    settings = config("optimizer.learning_rate=1e-3", "trainer.evals_per_epoch=2")
    result = run(settings, tmp_path / "out", ["optimizer.learning_rate=1e-3"])
    (tracked,) = runs(settings)
    assert (
        json.loads((tmp_path / "out/result.json").read_text())["run_id"]
        == result.run_id
        == tracked.info.run_id
    )
    assert tracked.info.status == "FINISHED"
    assert tracked.data.params["optimizer.learning_rate"] == "0.001"
    assert len(tracked.data.params) < 15
    assert {"eval_accuracy", "loss", "epoch", "train_tokens_per_second"} <= tracked.data.metrics.keys()
    history = open_store(settings.tracking).get_metric_history(str(result.run_id), "eval_accuracy")
    assert [metric.step for metric in history] == [6, 13]  # half an epoch of 13 steps, and its end
    assert max(metric.value for metric in history) == result.value == result.metrics["eval_accuracy"]
    assert artifacts(settings, str(result.run_id)) >= {"submission", "config.yaml"}
    read = {data.tags[0].value: data.dataset for data in tracked.inputs.dataset_inputs}
    assert read.keys() == {"train", "eval", "test"} and {data.name for data in read.values()} == {"demo"}
    assert json.loads(read["train"].source)["split"] == "train"
    assert json.loads(read["train"].profile)["sha256"] == tracked.data.tags["finesweep.data_sha256"]
    assert artifacts(settings, str(result.run_id), "submission") == {"test.tsv", "source.json"}


def test_the_checkpoint_answers_with_label_names_to_anybody(config: Compose, tmp_path: Path) -> None:
    before = os.umask(0o022)
    try:
        folder = Path(str(run(config(), tmp_path / "out").checkpoint))
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o644}
    assert checkpoint.find_damage(folder) is None
    answer = pipeline("text-classification", model=str(folder))({"text": "Who is it?", "text_pair": "It is."})
    assert answer["label"] in ("entailment", "not_entailment")


def test_the_best_evaluation_is_what_is_kept_and_predicts(
    config: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The learning rate explodes after the first evaluation, so the last weights are not the best ones."""
    settings = config("data.demo_rows=600", "trainer.num_train_epochs=3", "optimizer.learning_rate=3e-3")
    weights: dict[int, torch.Tensor] = {}
    save = checkpoint.save

    def remember(write: Callable[[Path], None], parent: Path, step: int) -> Path:
        folder = save(write, parent, step)
        model = AutoModelForSequenceClassification.from_pretrained(folder)
        weights[step] = model.classifier.weight.detach().clone()
        return folder

    monkeypatch.setattr(checkpoint, "save", remember)
    scores = iter([0.9, 0.5, 0.4])
    monkeypatch.setattr(Scorer, "__call__", lambda *_: {"accuracy": next(scores)})
    result = run(settings, tmp_path / "out")
    assert result.value == 0.9
    kept = AutoModelForSequenceClassification.from_pretrained(str(result.checkpoint))
    steps = sorted(weights)
    assert torch.equal(kept.classifier.weight, weights[steps[0]])
    assert not torch.equal(kept.classifier.weight, weights[steps[-1]])
    tokenizer = AutoTokenizer.from_pretrained(str(result.checkpoint))
    rows = load_splits(settings.data).test["test"][:50]
    inputs = tokenizer(rows["question"], rows["sentence"], padding=True, truncation=True, max_length=64)
    logits = kept(**{key: torch.tensor(value) for key, value in inputs.items()}).logits
    names = [kept.config.id2label[int(index)] for index in logits.argmax(1)]
    lines = Path(str(result.submission)).read_text().splitlines()
    assert lines[:51] == ["index\tprediction", *(f"{index}\t{name}" for index, name in enumerate(names))]


def test_the_first_loss_that_is_no_number_ends_the_run_as_failed(config: Compose, tmp_path: Path) -> None:
    settings = config("optimizer.learning_rate=1e30", "optimizer.max_grad_norm=0", "optimizer.warmup_steps=0")
    with pytest.raises(LossNotFinite, match="loss is nan at step"):
        run(settings, tmp_path / "out")
    (tracked,) = runs(settings)
    assert tracked.info.status == "FAILED"
    assert "LossNotFinite" in tracked.data.tags["finesweep.error"]
    assert json.loads((tmp_path / "out/result.json").read_text())["status"] == "FAILED"


def test_losses_that_stay_on_a_gpu_give_the_same_mean_and_are_missed_no_later_than_the_next_log(
    config: Compose, tmp_path: Path
) -> None:
    losses = torch.tensor([0.7, 0.1, 1e-3], dtype=torch.float32)
    read, kept = (TrainingCallback(config(), Scorer(task(), ["a", "b"]), 3, Silent(), None) for _ in "12")
    for loss in losses:
        read.add_loss(loss.item())
        kept.add_loss(loss.double())
    for callback in (read, kept):
        callback.carry(tmp_path, [callback.summed_loss()])
        assert json.loads((tmp_path / "observer.json").read_text())["loss"] == sum(losses.tolist())
    kept.add_loss(torch.tensor(float("nan"), dtype=torch.float64))
    state = TrainerState(log_history=[{"loss": 0.0}])
    with pytest.raises(LossNotFinite, match="loss is nan at step 0, or in the steps since the last log"):
        kept.on_log(TrainingArguments(str(tmp_path)), state, TrainerControl(), {"loss": 0.0})


class Silent:
    def log_metrics(self, metrics: dict[str, float], step: int, epoch: float) -> None: ...


def test_an_interrupted_run_is_killed_and_the_next_one_resumes_to_the_same_weights(
    config: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mid-epoch, with length-grouped batches and dropout: every random state must come back."""
    settings = config(
        "trainer.num_train_epochs=2",
        "trainer.evals_per_epoch=2",
        "model.dropout=0.1",
        "optimizer.learning_rate=1e-3",
    )
    undisturbed = run(settings, tmp_path / "a")
    step = trainer.WholeCheckpointTrainer.training_step

    def interrupt(self: trainer.WholeCheckpointTrainer, *args: object, **kwargs: object) -> torch.Tensor:
        if self.state.global_step == 21:
            raise KeyboardInterrupt
        return step(self, *args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(trainer.WholeCheckpointTrainer, "training_step", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(settings, tmp_path / "b")
    assert {tracked.info.status for tracked in runs(settings)} == {"FINISHED", "KILLED"}
    assert (tmp_path / "b/training/step-000020").is_dir()
    resumed = run(settings, tmp_path / "b")
    hashes = [
        checkpoint.sha256(Path(str(r.checkpoint)) / "model.safetensors") for r in (undisturbed, resumed)
    ]
    assert hashes[0] == hashes[1]
    assert resumed.value == undisturbed.value


def test_early_stopping_counts_evaluations_without_a_better_one(
    config: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scores = iter([0.5, 0.7, 0.6, 0.6, 0.9])
    monkeypatch.setattr(Scorer, "__call__", lambda *_: {"accuracy": next(scores)})
    settings = config("trainer.num_train_epochs=5", "trainer.early_stopping_patience=2", "predict=false")
    assert run(settings, tmp_path / "out").value == 0.7
    assert next(scores) == 0.9


def test_predictions_come_back_in_the_order_of_the_rows() -> None:
    from datasets import Dataset

    rows = Dataset.from_dict({"length": [3, 9, 1, 9]})
    ordered, order = by_length(rows)
    assert ordered["length"] == [9, 9, 3, 1]
    assert np.array_equal(order, [1, 3, 0, 2])


@pytest.mark.parametrize("optimizer", ["adamw", "adafactor", "sgd"])
def test_every_optimizer_trains(config: Compose, tmp_path: Path, optimizer: str) -> None:
    settings = config(f"optimizer={optimizer}", "trainer.gradient_accumulation_steps=2", "predict=false")
    result = run(settings, tmp_path / "out")
    assert result.status == "FINISHED"
    assert result.metrics["eval_loss"] > 0


def test_another_config_in_the_same_folder_does_not_go_on_from_its_checkpoints(
    config: Compose, tmp_path: Path
) -> None:
    folder = tmp_path / "training"
    assert checkpoint.resumable(folder, "a") is None
    saved = checkpoint.save(
        lambda staging: (staging / "model.safetensors").write_bytes(b"w") and None, folder, 5
    )
    assert checkpoint.resumable(folder, "a") == saved
    assert checkpoint.resumable(folder, "b") is None
    assert not saved.exists()


@pytest.mark.parametrize(
    "process", [str(replace(this_process(), start="1")), "999999999:1.00"], ids=["reused", "0.1"]
)
def test_a_run_whose_process_was_killed_is_closed_by_the_next_one(
    config: Compose, tmp_path: Path, process: str
) -> None:
    """Its process id is that of a later process, or, as version 0.1 wrote it, that of none."""
    settings = config("predict=false")
    dead = start_run(
        settings.tracking, "demo", "dead", {"finesweep.kind": "run", "finesweep.process": process}
    )
    run(settings, tmp_path / "out")
    found = {tracked.info.run_id: tracked.info.status for tracked in runs(settings)}
    assert found.pop(dead.run_id) == "KILLED"
    assert list(found.values()) == ["FINISHED"]
