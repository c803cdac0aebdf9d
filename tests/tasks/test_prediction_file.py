from pathlib import Path
from typing import Any

import numpy as np
import pytest
from datasets import Dataset
from labelled import MULTI_LABEL, REGRESSION, TOKENS, task

from finesweep.config.run import ProblemType
from finesweep.errors import ConfigError, SubmissionError
from finesweep.tasks import Task
from finesweep.tasks.prediction_file import check_names, write_predictions

NO_ROWS = Dataset.from_dict({})
THREE = ["a", "b", "c"]


def body(path: Path) -> str:
    return path.read_text()


@pytest.mark.parametrize(
    ("of", "logits", "names", "text"),
    [
        (task(), [[0, 1], [1, 0]], ["no", "yes"], "index\tprediction\n0\tyes\n1\tno\n"),
        (task(REGRESSION), [[-0.25], [7.5]], ["value"], "index\tprediction\n0\t-0.250000\n1\t7.500000\n"),
        (task(MULTI_LABEL), [[1, -1, 1], [-1, -1, -1]], THREE, "index\tprediction\n0\ta|c\n1\t\n"),
        (task(MULTI_LABEL, label_separator=", "), [[1, -1, 1]], THREE, "index\tprediction\n0\ta, c\n"),
        (task(MULTI_LABEL, label_columns=THREE), [[1, -1, 1]], THREE, "index\ta\tb\tc\n0\t1\t0\t1\n"),
        (task(MULTI_LABEL, threshold=0.9), [[3, 1, 3]], THREE, "index\tprediction\n0\ta|c\n"),
    ],
)
def test_each_type_answers_in_its_own_labels(
    of: Task, logits: list[Any], names: list[str], text: str, tmp_path: Path
) -> None:
    path = write_predictions(tmp_path, "test", *of.answers(np.asarray(logits, np.float32), NO_ROWS, names))
    assert body(path) == text


def test_a_tag_for_each_word_also_for_those_that_were_cut_off(tmp_path: Path) -> None:
    rows = Dataset.from_dict({"words": [[-1, 0, -1, 1, -1], [-1, 0, -1]], "word_count": [3, 1]})
    tags = np.eye(3)[[[2, 0, 2, 1, 2], [2, 0, 2, 0, 0]]]  # [rows, tokens, tags]; the last two are padding
    path = write_predictions(tmp_path, "test", *task(TOKENS).answers(tags, rows, ["B-X", "I-X", "O"]))
    assert body(path) == "index\tprediction\n0\tB-X I-X O\n1\tB-X\n"


@pytest.mark.parametrize(("split", "name"), [("test[:2]", "test_2.tsv"), ("../up", "up.tsv")])
def test_a_part_of_a_split_is_a_file_of_its_own_inside_the_folder(
    split: str, name: str, tmp_path: Path
) -> None:
    assert write_predictions(tmp_path, split, ["prediction"], [["x"]]) == tmp_path / name


@pytest.mark.parametrize(
    ("problem_type", "name"),
    [(ProblemType.classification, "a\tb"), (ProblemType.classification, "a\nb"), (MULTI_LABEL, "a|b")],
)
def test_a_name_that_no_file_can_hold_is_refused_before_training(
    problem_type: ProblemType, name: str
) -> None:
    with pytest.raises(ConfigError, match="data.labels: got 'a.*prediction file can hold"):
        check_names(task(problem_type), ["fine", name])
    check_names(task(problem_type), ["fine", "fine too"])


def test_a_number_that_is_none_is_no_answer(tmp_path: Path) -> None:
    with pytest.raises(SubmissionError, match="row 1: predicted nan; expected a number"):
        task(REGRESSION).answers(np.array([[1.0], [np.nan]]), NO_ROWS, ["value"])
