"""Reads split expressions (`validation[:80%]`, `a+b`), and draws the hold-out."""

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from datasets import Dataset, ReadInstruction

from finesweep.data.source import LABEL, Source
from finesweep.errors import ConfigError


@dataclass(frozen=True)
class Part:
    """Consecutive rows of one split; `rows[0]` is row `start` of that split, counted from 0."""

    split: str
    start: int
    rows: Dataset


class Parts:
    """Reads the splits that expressions name, each split once."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._read: dict[tuple[str, bool], Dataset] = {}

    def of(self, key: str, expression: str, *, labelled: bool = True) -> list[Part]:
        """Returns an expression's parts in order, sliced and rounded by the rules of `datasets`.

        Raises:
            ConfigError: the value of `key` is no expression, names an unknown split, or selects no rows.
            DataError: a split's rows cannot be read.
        """
        lengths = _Lengths(self, labelled)
        try:
            ranges = ReadInstruction.from_spec(expression.replace(" ", "")).to_absolute(lengths)
        except ValueError as error:
            raise self._illegal(key, expression, str(error)) from error
        empty = [span.splitname for span in ranges if span.to <= span.from_]
        if empty:
            sizes = ", ".join(f"{name} has {lengths[name]}" for name in empty)
            raise self._illegal(key, expression, f"it selects no rows ({sizes})")
        parts = []
        for span in ranges:
            rows = self.rows(span.splitname, labelled).select(range(span.from_, span.to))
            parts.append(Part(span.splitname, span.from_, rows))
        return parts

    def rows(self, split: str, labelled: bool) -> Dataset:
        if (split, labelled) not in self._read:
            self._read[split, labelled] = self._source.read(split, labelled=labelled)
        return self._read[split, labelled]

    @property
    def names(self) -> list[str]:
        return list(self._source.names)

    def _illegal(self, key: str, expression: str, problem: str) -> ConfigError:
        legal = f"{', '.join(self.names)}; a slice such as {self.names[0]}[:80%]; several joined with +"
        hint = f"; {self._source.hint}" if self._source.hint else ""
        return ConfigError(f"data.{key}: got {expression!r}: {problem}; legal: {legal}{hint}")


class _Lengths(Mapping[str, int]):
    """Row counts by split. Looking up a count reads that split, and no other."""

    def __init__(self, parts: Parts, labelled: bool) -> None:
        self._parts, self._labelled = parts, labelled

    def __contains__(self, split: object) -> bool:
        return split in self._parts.names

    def __getitem__(self, split: str) -> int:
        return len(self._parts.rows(split, self._labelled))

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts.names)

    def __len__(self) -> int:
        return len(self._parts.names)


def hold_out(train: Dataset, share: float, seed: int, *, stratify: bool) -> tuple[Dataset, Dataset]:
    """Holds out a random `share` of `train`. Returns the other rows and the held-out ones, in file order.

    stratify: take the share from each label's rows, not from all rows together.
    Raises: ConfigError if either side would have no rows.
    """
    groups: dict[object, list[int]] = defaultdict(list)
    for index, label in enumerate(train[LABEL]):
        groups[label if stratify else None].append(index)
    generator = random.Random(seed)
    held: list[int] = []
    for _, rows in sorted(groups.items(), key=str):
        generator.shuffle(rows)
        held += rows[: round(len(rows) * share)]
    chosen = set(held)
    rest = [index for index in range(len(train)) if index not in chosen]
    if not held or not rest:
        raise ConfigError.at(
            "data.holdout",
            share,
            f"a share that leaves rows both in train and in the hold-out; train has {len(train)}",
        )
    return train.select(rest), train.select(sorted(held))
