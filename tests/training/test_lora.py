"""Adapters: trained and saved alone, resumed and made again to the last bit, refused where they cannot be."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tiny_models import save_model

import finesweep
from finesweep.config.parse import to_dict
from finesweep.config.run import LoraConfig, RunConfig, TrackingConfig
from finesweep.errors import ConfigError, ModelError
from finesweep.io import checkpoint
from finesweep.reproduce.rebuild import rebuild
from finesweep.reproduce.recorded_run import load_recorded_run
from finesweep.reproduce.rerun import rerun
from finesweep.reproduce.verdict import judge
from finesweep.training import preflight
from finesweep.training.adapters import load_trained, resume, save
from finesweep.training.callback import TrainingCallback
from finesweep.training.inputs import load_inputs
from finesweep.training.model import load_model
from finesweep.training.run import run

Compose = Callable[..., RunConfig]
LORA = ("peft=lora", "peft.r=2", "peft.dropout=0.1", "optimizer.learning_rate=1e-2", "model=bert-tiny",
        "model.name_or_path=base", "model.max_length=32", "trainer.evals_per_epoch=2")  # fmt: skip


@pytest.fixture
def base(own_folder: Path) -> Path:
    return save_model(own_folder / "base", "Bert")


@pytest.mark.usefixtures("base")
def test_only_adapters_and_the_output_layer_are_trained_and_saved(config: Compose, tmp_path: Path) -> None:
    settings = config(*LORA, "data.holdout=0.2", "model.name_or_path=base")
    result = run(settings, tmp_path / "out")
    folder = tmp_path / "out/checkpoint"
    assert not (folder / "model.safetensors").exists()
    stored = load_file(folder / "adapter_model.safetensors")
    names = {name.removeprefix("base_model.model.").rpartition(".")[0] for name in stored}
    query = "bert.encoder.layer.0.attention.self.query"
    assert {"classifier", f"{query}.lora_A", f"{query}.lora_B"} <= names
    assert all("lora_" in name or name == "classifier" for name in names)
    assert all(tensor.any() for tensor in stored.values())  # B begins at 0
    named = json.loads((folder / "base_model.json").read_text())
    assert named["files"]["model.safetensors"] == checkpoint.sha256(Path("base/model.safetensors"))
    assert result.metrics["final_accuracy"] > 0  # scored, and predicted, by the checkpoint as loaded again
    assert Path(str(result.submission)).is_file()
    rows = [{"question": "what is it?", "sentence": "it is a test."}]
    assert finesweep.predict(folder, rows)["prediction"][0] in ("entailment", "not_entailment")
    with pytest.raises(ModelError, match="adapters"):
        save_model(Path("base"), "Bert", hidden_size=32)
        finesweep.predict(folder, rows)


@pytest.mark.usefixtures("base")
def test_a_checkpoint_on_another_base_is_refused(config: Compose, tmp_path: Path) -> None:
    settings = config(*LORA, "predict=false")
    run(settings, tmp_path / "out")
    save_model(Path("base"), "Bert", hidden_size=32)
    with pytest.raises(ModelError, match="not the model that the adapters"):
        load_trained(tmp_path / "out/checkpoint", "BertForSequenceClassification", settings.model)


@pytest.mark.usefixtures("base")
def test_an_adapted_run_is_made_again_exactly(config: Compose, tmp_path: Path) -> None:
    result = run(config(*LORA), tmp_path / "out")
    then = load_recorded_run(str(result.run_id), TrackingConfig())
    verdict = judge(then, rerun(then, rebuild(then, [], TrackingConfig()), []), [], 0.0)
    assert verdict.verdict == "EXACT"
    assert then.record.packages["peft"] and then.record.model.files


@pytest.mark.usefixtures("base")
def test_an_interrupted_training_goes_on_to_the_same_weights(
    config: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = config(*LORA, "predict=false")
    whole = run(settings, tmp_path / "whole")
    on_save = TrainingCallback.on_save

    def interrupted(*args: object, **options: object) -> None:
        on_save(*args, **options)  # type: ignore[arg-type]
        raise KeyboardInterrupt

    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(TrainingCallback, "on_save", interrupted)
        run(settings, tmp_path / "resumed")
    assert [path.name for path in (tmp_path / "resumed/training").glob("step-*")] == ["step-000006"]
    resumed = run(settings, tmp_path / "resumed")
    assert resumed.value == whole.value
    weights = [checkpoint.weights_sha256(tmp_path / out / "checkpoint") for out in ("whole", "resumed")]
    assert weights[0] == weights[1]


@pytest.mark.usefixtures("own_folder")
@pytest.mark.parametrize("architecture", ["Roberta", "DistilBert", "Llama"])
def test_what_no_checkpoint_of_the_base_has_is_trained_and_kept(
    config: Compose, tmp_path: Path, architecture: str
) -> None:
    save_model(Path("base"), architecture, num_labels=5)  # its output layer does not fit
    settings = config(*LORA, "peft.targets=all-linear")
    inputs = load_inputs(settings)
    model, other = (
        load_model(settings.model, inputs.tokenizer, inputs.task, inputs.names, seed, settings.peft)
        for seed in (0, 1)
    )
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert all("lora_" in name or "modules_to_save" in name for name in trained)
    save(model, settings.model, tmp_path / "saved")
    resume(other, tmp_path / "saved")
    loaded = load_trained(tmp_path / "saved", inputs.task.model_class, settings.model)
    ids = torch.arange(6, 26).view(2, 10)
    logits = [one.eval()(input_ids=ids).logits for one in (model, other, loaded)]
    assert torch.equal(logits[0], logits[1]) and torch.equal(logits[0], logits[2])


@pytest.mark.usefixtures("base")
@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["model.freeze=embeddings"], "model.freeze: got 'embeddings'; legal: null with peft"),
        (["model.init=random"], "adapters need a base model with trained weights"),
        (["model=demo", "model.name_or_path=null"], "adapters need a base model with trained weights"),
    ],
)
def test_what_cannot_be_adapted_is_refused(config: Compose, overrides: list[str], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        preflight.check(config(*LORA, *overrides))


@pytest.mark.usefixtures("base")
def test_unknown_targets_name_the_legal_ones(config: Compose) -> None:
    settings = config(*LORA, "peft.targets=[nope]")
    inputs = load_inputs(settings)
    with pytest.raises(ConfigError, match="peft.targets: got .'nope'.; legal: .*dense, key, query, value"):
        load_model(settings.model, inputs.tokenizer, inputs.task, inputs.names, 0, settings.peft)


@pytest.mark.usefixtures("base")
def test_a_missing_package_is_named(config: Compose, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preflight, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install '\.\[lora\]' in a checkout"):
        preflight.check(config(*LORA))


def test_a_config_without_adapters_is_written_as_before_them() -> None:
    assert "peft" not in to_dict(RunConfig())
    adapted = to_dict(RunConfig(peft=LoraConfig(r=4)))
    assert adapted["peft"] == {"r": 4, "alpha": 16, "dropout": 0.0, "targets": None}
