"""Rows are read, encoded and laid out once in a process, and whole columns at a time."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from datasets.arrow_dataset import Column
from transformers import PreTrainedTokenizerBase

from finesweep.config.run import RunConfig
from finesweep.data.overview import show
from finesweep.training.batches import ReadyRows
from finesweep.training.inputs import load_inputs
from finesweep.training.run import run

Compose = Callable[..., RunConfig]
ROWS: dict[str, list[dict[str, Any]]] = {
    "token_classification": [{"text": ["a", "b"], "label": ["O", "B-X"]}] * 20,
    "regression": [{"text": f"a {row}", "label": row} for row in range(20)],
    "classification": [{"text": "a", "label": "x"}, {"text": "b", "label": "y"}] * 10,
}


def refuse(*_: Any, **__: Any) -> Any:
    raise AssertionError("it was done again")


def test_a_second_trial_on_the_same_data_tokenizes_nothing_and_copies_nothing(
    config: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(config("predict=false"), tmp_path / "first")
    for owner, name in [
        (PreTrainedTokenizerBase, "__call__"),
        (ReadyRows, "__init__"),
        (Dataset, "select"),
        (Dataset, "from_file"),
    ]:
        monkeypatch.setattr(owner, name, refuse)
    again = config("predict=false", "optimizer.learning_rate=2e-3", "seed=7")
    assert run(again, tmp_path / "second").status == "FINISHED"


@pytest.mark.parametrize("problem_type", ROWS)
def test_no_column_is_read_cell_by_cell(
    problem_type: str, config: Compose, own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`datasets` takes 8 microseconds for a cell, 60 times as long as for one of a whole column."""

    def whole(column: Any, key: Any) -> Any:
        assert isinstance(key, slice), "a cell was read by itself"
        return column.source[key][column.column_name]

    monkeypatch.setattr(Column, "__iter__", refuse)
    monkeypatch.setattr(Column, "__getitem__", whole)
    (own_folder / "rows.jsonl").write_text("\n".join(map(json.dumps, ROWS[problem_type])))
    settings = config(
        "data=table", "data.path=rows.jsonl", "data.holdout=0.2", "data.text_columns=[text]",
        f"data.problem_type={problem_type}",
        f"data.metric={'pearson' if problem_type == 'regression' else 'accuracy'}",
    )  # fmt: skip
    inputs = load_inputs(settings)
    assert len(inputs.train) > 0
    show(settings.data, inputs.splits)
