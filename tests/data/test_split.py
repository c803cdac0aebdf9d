"""Hold-outs, the demo and fingerprints: the same rows every time, wherever they are asked for."""

import subprocess
import sys
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from datasets import Dataset

from finesweep.config.run import DataConfig, DataSource
from finesweep.data import fingerprint, load_splits
from finesweep.data.overview import suspicions
from finesweep.errors import ConfigError
from finesweep.tasks import task_of

DEMO = DataConfig(
    source=DataSource.demo,
    name="demo",
    text_columns=["question", "sentence"],
    metric="accuracy",
    test_split="test",
    demo_rows=400,
)


def rows(dataset: Dataset) -> list[tuple[str, str, int]]:
    return list(zip(dataset["question"], dataset["sentence"], dataset["label"], strict=True))


def test_hold_out_selects_and_the_evaluation_split_becomes_final() -> None:
    plain, held = load_splits(DEMO), load_splits(replace(DEMO, holdout=0.25), seed=3)
    assert Counter(rows(held.train) + rows(held.eval)) == Counter(rows(plain.train))
    assert held.final_eval is not None
    assert rows(held.final_eval) == rows(plain.eval)
    assert abs(len(held.eval) - 100) <= 1


def test_final_split_may_be_another_one() -> None:
    splits = load_splits(replace(DEMO, holdout=0.25, final_eval_split="test[:7]"))
    assert splits.final_eval is not None and len(splits.final_eval) == 7
    assert load_splits(replace(DEMO, holdout=0.25, eval_split=None)).final_eval is None


@pytest.mark.parametrize(
    ("changes", "shared"),
    [
        ({"final_eval_split": "validation"}, 1000),
        ({"final_eval_split": "test+validation[90:]"}, 910),
        ({"final_eval_split": "train[:7]", "holdout": 0.25}, 7),
        ({"eval_split": "train[-5:]+test", "holdout": 0.25}, 5),
        ({"eval_split": "validation[:50]", "final_eval_split": "validation[50:]"}, 0),
        ({"holdout": 0.25}, 0),
    ],
)
def test_rows_of_the_final_score_that_are_trained_on_or_select_are_said(
    changes: dict[str, Any], shared: int
) -> None:
    config = replace(DEMO, **changes)
    splits = load_splits(config)
    said = "\n".join(suspicions(config, splits, task_of(config)))
    assert splits.shared == shared
    assert (f"{shared} of " in said and "rows of final are trained on or select" in said) == bool(shared)


def test_hold_out_keeps_the_share_of_each_label() -> None:
    splits = load_splits(replace(DEMO, holdout=0.25), seed=3)
    for label in (0, 1):
        share = list(splits.eval["label"]).count(label) / len(splits.eval)
        assert share == pytest.approx(list(splits.train["label"]).count(label) / len(splits.train), abs=0.01)


def test_hold_out_is_drawn_by_the_seed() -> None:
    config = replace(DEMO, holdout=0.25)
    assert rows(load_splits(config, seed=3).eval) == rows(load_splits(config, seed=3).eval)
    assert rows(load_splits(config, seed=3).eval) != rows(load_splits(config, seed=4).eval)


def test_hold_out_without_rows_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"data.holdout: got 0.001; .*train has 400"):
        load_splits(replace(DEMO, holdout=0.001))


def test_parts_of_a_sum_are_joined_in_order() -> None:
    both = load_splits(replace(DEMO, train_split="validation[:2]+train[398:]")).train
    whole = load_splits(DEMO)
    assert rows(both) == rows(whole.eval)[:2] + rows(whole.train)[398:]


def test_demo_is_balanced_and_noisy_in_training_only_and_unlabelled_in_test() -> None:
    splits = load_splits(replace(DEMO, demo_rows=4000))
    assert (len(splits.train), len(splits.eval), len(splits.test["test"])) == (4000, 1000, 1000)
    assert splits.test["test"].column_names == ["question", "sentence"]
    assert 0.45 < sum(splits.eval["label"]) / 1000 < 0.55
    assert 0.04 < wrong_share(splits.train) < 0.06
    assert wrong_share(splits.eval) == 0


def wrong_share(dataset: Dataset) -> float:
    """Share of labels that disagree with whether the question's verb is in the sentence."""
    verbs = ("born", "wrote", "lives", "works", "founded", "owns")
    wrong = [
        any(verb in question and verb in sentence for verb in verbs) == bool(label)
        for question, sentence, label in rows(dataset)
    ]
    return sum(wrong) / len(wrong)


def test_demo_needs_a_row_and_knows_its_columns() -> None:
    with pytest.raises(ConfigError, match=r"data.demo_rows: got 0"):
        load_splits(replace(DEMO, demo_rows=0))
    with pytest.raises(ConfigError, match=r"legal: one or two of question, sentence"):
        load_splits(replace(DEMO, text_columns=["text"]))


# Fixed here, so that a change of the demo or of the definition is a decision and not an accident.
PINNED = "af14391bf9cb1d984094bd40d948dae55a0b5cb8f25aceaa3c6d7892b9ecb542"
SCRIPT = """
from finesweep.config.run import DataConfig, DataSource
from finesweep.data import fingerprint, load_splits
config = DataConfig(source=DataSource.demo, name="demo", demo_rows=400, metric="accuracy",
                    text_columns=["question", "sentence"])
print(fingerprint(load_splits(config).train))
"""


@pytest.mark.parametrize("hash_seed", ["0", "1"])
def test_demo_and_fingerprint_are_the_same_in_every_process(hash_seed: str) -> None:
    environment = {"PYTHONHASHSEED": hash_seed, "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == fingerprint(load_splits(DEMO).train) == PINNED


def test_fingerprint_is_of_the_content_alone(tmp_path_factory: pytest.TempPathFactory) -> None:
    data = Dataset.from_dict({"a": [str(i) for i in range(2500)], "b": list(range(2500))})
    original = fingerprint(data)
    folder = tmp_path_factory.mktemp("saved")
    data.save_to_disk(str(folder))
    assert fingerprint(Dataset.load_from_disk(str(folder))) == original
    assert (
        fingerprint(data.select(list(reversed(range(2500)))).select(list(reversed(range(2500))))) == original
    )


@pytest.mark.parametrize(
    "change",
    [
        {"a": ["y", "x"], "b": [1, 2]},
        {"a": ["x", "y"], "b": [1, 3]},
        {"a": ["x", "y"], "c": [1, 2]},
        {"b": [1, 2], "a": ["x", "y"]},
        {"a": ["xy", ""], "b": [1, 2]},
        {"a": ["x"], "b": [1]},
    ],
)
def test_fingerprint_sees_every_change(change: dict[str, list[object]]) -> None:
    assert fingerprint(Dataset.from_dict(change)) != fingerprint(
        Dataset.from_dict({"a": ["x", "y"], "b": [1, 2]})
    )
