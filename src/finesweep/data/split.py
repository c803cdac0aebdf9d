"""Split expressions (`validation[:80%]`, `a+b`) and the seeded hold-out."""

import random
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from datasets import Dataset, ReadInstruction

from finesweep.data.source import LABEL, Source
from finesweep.errors import ConfigError


@dataclass(frozen=True)
class Part:
    """A run of consecutive rows of one split; `rows[0]` is row `start` (from 0) of that split."""

    split: str
    start: int
    rows: Dataset


class Parts:
    """Reads the splits that an expression names, each once."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._read: dict[tuple[str, bool], Dataset] = {}

    def of(self, key: str, expression: str, *, labelled: bool = True) -> list[Part]:
        """Gives the parts of an expression in order, sliced and rounded by the rules of `datasets`.

        Raises:
            ConfigError: `key` names an unknown split, is no expression, or selects no rows.
            DataError: a split's rows cannot be read.
        """
        lengths = _Lengths(self, labelled)
        try:
            ranges = ReadInstruction.from_spec(expression.replace(" ", "")).to_absolute(lengths)
        except ValueError as error:
            raise self._illegal(key, expression, str(error)) from error
        empty = [found.splitname for found in ranges if found.to <= found.from_]
        if empty:
            sizes = ", ".join(f"{name} has {lengths[name]}" for name in empty)
            raise self._illegal(key, expression, f"that selects no rows ({sizes})")
        parts = []
        for found in ranges:
            rows = self.rows(found.splitname, labelled).select(range(found.from_, found.to))
            parts.append(Part(found.splitname, found.from_, rows))
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
    """Row counts by split; looking one up reads that split and no other."""

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
    """Splits off a random `share` of `train`; returns the rest and the share, both in file order.

    `stratify`: the share is taken of each label's rows.
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
            "data.holdout", share, f"a share that leaves rows on both sides; train has {len(train)}"
        )
    return train.select(rest), train.select(sorted(held))
