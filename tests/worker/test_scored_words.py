"""Trials whose scores would be those of other words are refused at the start."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sweeping import evaluate, sweep

from finesweep.errors import ConfigError
from finesweep.worker import words

TABLE = ("data=table", "data.path=t.jsonl", "data.text_columns=[tokens]", "data.label_column=tags",
         "data.problem_type=token_classification", "data.holdout=0.2", "hydra.sweeper.study.n_trials=1",
         "hydra.sweeper.study.name=quickstart")  # fmt: skip


@pytest.fixture(autouse=True)
def here(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [{"tokens": ["word"] * n, "tags": ["O"] * (n - 1) + ["B-X"]} for n in range(5, 25)] * 3
    (own_folder / "t.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run: Callable[[Callable[[], Any]], Any] = lambda function: function()  # noqa: E731
    monkeypatch.setattr(words, "in_fresh_process", run)


@pytest.mark.usefixtures("no_finish")
def test_lengths_that_cut_off_words_cannot_be_searched() -> None:
    with pytest.raises(ConfigError) as caught:
        sweep(lambda _, trial: evaluate(trial, [0.5]), *TABLE, "model.max_length=choice(64,16,32)")
    said = str(caught.value)
    assert said.startswith("model.max_length: trials would be scored on different words")
    assert "with model.max_length=64: 1" in said and "with model.max_length=16: 1" in said
    assert not Path("mlruns/optuna.db").exists()
    sweep(lambda _, trial: evaluate(trial, [0.5]), *TABLE, "model.max_length=choice(64,32)")


@pytest.mark.usefixtures("no_finish")
def test_one_length_that_cuts_off_words_is_no_search(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(words, "in_fresh_process", None)  # nothing has to be read
    sweep(lambda _, trial: evaluate(trial, [0.5]), *TABLE, "model.max_length=16", "model.dropout=0.1,0.2")
