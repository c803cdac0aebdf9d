"""Shortcuts give what the library's own code gives, in less time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers
from datasets import Dataset
from labelled import task
from safetensors.torch import load_file
from tiny_models import make_tokenizer
from torch import nn
from transformers import PreTrainedModel

from finesweep.config.parse import from_dict, to_dict
from finesweep.config.run import SHORTCUTS, ProblemType, RunConfig
from finesweep.errors import ConfigError
from finesweep.training import dropout, embeddings, first_token
from finesweep.training.batches import ReadyRows, is_ready
from finesweep.training.evaluation import BATCH_TOKENS, TokenBatchTrainer, predict, token_batches
from finesweep.training.inputs import load_inputs
from finesweep.training.model import load_model
from finesweep.training.run import run

Compose = Callable[..., RunConfig]
SIZES = dict(vocab_size=50, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=16,
             max_position_embeddings=64, pad_token_id=0)  # fmt: skip
CONFIGS = {"bert": "Bert", "roberta": "Roberta", "xlm-roberta": "XLMRoberta", "camembert": "Camembert",
           "electra": "Electra"}  # fmt: skip


def made(family: str, **changes: Any) -> PreTrainedModel:
    torch.manual_seed(0)
    config = getattr(transformers, f"{CONFIGS[family]}Config")(**(SIZES | changes))
    model = transformers.AutoModelForSequenceClassification.from_config(config)
    assert isinstance(model, PreTrainedModel)
    return model


def batch(**changes: Any) -> dict[str, torch.Tensor]:
    torch.manual_seed(1)
    mask = torch.ones(4, 9, dtype=torch.int64)
    mask[1, 5:] = mask[3, 2:] = 0
    ids = torch.randint(5, 40, (4, 9)) * mask
    return {"input_ids": ids, "attention_mask": mask, "labels": torch.tensor([0, 1, 1, 0])} | changes


@pytest.mark.parametrize("family", first_token.FAMILIES)
def test_first_token_gives_the_librarys_logits_and_gradients(family: str) -> None:
    library, ours = (
        made(family, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0).train() for _ in range(2)
    )
    assert first_token.apply(ours)
    outputs = [model(**batch()) for model in (library, ours)]
    for output in outputs:
        output.loss.backward()
    torch.testing.assert_close(outputs[1].logits, outputs[0].logits)
    for (name, one), other in zip(ours.named_parameters(), library.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, msg=name)


def test_first_token_leaves_models_alone_that_read_other_tokens() -> None:
    tags = transformers.AutoModelForTokenClassification.from_config(transformers.BertConfig(**SIZES))
    distil = transformers.AutoModelForSequenceClassification.from_config(
        transformers.DistilBertConfig(dim=16, n_layers=1, n_heads=2, hidden_dim=16)
    )
    assert not first_token.apply(tags)
    assert not first_token.apply(distil)


@pytest.mark.parametrize("rate", [0.1, 0.5, 1 / 3])
def test_dropout_keeps_its_share_and_the_expected_value(rate: float) -> None:
    torch.manual_seed(0)
    kept = dropout.kept(torch.Size((1000, 999)), rate).numpy()
    spread = (rate * (1 - rate) / kept.size) ** 0.5
    assert abs(kept.mean() - (1 - rate)) < 5 * spread
    flat = kept.ravel() - kept.mean()
    for distance in (1, 2, 3, 4, 999):  # four elements share a draw, and 999 is the row above
        assert abs((flat[distance:] * flat[:-distance]).mean() / flat.var()) < 5 / kept.size**0.5


def test_dropout_drops_the_same_elements_of_the_gradient() -> None:
    torch.manual_seed(0)
    values = torch.ones(50, 50, requires_grad=True)
    dropped = dropout.drop(values, 0.25)
    dropped.sum().backward()
    assert values.grad is not None
    assert torch.equal(values.grad, dropped.detach())
    assert dropped.unique().tolist() == pytest.approx([0.0, 1 / 0.75])


@pytest.mark.parametrize("family", ["bert", "roberta"])
def test_dropout_changes_nothing_in_an_evaluation(family: str) -> None:
    model, inputs = made(family).eval(), batch()
    before = model(**inputs).logits
    dropout.apply(model)
    assert torch.equal(model(**inputs).logits, before)
    assert not torch.equal(model.train()(**inputs).logits, before)
    assert not any(type(module) is nn.Dropout for module in model.modules())


def test_attention_with_dropout_masks_padding() -> None:
    model, inputs = made("bert", hidden_dropout_prob=0.0).train(), batch()
    dropout.apply(model)
    other_padding = torch.where(inputs["attention_mask"] > 0, inputs["input_ids"], 7)
    logits = []
    for ids in (inputs["input_ids"], other_padding):
        torch.manual_seed(0)
        logits.append(model(**inputs | {"input_ids": ids}).logits)
    assert torch.equal(*logits)


def trained(model: PreTrainedModel, trimmed: embeddings.OccurringEmbedding | None) -> dict[str, torch.Tensor]:
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.1, fused=True)
    if trimmed:
        trimmed.decay_with(optimizer)
    for step in range(20):
        optimizer.param_groups[0]["lr"] = 1e-2 * (1 - step / 20)
        model(**batch()).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        if step == 7:
            model.state_dict()  # a checkpoint in between changes nothing
    return dict(model.state_dict())


def test_tokens_that_do_not_occur_decay_exactly_as_in_the_library() -> None:
    rates = dict(hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    occurring = batch()["input_ids"].unique()
    library, ours = made("bert", **rates), made("bert", **rates)
    trimmed = embeddings.apply(ours, occurring)
    assert trimmed is not None
    assert trimmed.weight.shape == (len(occurring), 16)
    then, now = trained(library, None), trained(ours, trimmed)
    assert then.keys() == now.keys()
    for name in then:
        torch.testing.assert_close(now[name], then[name], msg=name)
    words = "bert.embeddings.word_embeddings.weight"
    absent = sorted(set(range(50)) - set(occurring.tolist()))
    assert torch.equal(now[words][absent], then[words][absent])
    assert not torch.equal(then[words], made("bert").state_dict()[words])


def test_a_trimmed_embedding_loads_a_whole_checkpoint() -> None:
    whole, model = made("bert"), made("bert")
    trimmed = embeddings.apply(model, torch.arange(3, 30))
    assert trimmed is not None
    nn.init.normal_(whole.get_input_embeddings().weight)
    model.load_state_dict(whole.state_dict())
    assert torch.equal(trimmed.whole_weight(), whole.get_input_embeddings().weight)
    with pytest.raises(IndexError):
        trimmed(torch.tensor([45]))


def test_a_frozen_embedding_is_not_trimmed() -> None:
    model = made("bert")
    model.get_input_embeddings().weight.requires_grad_(False)
    assert embeddings.apply(model, torch.arange(3)) is None


ROWS: dict[str, list[Any]] = {
    "input_ids": [[2, 7, 8, 3], [2, 9, 3], [2, 3]], "token_type_ids": [[0, 0, 1, 1], [0, 0, 1], [0, 0]],
    "attention_mask": [[1] * 4, [1] * 3, [1] * 2], "length": [4, 3, 2],
}  # fmt: skip
LABELS = {"classification": [1, 0, 1], "regression": [0.5, 2.0, -1.0],
          "multi_label_classification": [[1.0, 0.0], [0.0, 0.0], [1.0, 1.0]],
          "token_classification": [[-100, 1, 0, -100], [-100, 2, -100], [-100, -100]]}  # fmt: skip


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("problem_type", LABELS)
def test_ready_batches_equal_those_of_the_collator(problem_type: str, side: str) -> None:
    kind, tokenizer = task(ProblemType(problem_type)), make_tokenizer("Bert")
    tokenizer.padding_side = side
    rows = Dataset.from_dict(ROWS | {"labels": LABELS[problem_type]})
    chosen = [2, 0, 1]
    ready = ReadyRows(rows, tokenizer, made("bert")).__getitems__(chosen)
    features = [{name: value for name, value in rows[i].items() if name != "length"} for i in chosen]
    expected = kind.collator(tokenizer)(features)
    assert ready.keys() == expected.keys()
    for name, values in ready.items():
        assert values.dtype == expected[name].dtype, name
        assert torch.equal(values, expected[name]), name


def test_ready_rows_follow_a_selection_of_rows() -> None:
    rows = Dataset.from_dict(ROWS | {"labels": [1, 0, 1]}).select([1, 2])
    ready = ReadyRows(rows, make_tokenizer("Bert"), made("bert"))
    assert ready[0]["input_ids"].tolist() == [[2, 9, 3]]
    assert len(ready) == 2


def test_batches_by_tokens_hold_every_row_once_and_stay_within_their_limit() -> None:
    lengths = np.random.default_rng(0).integers(1, 600, 1000)
    batches = list(token_batches(lengths, 128))
    assert sorted(np.concatenate(batches)) == list(range(1000))
    assert all(len(rows) <= 128 for rows in batches)
    assert all(len(rows) * lengths[rows].max() <= BATCH_TOKENS for rows in batches)
    assert [len(rows) for rows in token_batches(np.array([9000, 3]), 8)] == [1, 1]


@pytest.mark.parametrize("head", ["SequenceClassification", "TokenClassification"])
def test_evaluation_by_tokens_gives_the_librarys_outputs_in_the_order_of_the_rows(
    head: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    lengths = np.random.default_rng(0).integers(3, 60, 40).tolist()
    rows = Dataset.from_dict(
        {"input_ids": [[5 + (row + i) % 40 for i in range(n)] for row, n in enumerate(lengths)],
         "attention_mask": [[1] * n for n in lengths], "length": lengths,
         "labels": [n % 2 if head.startswith("S") else [n % 2] * n for n in lengths]}
    )  # fmt: skip
    model = getattr(transformers, f"AutoModelFor{head}").from_config(transformers.BertConfig(**SIZES))
    arguments = transformers.TrainingArguments(
        str(tmp_path), report_to=[], per_device_eval_batch_size=7, remove_unused_columns=False, use_cpu=True,
        disable_tqdm=True,
    )  # fmt: skip
    trainer = TokenBatchTrainer(model, arguments, is_ready, processing_class=make_tokenizer("Bert"))
    library = predict(trainer, rows)
    trainer.by_tokens = True
    ours, output = predict(trainer, rows), trainer.predict(trainer.ready(rows))
    np.testing.assert_allclose(ours, library, atol=1e-5)
    assert output.label_ids is not None
    assert [np.ravel(row)[0] for row in output.label_ids] == [n % 2 for n in lengths]
    with threads(1):
        alone = predict(trainer, rows)
    trainer.side_by_side = 3
    seen = set[int]()
    model.register_forward_pre_hook(lambda *_: seen.add(torch.get_num_threads()))
    with threads(2):
        np.testing.assert_array_equal(predict(trainer, rows), alone)
    assert seen == {1}  # each batch is computed by one, however many the process has


@contextmanager
def threads(count: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    yield
    torch.set_num_threads(before)


def test_shortcuts_change_neither_files_nor_scores(config: Compose, own_folder: Path) -> None:
    results, folders = {}, {}
    for name, chosen in {"library": [], "ours": list(SHORTCUTS)}.items():
        settings = config("model.dropout=0", f"trainer.shortcuts={chosen}", "optimizer.learning_rate=1e-3")
        results[name] = run(settings, own_folder / name)
        folders[name] = Path(str(results[name].checkpoint))
    for file in ("config.json", "tokenizer_config.json"):
        assert (folders["ours"] / file).read_text() == (folders["library"] / file).read_text()
    weights = {name: load_file(folder / "model.safetensors") for name, folder in folders.items()}
    assert weights["ours"].keys() == weights["library"].keys()
    for name, values in weights["library"].items():
        torch.testing.assert_close(weights["ours"][name], values, atol=2e-3, rtol=0)
    assert results["ours"].value == pytest.approx(results["library"].value, abs=0.02)
    assert results["ours"].metrics["eval_loss"] == pytest.approx(
        results["library"].metrics["eval_loss"], abs=1e-2
    )
    assert Path(str(results["ours"].submission)).read_text().count("\n") > 1


def test_a_config_from_before_shortcuts_uses_none(config: Compose) -> None:
    plain = to_dict(config())
    assert plain["trainer"].pop("shortcuts") == list(SHORTCUTS)
    assert from_dict(plain).trainer.shortcuts == []


def test_an_unknown_shortcut_is_refused_with_the_legal_ones(config: Compose) -> None:
    with pytest.raises(
        ConfigError, match=r"trainer.shortcuts: got \['bf8'\]; legal: a list of first_token, "
    ):
        config("trainer.shortcuts=[bf8]")


def test_rows_are_made_ready_once_for_all_trials_of_a_process(config: Compose) -> None:
    settings = config()
    inputs = load_inputs(settings)
    models = [
        load_model(settings.model, inputs.tokenizer, inputs.task, inputs.names, seed) for seed in (0, 1)
    ]
    assert inputs.ready(models[0])[0] is inputs.ready(models[1])[0]
    assert list(inputs.ready(models[0])[1].lengths) == sorted(inputs.eval["length"], reverse=True)
