"""Describes the rows of a run before it trains: sizes, labels, what was guessed, and what looks wrong.

No text of a row is shown, only counts, column names and label names.
"""

import sys
import unicodedata
from collections import Counter
from collections.abc import Container, Iterator, Sequence
from typing import Any

import numpy as np
from datasets import Dataset

from finesweep.config.run import DataConfig, TrainerConfig
from finesweep.data.load import Splits
from finesweep.data.source import LABEL
from finesweep.io import terminal
from finesweep.tasks import Task, task_of

_LISTED = 10  # labels in one line
_MISSING = {"nan", "none", "null", "na", "n/a", "#n/a"}  # how other programs write a cell without a value


def overview(config: DataConfig, splits: Splits, task: Task) -> list[str]:
    """Returns lines about all splits, for people."""
    parts = {"train": splits.train, "eval": splits.eval, "final": splits.final_eval}
    labelled = {name: rows for name, rows in parts.items() if rows is not None}
    rows = [*labelled.items(), *((f"test {name}", rows) for name, rows in splits.test.items())]
    columns = " and ".join(config.text_columns)
    return [
        f"data {config.name}: {'; '.join(f'{name} {len(part):,} rows' for name, part in rows)}",
        f"data {config.name}: {columns} -> {', '.join(task.label_columns)}",
        *(
            f"{'labels' if task.has_names else 'numbers'} of {name}: {_labels(part, splits, task)}"
            for name, part in labelled.items()
        ),
        *(f"note: {note}" for note in splits.notes),
    ]


def step_line(config: TrainerConfig, is_searched: bool = False) -> str | None:
    """Returns a line about the rows of an optimizer step, if several processes train together.

    is_searched: its parts may be other ones in each trial, so they have their names in place of numbers.
    """
    if config.num_processes == 1:
        return None
    rows, batches = config.per_device_train_batch_size, config.gradient_accumulation_steps
    parts = f"{rows} rows x {batches} batches = {config.num_processes * rows * batches} rows"
    if is_searched:
        parts = "per_device_train_batch_size x gradient_accumulation_steps rows"
    return f"each step: {config.num_processes} processes x {parts}"


def show(config: DataConfig, splits: Splits) -> None:
    """Prints the overview and the suspicions on standard error, for the people who start a sweep."""
    task = task_of(config)
    suspicious = (f"suspicious: {text}" for text in suspicions(config, splits, task))
    for line in (*overview(config, splits, task), *suspicious):
        terminal.show(line, sys.stderr)  # names of labels and columns come from the data


def _labels(rows: Dataset, splits: Splits, task: Task) -> str:
    if splits.labels is None:
        numbers = np.asarray(rows[LABEL][:], np.float64)
        return (
            f"mean {numbers.mean():.6g}, standard deviation {numbers.std():.6g}, "
            f"{numbers.min():.6g} to {numbers.max():.6g}"
        )
    counts = task.class_counts(rows[LABEL][:], len(splits.labels))
    pairs = sorted(zip(splits.labels, counts, strict=True), key=lambda pair: -pair[1])
    more = f", and {len(pairs) - _LISTED} more" if len(pairs) > _LISTED else ""
    return ", ".join(f"{name} ({count:,})" for name, count in pairs[:_LISTED]) + more


def suspicions(config: DataConfig, splits: Splits, task: Task) -> list[str]:
    """Returns sentences about what is legal but looks wrong; none for most data."""
    found = _of_numbers(splits) if splits.labels is None else _of_names(splits, splits.labels, task)
    return [*found, *_of_texts(config, splits)]


def _of_numbers(splits: Splits) -> Iterator[str]:
    for name, rows in (("train", splits.train), ("eval", splits.eval)):
        if len(set(rows[LABEL][:])) == 1:
            yield f"all rows of {name} have the same number: it cannot be learned from or select"


def _of_names(splits: Splits, names: Sequence[str], task: Task) -> Iterator[str]:
    present = [
        name
        for name, count in zip(names, task.class_counts(splits.eval[LABEL][:], len(names)), strict=True)
        if count
    ]
    if len(present) < 2:
        only = f"only the label {present[0]!r}" if present else "no label"
        yield (
            f"the {len(splits.eval)} rows that select the best checkpoint have {only}: a score on them "
            "cannot tell a good model from a poor one (data.eval_split, data.holdout)"
        )
    counts = task.class_counts(splits.train[LABEL][:], len(names))
    if single := int((counts == 1).sum()):
        yield f"{single} of {len(names)} labels are on a single row of train"
    if unseen := int((counts == 0).sum()):
        yield f"{unseen} of {len(names)} labels are on no row of train"
    yield from _of_spelling(names)


def _of_spelling(names: Sequence[str]) -> Iterator[str]:
    folded = Counter(name.casefold() for name in names)
    if alike := sorted(name for name in names if folded[name.casefold()] > 1):
        yield f"labels differ in upper and lower case alone: {', '.join(alike[:_LISTED])}"
    seen = Counter(map(_seen, names))
    if alike := sorted(name for name in names if seen[_seen(name)] > 1):
        shown = ", ".join(map(ascii, alike[:_LISTED]))
        yield f"labels look the same, but consist of other characters: {shown}"
    if missing := [name for name in names if name.casefold() in _MISSING]:
        yield f"the label {missing[0]!r} is a name here; in other programs it marks an empty cell"


def _seen(name: str) -> str:
    """Returns what a person sees of a name: composed characters, and none without width."""
    visible = "".join(character for character in name if unicodedata.category(character) != "Cf")
    return unicodedata.normalize("NFC", visible)


def _of_texts(config: DataConfig, splits: Splits) -> Iterator[str]:
    train, labels = _texts(config, splits.train), list(map(str, splits.train[LABEL][:]))
    for name in config.text_columns:
        column = list(map(str, splits.train[name][:]))
        if len(column) > 1 and column.count(column[0]) == len(column):
            yield f"column {name!r} is the same on all rows of train"
    of_text: dict[Any, set[str]] = {}
    for text, label in zip(train, labels, strict=True):
        of_text.setdefault(text, set()).add(label)
    contradictory = sum(len(of_text[text]) > 1 for text in train)
    if contradictory and splits.labels is not None:
        yield f"{contradictory} rows of train have a text that is there with another label, too"
    chosen = _texts(config, splits.eval)
    yield from _shared("eval", chosen, "train", of_text)
    if splits.final_eval is not None and splits.shared:
        yield (
            f"{splits.shared} of {len(splits.final_eval)} rows of final are trained on or select, so their "
            "score is too good for new rows (data.final_eval_split; with data.holdout also data.eval_split)"
        )
    if splits.final_eval is not None and splits.shared < len(splits.final_eval):
        final = _texts(config, splits.final_eval)
        yield from _shared("final", final, "train", of_text)
        yield from _shared("final", final, "eval", set(chosen))


def _shared(name: str, texts: Sequence[object], other: str, known: Container[object]) -> Iterator[str]:
    if shared := sum(text in known for text in texts):
        yield f"{shared} of {len(texts)} rows of {name} have a text that is in {other}, too"


def _texts(config: DataConfig, rows: Dataset) -> list[tuple[str, ...]]:
    """Returns each row's texts. Lists of words are joined."""
    return list(zip(*(map(str, rows[name][:]) for name in config.text_columns), strict=True))
