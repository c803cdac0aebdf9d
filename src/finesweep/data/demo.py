"""The demo: a generated sentence-pair task that a tiny BERT with random weights learns in seconds, offline.

The model decides whether a sentence answers a question, that is, whether it states the relation that the
question asks for. Names are invented and carry no information. In the training rows, one label in twenty is
wrong, so that overfitting costs accuracy; the validation and test labels are all right.
"""

import random
from collections.abc import Sequence

from datasets import Dataset

from finesweep.data.source import ID, Source, make_dataset
from finesweep.errors import ConfigError

ENTAILMENT, NOT_ENTAILMENT = 0, 1
_FLIPPED = 0.05  # the share of wrong labels in the training rows
_RELATIONS = (
    ("Where was {a} born?", ("{a} was born in {b}.", "{a}, born in {b}, met {c}.")),
    ("Who wrote {b}?", ("{a} wrote {b}.", "It was {a} who wrote {b} for {c}.")),
    ("Who lives in {b}?", ("{a} lives in {b}.", "With {c}, {a} lives in {b}.")),
    ("Who works for {b}?", ("{a} works for {b}.", "Like {c}, {a} works for {b}.")),
    ("Who founded {b}?", ("{a} founded {b}.", "With {c}, {a} founded {b}.")),
    ("Who owns {b}?", ("{a} owns {b}.", "Not {c} but {a} owns {b}.")),
)
_SYLLABLES = (
    "ba",
    "do",
    "fe",
    "gi",
    "ka",
    "lo",
    "mi",
    "nu",
    "pa",
    "ra",
    "se",
    "ti",
    "vo",
    "zu",
    "len",
    "mar",
    "tis",
)
_NAMES = [f"{a}{b}".capitalize() for a in _SYLLABLES for b in _SYLLABLES if a != b][:200]
# How many other relations can be stated in place of the one in the question. With two, ten seeds of
# model=demo at learning rate 1e-3 reach accuracy 0.93 to 1.00 in three epochs (0.49 at 3e-5 and at 1e-2).
# With all five, some seeds do not learn the task at all.
_DISTRACTORS = 2
_ROWS = {"validation": 1000, "test": 1000}
_SEEDS = {"train": 1, "validation": 2, "test": 3}


class Demo(Source):
    """The source of the demo's rows. They depend on the split and its size alone, not on the run's seed."""

    names = tuple(_SEEDS)
    label_names = ("entailment", "not_entailment")
    text_columns = ("question", "sentence")

    def __init__(self, train_rows: int) -> None:
        if train_rows < 1:
            raise ConfigError.at("data.demo_rows", train_rows, "an integer above 0")
        self._rows = {"train": train_rows, **_ROWS}

    def where(self, split: str) -> str:
        return f"demo {split}"

    def read(self, split: str, *, labelled: bool) -> Dataset:
        draw = _Draw(_SEEDS[split])
        rows = [_row(draw) for _ in range(self._rows[split])]
        text = {"question": [row[0] for row in rows], "sentence": [row[1] for row in rows]}
        labels = [row[2] for row in rows]
        if split == "train":
            labels = [1 - label if draw.chance(_FLIPPED) else label for label in labels]
        return make_dataset(text, labels if labelled else None, ID)


class _Draw:
    """Draws by `Random.random()` alone, whose numbers stay the same in all versions of Python."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed).random

    def index(self, size: int) -> int:
        return int(self._random() * size)

    def chance(self, probability: float) -> bool:
        return self._random() < probability

    def name(self) -> str:
        return _NAMES[self.index(len(_NAMES))]


def _row(draw: _Draw) -> tuple[str, str, int]:
    """Draws a question, a sentence and their label."""
    relation = draw.index(len(_RELATIONS))
    entailed = draw.chance(0.5)
    stated = relation if entailed else (relation + 1 + draw.index(_DISTRACTORS)) % len(_RELATIONS)
    names = {key: draw.name() for key in "abc"}
    question, sentence = _RELATIONS[relation][0], _pick(draw, _RELATIONS[stated][1])
    return question.format(**names), sentence.format(**names), ENTAILMENT if entailed else NOT_ENTAILMENT


def _pick(draw: _Draw, forms: Sequence[str]) -> str:
    return forms[draw.index(len(forms))]
