"""Writes predictions as a sample submission has them: its columns, its ids and their order.

The first column of a sample holds ids, the others are filled. `data.submission.values` says with what; null:
what the sample's own values show.
"""

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from datasets import Dataset

from finesweep.config.run import Values
from finesweep.errors import ConfigError, OutputError
from finesweep.io.atomic import write_text
from finesweep.tasks.base import Array, Task
from finesweep.tasks.cells import is_number

KEY = "data.submission.template"


@dataclass(frozen=True)
class Sample:
    """A sample submission as it was read. `cells[row]` are the values of the columns to be filled."""

    path: Path
    header: list[str]
    ids: list[str]
    cells: list[list[str]]
    delimiter: str
    sha256: str

    @property
    def columns(self) -> list[str]:
        return self.header[1:]


@dataclass(frozen=True)
class Submission:
    """How predictions are written: for each row of the sample, the row to predict, and what fills columns."""

    sample: Sample
    rows: list[int]  # of the test split, in the order of the sample
    values: Values

    @property
    def suffix(self) -> str:
        return self.sample.path.suffix.lower()

    def describe(self, names: Sequence[str], task: Task) -> str:
        """Says in a sentence, for people, what the file will hold."""
        what = self.values.value
        positive = task.positive_id(names)
        if self.values is Values.probabilities and len(self.sample.columns) == 1 and positive is not None:
            what = f"probabilities of {names[positive]!r}"
        columns = ", ".join(map(repr, self.sample.columns))
        return (
            f"predictions follow {self.sample.path}: {len(self.rows)} rows by {self.sample.header[0]!r}, "
            f"{what} in {columns} (data.submission.values)"
        )


def values_of(task: Task, sample: Sample, names: Sequence[str]) -> Values:
    """Decides what fills the columns. Raises: ConfigError if the task cannot fill them, or nothing tells."""
    wanted, columns = task.config.submission.values, sample.columns
    if len(columns) > 1 and set(columns) != set(names):
        legal = f"a sample with one column after its ids, or a column for each of {', '.join(names)}"
        raise ConfigError.at(KEY, str(sample.path), f"{legal}; it has {', '.join(columns)}")
    if wanted is Values.probabilities and (problem := _no_probabilities(task, columns, names)):
        raise ConfigError.at("data.submission.values", wanted.value, f"labels, or null: {problem}")
    if wanted is not None:
        return wanted
    shown = _shown(task, sample, names)
    if shown is None or (shown is Values.probabilities and _no_probabilities(task, columns, names)):
        raise ConfigError(
            f"data.submission.values: {sample.path} does not show by its values what fills "
            f"{', '.join(columns)}; set data.submission.values=labels or probabilities"
        )
    return shown


def _no_probabilities(task: Task, columns: Sequence[str], names: Sequence[str]) -> str | None:
    """Explains why these columns cannot hold probabilities; None if they can."""
    if not task.has_probabilities:
        return f"data.problem_type={task.problem_type.value} has no probabilities"
    if len(columns) == 1 and task.positive_id(names) is None:
        return "one column holds the probability of the positive of two labels; see data.positive_label"
    return None


def _shown(task: Task, sample: Sample, names: Sequence[str]) -> Values | None:
    """Returns what the sample's values look like; None if that is not plain."""
    cells = {cell.strip() for row in sample.cells for cell in row}
    if not task.has_probabilities or cells <= ({"0", "1"} if len(sample.columns) > 1 else set(names)):
        return Values.labels
    return Values.probabilities if all(map(is_number, cells)) else None


def write_own_submission(
    directory: Path, submission: Submission, task: Task, logits: Array, rows: Dataset, names: Sequence[str]
) -> Path:
    """Writes `directory/submission.csv`, or .tsv, whole or not at all. Raises: OutputError."""
    path = directory / f"submission{submission.suffix}"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        write_text(path, submission_text(submission, task, logits, rows, names))
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error}") from error
    return path


def submission_text(
    submission: Submission, task: Task, logits: Array, rows: Dataset, names: Sequence[str]
) -> str:
    """Returns the content of the file. rows: the encoded rows to predict, which `logits` are of."""
    sample = submission.sample
    filled = list(_filled(submission, task, logits, rows, names))
    lines = [[number, *filled[row]] for number, row in zip(sample.ids, submission.rows, strict=True)]
    return _table([sample.header, *lines], sample.delimiter, quotes=submission.suffix != ".tsv")


def _table(rows: list[list[str]], delimiter: str, quotes: bool) -> str:
    if not quotes:
        return "".join(delimiter.join(row) + "\n" for row in rows)
    text = io.StringIO(newline="")
    csv.writer(text, delimiter=delimiter, lineterminator="\n").writerows(rows)
    return text.getvalue()


def _filled(
    submission: Submission, task: Task, logits: Array, rows: Dataset, names: Sequence[str]
) -> Iterator[list[str]]:
    """Yields the cells of each predicted row, in the order of the test split."""
    columns = submission.sample.columns
    if len(columns) == 1 and submission.values is Values.labels:
        yield from task.answers(logits, rows, names)[1]
        return
    scores = task.scores(logits)  # [rows, labels] float64
    if submission.values is Values.labels:
        decided = task.decide(scores)
        flags = decided if decided.ndim == 2 else np.eye(len(names), dtype=np.int64)[decided]
        order = [list(names).index(name) for name in columns]
        yield from ([str(flag) for flag in row] for row in flags[:, order])
        return
    positive = task.positive_id(names) if len(columns) == 1 else None
    order = [list(names).index(name) for name in columns] if positive is None else [positive]
    yield from ([f"{share:.6g}" for share in row] for row in scores[:, order])
