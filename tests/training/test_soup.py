"""Checkpoints together: the mean of their weights, or of what they say of each row."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from labelled import CLASSIFICATION, MULTI_LABEL, NAMES, REGRESSION, TOKENS, task
from safetensors.torch import load_file, save_file

from finesweep.config.run import ProblemType, RunConfig
from finesweep.config.study import Ensemble
from finesweep.io import checkpoint
from finesweep.tasks.base import softmax
from finesweep.training.ensembles import Together, greedy
from finesweep.training.inputs import load_inputs
from finesweep.training.run import run
from finesweep.training.soup import architecture, soup

Compose = Callable[..., RunConfig]


def member(folder: Path, value: float, **settings: object) -> Path:
    folder.mkdir()
    weights = {"a.weight": torch.full((2, 3), value), "a.positions": torch.arange(3)}
    save_file(weights, folder / "model.safetensors")
    (folder / "config.json").write_text(
        json.dumps({"hidden_size": 3, "hidden_dropout_prob": value, **settings})
    )
    (folder / "evaluation.npz").write_bytes(b"of this member alone")
    checkpoint.write_manifest(folder)
    return folder


def test_a_soup_has_the_mean_of_the_weights_and_is_the_same_each_time(tmp_path: Path) -> None:
    members = [member(tmp_path / name, value) for name, value in (("one", 0.1), ("two", 0.4), ("three", 0.4))]
    first, second = (soup(members, tmp_path / name) for name in ("first", "second"))
    made = load_file(first / "model.safetensors")
    torch.testing.assert_close(made["a.weight"], torch.full((2, 3), 0.3))
    assert made["a.positions"].tolist() == [0, 1, 2]
    assert (first / "model.safetensors").read_bytes() == (second / "model.safetensors").read_bytes()
    assert checkpoint.find_damage(first) is None
    assert sorted(path.name for path in first.iterdir()) == [
        "config.json",
        "manifest.json",
        "model.safetensors",
    ]


def test_dropout_is_no_part_of_an_architecture_and_adapters_have_none(tmp_path: Path) -> None:
    one, two = member(tmp_path / "one", 0.1), member(tmp_path / "two", 0.2)
    assert architecture(one) == architecture(two) is not None
    assert architecture(member(tmp_path / "wide", 0.1, hidden_size=4)) != architecture(one)
    (two / "adapter_config.json").write_text("{}")
    assert architecture(two) is None


@pytest.mark.parametrize("kind", [CLASSIFICATION, MULTI_LABEL, REGRESSION, TOKENS])
def test_averaged_outputs_score_as_the_mean_of_the_scores(kind: ProblemType) -> None:
    generator, of = np.random.default_rng(0), task(kind)
    shape = (4, 2, 3) if kind is TOKENS else (4, len(NAMES[kind]))
    logits = [generator.normal(size=shape).astype(np.float32) * 3 for _ in range(3)]
    together = of.averaged(logits)
    assert together.dtype == np.float32 and together.shape == shape
    if kind is TOKENS:
        exact = np.mean([np.exp(one) / np.exp(one).sum(axis=-1, keepdims=True) for one in logits], axis=0)
        assert (together.argmax(axis=-1) == exact.argmax(axis=-1)).all()
    else:
        exact = np.mean([of.scores(one) for one in logits], axis=0)
        np.testing.assert_allclose(of.scores(together), exact, atol=1e-6)


def test_members_are_added_while_the_score_does_not_fall() -> None:
    """The second lowers the score, the third raises it, the fourth changes nothing, the fifth lowers."""
    scores = {"a": 0.7, "ab": 0.6, "ac": 0.8, "acd": 0.8, "acde": 0.7}
    tried: list[str] = []

    def scored(members: list[Path], *_: object) -> dict[str, float]:
        tried.append("".join(member.name for member in members))
        return {"accuracy": scores[tried[-1]], "loss": -scores[tried[-1]]}

    stub = SimpleNamespace(inputs=SimpleNamespace(eval=[]), scored=scored)
    for metric, sign in (("accuracy", 1), ("loss", -1)):
        members = greedy(stub, list(map(Path, "abcde")), None, metric, sign)  # type: ignore[arg-type]
        assert members == [Path("a"), Path("c"), Path("d")]
    assert tried == list(scores) * 2


@pytest.fixture
def together(config: Compose, tmp_path: Path) -> Together:
    """A small trained model as `trained`; `high` and `low` are the same, tilted to one label each."""
    settings = config("optimizer.learning_rate=1e-3")
    source = Path(str(run(settings, tmp_path / "run").checkpoint))
    for name, tilt in {"trained": 0.0, "high": 0.5, "low": -0.5}.items():
        (folder := tmp_path / name).mkdir()
        for path in source.iterdir():
            (folder / path.name).write_bytes(path.read_bytes())
        weights = load_file(folder / "model.safetensors")
        weights["classifier.bias"] += torch.tensor([tilt, -tilt])
        save_file(weights, folder / "model.safetensors", metadata={"format": "pt"})
        checkpoint.write_manifest(folder)
    return Together(Ensemble.mean, settings, load_inputs(settings))


def test_two_tilted_models_are_an_upright_one_together(together: Together, tmp_path: Path) -> None:
    rows = together.inputs.eval
    plain, labels = together.outputs([tmp_path / "trained"], rows)
    assert labels is not None and list(labels) == list(rows["labels"])
    tilted = together.outputs([tmp_path / "high"], rows)[0]
    np.testing.assert_allclose(tilted - plain, [[0.5, -0.5]] * len(rows), atol=1e-5)
    pair = [tmp_path / "high", tmp_path / "low"]
    for kind in (Ensemble.mean, Ensemble.soup):
        group = replace(together, kind=kind)
        found = softmax(group.outputs(pair, rows)[0])
        np.testing.assert_allclose(found, softmax(plain), atol=1e-5 if kind is Ensemble.soup else 0.02)
        first, second = (group.write(pair, tmp_path / f"{kind.value}{name}") for name in "ab")
        assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second] != []
