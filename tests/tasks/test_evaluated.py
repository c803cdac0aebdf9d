"""What a model said of each evaluated row is kept beside its checkpoint, in the order of the split."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from labelled import CLASSIFICATION, NAMES, REGRESSION, TOKENS, evaluation, task

from finesweep.config.run import ProblemType
from finesweep.tasks import Scorer, evaluated
from finesweep.tasks.evaluated import FILE, Evaluated

ROWS = {
    CLASSIFICATION: (np.array([[2.0, 1.0], [0.5, 0.7], [1.0, 3.0]], np.float32), [0, 0, 1]),
    REGRESSION: (np.array([[0.1], [0.7], [0.4]], np.float32), [0.3, 0.9, 0.2]),
    TOKENS: (np.eye(3, dtype=np.float32)[[[0, 1, 2], [2, 0, 0], [2, 2, 1]]],
             [[0, 1, 2], [2, 0, -100], [2, -100, -100]]),
}  # fmt: skip


@pytest.fixture(params=ROWS, ids=str)
def scorer(request: pytest.FixtureRequest) -> Scorer:
    kind: ProblemType = request.param
    made = Scorer(task(kind), NAMES[kind])
    made(evaluation(*ROWS[kind]))
    return made


def test_the_kept_rows_give_the_same_scores_to_the_last_digit(scorer: Scorer, tmp_path: Path) -> None:
    scores = scorer(evaluation(*ROWS[scorer.task.problem_type]))
    assert scorer.evaluated is not None
    scorer.evaluated.save(tmp_path)
    kept = evaluated.load(tmp_path)
    assert kept is not None and kept.is_comparable(scorer.evaluated)
    assert scorer.score(kept.scores, kept.references) == scores


def test_equal_rows_are_equal_files(scorer: Scorer, tmp_path: Path) -> None:
    """A reproduced checkpoint has the same bytes."""
    assert scorer.evaluated is not None
    contents = []
    for name in "ab":
        (folder := tmp_path / name).mkdir()
        scorer.evaluated.save(folder)
        contents.append((folder / FILE).read_bytes())
    assert contents[0] == contents[1]


def test_rows_are_kept_in_the_order_of_the_split() -> None:
    """The second row of the split was evaluated first, then the third, then the first."""
    made = Evaluated(np.array([1.1, 2.2, 0.0]), [[1], [2], [0]]).in_place(np.array([1, 2, 0]))
    assert list(made.scores) == [0.0, 1.1, 2.2] and made.references == [[0], [1], [2]]


@pytest.mark.parametrize(
    "other", [np.array([0, 1]), np.array([0, 1, 1]), [[0], [1], [0]]], ids=["fewer", "other labels", "lists"]
)
def test_other_rows_are_not_comparable(other: Any) -> None:
    rows = Evaluated(np.zeros(3), np.array([0, 1, 0]))
    assert rows.is_comparable(Evaluated(np.ones(3), np.array([0, 1, 0])))
    assert not rows.is_comparable(Evaluated(np.zeros(3), other))


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 torn", b"no archive at all"])
def test_a_file_that_is_missing_or_damaged_says_nothing(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / FILE).write_bytes(content)
    assert evaluated.load(tmp_path) is None
