"""GLUE: its tasks under the hub's names, and a reader of the official download, `DIR/<Task>/train.tsv`."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from datasets import Dataset

from finesweep.data.source import ID, SCORE, Source, at_line, make_dataset
from finesweep.data.tsv import Tsv, read_tsv
from finesweep.errors import DataError

_FILES = {"train": "train.tsv", "validation": "dev.tsv", "test": "test.tsv"}
_MNLI_FILES = {
    "train": "train.tsv",
    "validation_matched": "dev_matched.tsv",
    "validation_mismatched": "dev_mismatched.tsv",
    "test_matched": "test_matched.tsv",
    "test_mismatched": "test_mismatched.tsv",
}
_COLA_HEADER = ("source", "label", "star", "sentence")  # CoLA's train.tsv and dev.tsv have no header
_AX_FOLDERS, _AX_FILES = ("diagnostic", "AX"), ("diagnostic.tsv", "AX.tsv")
DIAGNOSTIC = "ax"  # the split of MNLI that is GLUE's diagnostic set


@dataclass(frozen=True)
class Task:
    """One GLUE task.

    `names` are the labels on the hub and `codes` the same labels in the files, both ordered by the hub's ids.
    """

    hub_name: str
    folder: str
    text: Mapping[str, str]  # column on the hub -> column in the files
    names: tuple[str, ...] | None  # None: the label is a score from 0 to 5
    codes: tuple[str, ...] = ()
    label_column: str = "label"  # in the files
    files: Mapping[str, str] = field(default_factory=lambda: _FILES)

    @property
    def splits(self) -> list[str]:
        return [*self.files, DIAGNOSTIC] if self.hub_name == "mnli" else list(self.files)


def has_labels(split: str) -> bool:
    """Tells whether a split has public labels; the benchmark keeps those of its test splits secret."""
    return not split.startswith("test") and split != DIAGNOSTIC


_SENTENCE = {"sentence": "sentence"}
_SENTENCES = {"sentence1": "sentence1", "sentence2": "sentence2"}
_ENTAILMENT = ("entailment", "not_entailment")
_NLI = ("entailment", "neutral", "contradiction")
_MNLI = Task(
    "mnli",
    "MNLI",
    {"premise": "sentence1", "hypothesis": "sentence2"},
    _NLI,
    _NLI,
    "gold_label",
    _MNLI_FILES,
)
# Source of names and ids: the features of https://huggingface.co/datasets/nyu-mll/glue
TASKS = {
    "cola": Task("cola", "CoLA", _SENTENCE, ("unacceptable", "acceptable"), ("0", "1")),
    "sst2": Task("sst2", "SST-2", _SENTENCE, ("negative", "positive"), ("0", "1")),
    "mrpc": Task(
        "mrpc",
        "MRPC",
        {"sentence1": "#1 String", "sentence2": "#2 String"},
        ("not_equivalent", "equivalent"),
        ("0", "1"),
        "Quality",
    ),
    "stsb": Task("stsb", "STS-B", _SENTENCES, None, label_column="score"),
    "qqp": Task(
        "qqp",
        "QQP",
        {"question1": "question1", "question2": "question2"},
        ("not_duplicate", "duplicate"),
        ("0", "1"),
        "is_duplicate",
    ),
    "mnli": _MNLI,
    "ax": _MNLI,  # the same data as mnli; only the rows to predict differ
    "qnli": Task("qnli", "QNLI", {"question": "question", "sentence": "sentence"}, _ENTAILMENT, _ENTAILMENT),
    "rte": Task("rte", "RTE", _SENTENCES, _ENTAILMENT, _ENTAILMENT),
    "wnli": Task("wnli", "WNLI", _SENTENCES, ("not_entailment", "entailment"), ("0", "1")),
}


class GlueFiles(Source):
    """Reads the official download. `root` holds one folder per task, or is itself the task's folder."""

    def __init__(self, task: Task, root: Path) -> None:
        if not root.is_dir():
            raise DataError(
                f"data.path: {root} is not a folder; expected the official GLUE download, "
                f"with {root / task.folder / task.files['train']}"
            )
        self._task, self._root = task, root
        self.names = task.splits
        self.label_names = task.names

    def where(self, split: str) -> str:
        return str(self._file(split))

    def read(self, split: str, *, labelled: bool) -> Dataset:
        task, path = self._task, self._file(split)
        if labelled and not has_labels(split):
            raise DataError(f"{path}: the split {split!r} of GLUE {task.hub_name} has no labels")
        header = _COLA_HEADER if task.hub_name == "cola" and has_labels(split) else None
        wanted = [*task.text.values(), *([task.label_column] if labelled else [])]
        # In QQP's training and development files, some questions contain a line break, which splits their row
        # into two short lines. These are skipped, as in the hub's copy.
        # Source: https://github.com/nyu-mll/GLUE-baselines/issues/5
        broken = task.hub_name == "qqp" and has_labels(split)
        tsv = read_tsv(path, wanted, fixed_header=header, skip_short_lines=broken)
        text = {name: tsv.columns[column] for name, column in task.text.items()}
        if not labelled:
            return make_dataset(text, None, ID)
        if task.names is None:
            return make_dataset(text, _scores(path, tsv, task), SCORE)
        return make_dataset(text, _ids(path, tsv, task), ID)

    def _file(self, split: str) -> Path:
        folders, files = [self._task.folder], [self._task.files.get(split, "")]
        if split == DIAGNOSTIC:
            folders, files = list(_AX_FOLDERS), list(_AX_FILES)
        known = {_plain(folder) for folder in folders}
        children = [child for child in sorted(self._root.iterdir()) if _plain(child.name) in known]
        for folder in [*children, self._root]:
            for file in files:
                if (folder / file).is_file():
                    return folder / file
        raise DataError(
            f"data.path={self._root}: the split {split!r} of GLUE {self._task.hub_name} is not there; "
            f"looked for {self._root / folders[0] / files[0]} and {self._root / files[0]}; "
            "data.path must be the official download, with one folder per task"
        )


def _plain(name: str) -> str:
    return name.lower().replace("-", "")


def _ids(path: Path, tsv: Tsv, task: Task) -> list[int]:
    ids = {code: index for index, code in enumerate(task.codes)}
    labels = tsv.columns[task.label_column]
    try:
        return [ids[label] for label in labels]
    except KeyError:
        row = next(i for i, label in enumerate(labels) if label not in ids)
        raise DataError(
            f"{at_line(path, tsv.lines[row])}: unknown label {labels[row]!r} in {task.label_column!r}; "
            f"legal: {', '.join(task.codes)}"
        ) from None


def _scores(path: Path, tsv: Tsv, task: Task) -> list[float]:
    return [
        _score(value, at_line(path, line), task.label_column)
        for value, line in zip(tsv.columns[task.label_column], tsv.lines, strict=True)
    ]


def _score(value: str, place: str, column: str) -> float:
    try:
        score = float(value)
    except ValueError:
        score = math.nan
    if not 0 <= score <= 5:
        raise DataError(f"{place}: {column} is {value!r}; legal: a number from 0 to 5")
    return score
