"""What cannot give a right result is one error before a training, and what was guessed is said."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from processes import ROOT
from tiny_models import SIZES, save_model
from transformers import BertConfig

from finesweep.config.run import RunConfig
from finesweep.errors import ConfigError, ModelError
from finesweep.training import tryout
from finesweep.training.inputs import load_inputs
from finesweep.training.preflight import POSITIONS
from finesweep.training.run import run
from finesweep.training.tried import marker
from finesweep.training.tryout import load_and_try_out

Compose = Callable[..., RunConfig]


def of(folder: Path, config: Compose, *overrides: str) -> RunConfig:
    model = f"model.name_or_path={folder}", "model.architecture=null", "model.init=pretrained"
    return config(*model, "model.max_length=32", "model.dropout=null", *overrides)


@pytest.mark.parametrize("architecture", SIZES)
def test_models_of_all_kinds_are_trained_and_predict(
    architecture: str, config: Compose, own_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = save_model(own_folder / "model", architecture)
    result = run(of(folder, config, "model.max_length=24"), own_folder / "out")
    assert result.value is not None
    assert result.submissions
    padded = "padded with its end-of-text token '</s>'" in caplog.text
    assert padded == (architecture in ("GPT2", "Llama"))


@pytest.mark.parametrize(
    ("architecture", "room"), [("Roberta", 32), ("GPT2", 64), ("Llama", 64), ("Bart", 64)]
)
def test_as_many_tokens_as_there_are_positions_fit_and_one_more_is_refused(
    architecture: str, room: int, config: Compose, own_folder: Path
) -> None:
    folder = save_model(own_folder / "model", architecture)
    load_and_try_out([of(folder, config, f"model.max_length={room}")])
    with pytest.raises(ConfigError, match=f"model.max_length: got {room + 1}; legal: 8 to {room}"):
        load_and_try_out([of(folder, config, f"model.max_length={room + 1}")])


def test_a_model_of_sizes_has_as_many_positions_as_is_said() -> None:
    assert BertConfig().max_position_embeddings == POSITIONS


@pytest.mark.parametrize(
    ("name", "overrides"),
    [
        ("tokens_bio.jsonl", ["data.problem_type=token_classification", "data.metric=span_f1",
                              "data.text_columns=[tokens]", "data.label_column=tags"]),
        ("multi_label.jsonl", ["data.problem_type=multi_label_classification", "data.metric=f1_micro",
                               "data.text_columns=[text]", "data.label_column=labels"]),
        ("empty_cells.csv", ["data.text_columns=[title,review]", "data.empty=keep",
                             "data.class_weights=balanced"]),
    ],
)  # fmt: skip
def test_tags_several_labels_and_pairs_are_tried_out(
    name: str, overrides: list[str], config: Compose, own_folder: Path
) -> None:
    folder = save_model(own_folder / "model", "Bert")
    data = ["data.source=table", "data.labels=null", "data.test_split=null", "data.holdout=0.2",
            f"data.path={ROOT}/tests/cases/{name}"]  # fmt: skip
    tried = of(folder, config, *data, *overrides)
    load_and_try_out([tried])
    assert marker(tried, load_inputs(tried).splits.labels).exists()


def test_a_model_without_a_limit_takes_long_rows(config: Compose, own_folder: Path) -> None:
    load_and_try_out([of(save_model(own_folder / "model", "XLNet"), config, "model.max_length=600")])


def test_a_tokenizer_without_its_files_is_refused(config: Compose, own_folder: Path) -> None:
    folder = save_model(own_folder / "model", "Bert")
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(ModelError, match="does not know 100% of the tokens of the training rows"):
        load_inputs(of(folder, config))


def test_tokens_without_embeddings_get_some(
    config: Compose, own_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = save_model(own_folder / "model", "Bert", vocab_size=300)
    result = run(of(folder, config), own_folder / "out")
    assert "the tokenizer has" in caplog.text
    assert "tokens more than the model has embeddings (300)" in caplog.text
    assert json.loads((Path(str(result.checkpoint)) / "config.json").read_text())["vocab_size"] > 300


def test_a_tokenizer_of_another_model_is_refused(config: Compose, own_folder: Path) -> None:
    folder = save_model(own_folder / "model", "Bert", vocab_size=50)
    with pytest.raises(ModelError, match="vocab_size 50; use files that belong together"):
        load_and_try_out([of(folder, config)])


def test_weights_of_another_architecture_are_refused(config: Compose, own_folder: Path) -> None:
    folder = save_model(own_folder / "model", "Bert")
    other = save_model(own_folder / "other", "DistilBert")
    (other / "model.safetensors").rename(folder / "model.safetensors")
    with pytest.raises(ModelError, match="its weights file lacks .* of the weights"):
        load_and_try_out([of(folder, config)])


def test_weights_that_start_at_random_are_named(
    config: Compose, own_folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = save_model(own_folder / "model", "Bert")
    changed = json.loads((folder / "config.json").read_text()) | {"num_hidden_layers": 2}
    (folder / "config.json").write_text(json.dumps(changed))
    load_and_try_out([of(folder, config)])
    assert "16 tensors" in caplog.text
    assert "start at random" in caplog.text


def test_weights_that_are_not_numbers_are_refused(config: Compose, own_folder: Path) -> None:
    folder = save_model(own_folder / "model", "Bert", initializer_range=float("inf"))
    with pytest.raises(ModelError, match="a batch of the longest rows cannot be trained .the loss is nan"):
        load_and_try_out([of(folder, config)])


def test_an_index_error_of_the_model_is_one_clear_error(config: Compose, own_folder: Path) -> None:
    folder = save_model(own_folder / "model", "Bert", type_vocab_size=1)
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    names = {"model_input_names": ["input_ids", "token_type_ids", "attention_mask"]}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings | names))
    with pytest.raises(ModelError, match="cannot be trained .IndexError"):
        load_and_try_out([of(folder, config)])


def test_a_model_is_tried_out_once_for_the_same_files(
    config: Compose, own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_model(own_folder / "model", "Bert")
    tried: list[str] = []
    train_once = tryout._train_once
    monkeypatch.setattr(tryout, "_train_once", lambda *given: tried.append("") or train_once(*given))
    for dropout in ("null", "0.1", "0.2"):
        load_and_try_out([of(folder, config, f"model.dropout={dropout}")])
    assert len(tried) == 2  # with and without a dropout rate
    save_model(folder, "Bert")
    load_and_try_out([of(folder, config)])
    assert len(tried) == 3


def test_a_try_out_changes_no_weight(
    config: Compose, own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = of(save_model(own_folder / "model", "Bert"), config, "predict=false", "model.dropout=0.1")
    tried = run(settings, own_folder / "tried")
    monkeypatch.setattr("finesweep.training.run.try_out", lambda *_: None)
    torch.rand(3)
    untried = run(settings, own_folder / "untried")
    files = [Path(str(result.checkpoint)) / "model.safetensors" for result in (tried, untried)]
    assert files[0].read_bytes() == files[1].read_bytes()


def test_code_that_comes_with_a_model_is_not_run(config: Compose, own_folder: Path) -> None:
    folder = save_model(own_folder / "model", "Bert")
    settings = json.loads((folder / "config.json").read_text())
    own = {"model_type": "theirs", "auto_map": {"AutoConfig": "theirs.TheirConfig"}}
    (folder / "config.json").write_text(json.dumps(settings | own))
    (folder / "theirs.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    with pytest.raises(ModelError, match="needs Python code that comes with the model, and finesweep never"):
        load_and_try_out([of(folder, config)])
    assert not (own_folder / "ran").exists()
