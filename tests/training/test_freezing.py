"""What is not trained stays as it was, and the rest learns."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from labelled import task
from transformers import AutoModelForSequenceClassification

from finesweep.config.run import RunConfig
from finesweep.errors import ConfigError
from finesweep.training.inputs import load_inputs
from finesweep.training.model import load_model
from finesweep.training.run import run

Compose = Callable[..., RunConfig]


@pytest.mark.parametrize(
    ("freeze", "frozen"),
    [
        ("null", ()),
        ("embeddings", ("bert.embeddings.",)),
        ("1", ("bert.embeddings.", "bert.encoder.layer.0.")),
        ("encoder", ("bert.",)),
    ],
)
def test_frozen_parts_keep_their_weights_and_the_others_learn(
    freeze: str, frozen: tuple[str, ...], config: Compose, own_folder: Path
) -> None:
    settings = config(f"model.freeze={freeze}", "optimizer.learning_rate=1e-3", "predict=false")
    inputs = load_inputs(settings)
    before = load_model(settings.model, inputs.tokenizer, inputs.task, inputs.names, settings.seed)
    after = AutoModelForSequenceClassification.from_pretrained(
        str(run(settings, own_folder / "o").checkpoint)
    )
    stayed = {
        name
        for (name, one), other in zip(before.named_parameters(), after.parameters(), strict=True)
        if torch.equal(one, other)
    }
    assert stayed == {name for name, _ in before.named_parameters() if name.startswith(frozen or ("-",))}


def test_more_layers_than_there_are_cannot_be_frozen(config: Compose) -> None:
    settings = config("model.freeze=3")
    inputs = load_inputs(settings)
    with pytest.raises(ConfigError, match="model.freeze: got 3; legal: null, embeddings, encoder, or 1 to 2"):
        load_model(settings.model, inputs.tokenizer, inputs.task, inputs.names, 0)


@pytest.mark.parametrize("freeze", ["heads", "0", "1.5"])
def test_other_words_for_what_is_frozen_are_refused(freeze: str, config: Compose) -> None:
    with pytest.raises(
        ConfigError, match="model.freeze: got .*; legal: null, embeddings, encoder, or how many"
    ):
        config(f"model.freeze={freeze}")


def test_recomputed_activations_give_the_same_weights(config: Compose, own_folder: Path) -> None:
    weights = []
    for value in ("false", "true"):
        settings = config(f"model.gradient_checkpointing={value}", "predict=false", "model.dropout=0.1")
        checkpoint = str(run(settings, own_folder / value).checkpoint)
        weights.append(AutoModelForSequenceClassification.from_pretrained(checkpoint).state_dict())
    for name, tensor in weights[0].items():
        torch.testing.assert_close(tensor, weights[1][name], rtol=1e-5, atol=1e-6)


def test_class_weights_change_what_is_learned_and_the_loss_that_is_shown(
    config: Compose, own_folder: Path
) -> None:
    """A weight of nearly nothing on one of two labels: every row is taken for the other one."""
    weights = "data.class_weights={entailment: 1, not_entailment: 1e-6}"
    result = run(
        config(weights, "optimizer.learning_rate=1e-2", "trainer.num_train_epochs=2"), own_folder / "o"
    )
    lines = Path(str(result.submission)).read_text().splitlines()[1:]
    assert {line.split("\t")[1] for line in lines} == {"entailment"}
    assert result.metrics["eval_loss"] < 0.1  # the rows that are all wrong weigh nothing


def test_a_loss_with_equal_weights_is_the_models_own() -> None:
    logits, labels = torch.tensor([[1.0, -1.0], [0.5, 2.0], [0.0, 0.3]]), torch.tensor([0, 1, 0])
    weighted = task().weighted_loss(logits, labels, torch.ones(2))
    torch.testing.assert_close(weighted, torch.nn.functional.cross_entropy(logits, labels))


def test_a_weight_counts_in_a_batch_of_one_row_too() -> None:
    logits, labels, weights = (
        torch.tensor([[1.0, -1.0], [0.5, 2.0]]),
        torch.tensor([0, 1]),
        torch.tensor([3.0, 1]),
    )
    rows = [task().weighted_loss(logits[i : i + 1], labels[i : i + 1], weights) for i in range(2)]
    torch.testing.assert_close(sum(rows) / 2, task().weighted_loss(logits, labels, weights))
    assert rows[0] == pytest.approx(3 * float(torch.nn.functional.cross_entropy(logits[:1], labels[:1])))


def test_labels_that_are_numbers_can_be_weighted(config: Compose) -> None:
    assert config("data.class_weights={0: 1, 1: 5}").data.class_weights == {"0": 1, "1": 5}
