"""No network means an answer in seconds, local copies where there are some, and a remedy where not."""

import time
from collections.abc import Callable, Iterator
from pathlib import Path

import datasets.config
import huggingface_hub.constants
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from finesweep.config.run import DataConfig, DataSource
from finesweep.data import load_splits
from finesweep.errors import DataError
from finesweep.io import hub


@pytest.fixture(autouse=True)
def online(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every test starts undecided, and leaves the libraries' switches as they were."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_OFFLINE", False)
    hub.ensure_reachable_or_offline.cache_clear()
    yield
    hub.ensure_reachable_or_offline.cache_clear()


def hang() -> int:
    time.sleep(3600)  # in a daemon thread: as a name server that never answers
    return 200


def refuse() -> int:
    raise ConnectionRefusedError(111, "Connection refused")


def answer(status: int) -> Callable[[], int]:
    return lambda: status


@pytest.mark.parametrize("ask", [hang, refuse, answer(503)], ids=["hangs", "refused", "broken"])
def test_hub_that_does_not_answer_puts_every_library_offline(
    ask: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_request_status", ask)
    monkeypatch.setattr(hub, "DECISION_TIMEOUT_S", 0.2)
    started = time.monotonic()
    assert not hub.ensure_reachable_or_offline()
    assert time.monotonic() - started < 4  # and not the 5 s of the real limit
    assert huggingface_hub.is_offline_mode()
    assert datasets.config.HF_HUB_OFFLINE


@pytest.mark.parametrize("status", [200, 307, 401, 403, 429])
def test_hub_that_answers_leaves_the_libraries_online(status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "_request_status", answer(status))
    assert hub.ensure_reachable_or_offline()
    assert not huggingface_hub.is_offline_mode()


def test_hub_is_asked_once_per_process_and_never_for_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(hub, "_request_status", lambda: asked.append(1) or 200)
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda *_, **__: "config.json")
    (tmp_path / "config.json").write_text("{}")
    hub.check_model_source(str(tmp_path))
    assert asked == []
    hub.check_model_source("google/bert_uncased_L-2_H-128_A-2")
    hub.ensure_reachable_or_offline()
    assert asked == [1]


def test_offline_by_choice_asks_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "_request_status", lambda: pytest.fail("asked"))
    assert not hub.ensure_reachable_or_offline()
    assert datasets.config.HF_HUB_OFFLINE


def test_decision_has_a_bound_well_under_ten_seconds() -> None:
    assert hub.RESPONSE_TIMEOUT_S <= hub.DECISION_TIMEOUT_S <= 5


RTE = DataConfig(
    source=DataSource.glue,
    name="rte",
    glue_task="rte",
    text_columns=["sentence1", "sentence2"],
    metric="accuracy",
)


def test_glue_without_network_or_copy_fails_at_once_with_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "_request_status", refuse)
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path)
    started = time.monotonic()
    with pytest.raises(DataError, match=r"nyu-mll/glue rte, split train: .*data.path=DIR.*load_dataset"):
        load_splits(RTE)
    assert time.monotonic() - started < 10


def hub_rows(label: int) -> Dataset:
    features = Features(
        {
            "sentence1": Value("string"),
            "sentence2": Value("string"),
            "label": ClassLabel(names=["entailment", "not_entailment"]),
            "idx": Value("int32"),
        }
    )
    columns = {"sentence1": ["a", "b"], "sentence2": ["c", "d"], "label": [label, label], "idx": [0, 1]}
    return Dataset.from_dict(columns, features=features)


def test_glue_from_the_hub_has_plain_columns_and_unlabelled_test_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[str, str, str]] = []

    def load_dataset(path: str, name: str, split: str) -> Dataset:
        asked.append((path, name, split))
        return hub_rows(-1 if split == "test" else 1)

    monkeypatch.setattr(hub, "_request_status", answer(200))
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    settings = vars(RTE) | {
        "train_split": "validation[:1]",
        "eval_split": "validation[1:]",
        "test_split": "test",
    }
    splits = load_splits(DataConfig(**settings))
    assert asked == [("nyu-mll/glue", "rte", "validation"), ("nyu-mll/glue", "rte", "test")]
    assert splits.train.to_dict() == {"sentence1": ["a"], "sentence2": ["c"], "label": [1]}
    assert splits.train.features["label"] == Value("int64")
    assert splits.test["test"].to_dict() == {"sentence1": ["a", "b"], "sentence2": ["c", "d"]}


def test_diagnostic_rows_are_a_task_of_their_own_on_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []

    def load_dataset(path: str, name: str, split: str) -> Dataset:
        asked.append((name, split))
        return hub_rows(0).rename_columns({"sentence1": "premise", "sentence2": "hypothesis"})

    monkeypatch.setattr(hub, "_request_status", answer(200))
    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    settings = {
        "glue_task": "ax",
        "text_columns": ["premise"],
        "eval_split": "validation_matched",
        "test_split": "ax",
    }
    assert list(load_splits(DataConfig(**vars(RTE) | settings)).test) == ["ax"]
    assert asked == [("mnli", "train"), ("mnli", "validation_matched"), ("ax", "test")]
