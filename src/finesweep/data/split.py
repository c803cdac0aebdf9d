"""Reads split expressions (`validation[:80%]`, `a+b`), and draws the hold-out."""

import math
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
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

    @property
    def end(self) -> int:
        return self.start + len(self.rows)


class Parts:
    """Reads the splits that expressions name, each split once."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self.named: list[str] = []  # the splits that expressions have named so far
        self._read: dict[tuple[str, bool], Dataset] = {}

    def of(self, key: str, expression: str, *, labelled: bool = True) -> list[Part]:
        """Returns an expression's parts in order, sliced and rounded by the rules of `datasets`.

        Raises:
            ConfigError: the value of `key` is no expression, names an unknown split, or selects no rows.
            DataError: a split's rows cannot be read.
        """
        pieces = [self._piece(key, expression, text) for text in self._summands(expression)]
        self.named += [name for name, _ in pieces if name not in self.named]
        numbered = "+".join(f"{_alias(self.named.index(name))}{cut}" for name, cut in pieces)
        try:
            ranges = ReadInstruction.from_spec(numbered).to_absolute(_Lengths(self, labelled))
        except ValueError as error:
            raise self._illegal(key, expression, "it is no expression for splits") from error
        parts = []
        for (name, _), span in zip(pieces, ranges, strict=True):
            rows = self.rows(name, labelled)
            if span.to <= span.from_:
                raise self._illegal(key, expression, f"it selects no rows ({name} has {len(rows)})")
            parts.append(Part(name, span.from_, rows.select(range(span.from_, span.to))))
        return parts

    def _summands(self, expression: str) -> list[str]:
        """Splits an expression at each +, unless all of it is the name of a split."""
        return [expression] if self._source.find(expression) else expression.split("+")

    def _piece(self, key: str, expression: str, text: str) -> tuple[str, str]:
        """Splits `dev-matched[:80%]` into name and slice. Raises: ConfigError for an unknown name."""
        if whole := self._source.find(text):
            return whole, ""
        name, bracket, cut = text.partition("[")
        found = self._source.find(name.strip())
        if found is None:
            raise self._illegal(key, expression, f"there is no split {name.strip()!r}")
        return found, (bracket + cut).replace(" ", "")

    def rows(self, split: str, labelled: bool) -> Dataset:
        if (split, labelled) not in self._read:
            self._read[split, labelled] = self._source.read(split, labelled=labelled)
        return self._read[split, labelled]

    def _illegal(self, key: str, expression: str, problem: str) -> ConfigError:
        names = list(self._source.names)
        legal = f"{', '.join(names)}; a slice such as {names[0]}[:80%]; several joined with +"
        hint = f"; {self._source.hint}" if self._source.hint else ""
        return ConfigError(f"data.{key}: got {expression!r}: {problem}; legal: {legal}{hint}")


def shared_rows(parts: Sequence[Part], used: Sequence[Part]) -> int:
    """Counts the rows that are among the used ones, by their places."""
    spans: dict[str, list[range]] = defaultdict(list)
    for part in used:
        spans[part.split].append(range(part.start, part.end))
    rows = ((part.split, row) for part in parts for row in range(part.start, part.end))
    return sum(any(row in span for span in spans[split]) for split, row in rows)


def _alias(index: int) -> str:
    """Returns a name for a split that the expressions of `datasets` can hold; they know no dashes."""
    return f"split{index}"


class _Lengths(Mapping[str, int]):
    """Row counts by alias of a split. Looking up a count reads that split, and no other."""

    def __init__(self, parts: Parts, labelled: bool) -> None:
        self._parts, self._labelled = parts, labelled

    def __contains__(self, split: object) -> bool:
        return split in set(self)

    def __getitem__(self, split: str) -> int:
        name = self._parts.named[list(self).index(split)]
        return len(self._parts.rows(name, self._labelled))

    def __iter__(self) -> Iterator[str]:
        return map(_alias, range(len(self)))

    def __len__(self) -> int:
        return len(self._parts.named)


def hold_out(train: Dataset, share: float, seed: int, *, stratify: bool) -> tuple[Dataset, Dataset]:
    """Holds out a random `share` of `train`. Returns the other rows and the held-out ones, in file order.

    stratify: take the share from each label's rows, not from all rows together. Each label keeps a row in
    train. Raises: ConfigError if either side would have no rows.
    """
    by_label: dict[object, list[int]] = defaultdict(list)
    for index, label in enumerate(train[LABEL][:]):
        by_label[label if stratify else None].append(index)
    generator = random.Random(seed)
    groups = [rows for _, rows in sorted(by_label.items(), key=str)]
    for rows in groups:
        generator.shuffle(rows)
    counts = held_counts([len(rows) for rows in groups], share, generator)
    chosen = {index for rows, count in zip(groups, counts, strict=True) for index in rows[:count]}
    rest = [index for index in range(len(train)) if index not in chosen]
    if not chosen or not rest:
        raise ConfigError.at(
            "data.holdout",
            share,
            f"a share that leaves rows both in train and in the hold-out; train has {len(train)}",
        )
    return train.select(rest), train.select(sorted(chosen))


def held_counts(sizes: list[int], share: float, generator: random.Random) -> list[int]:
    """Returns how many rows of each label are held out; of each, one row at least is not.

    Each label's share is rounded by itself. Where that misses the share of all rows by more than a tenth, as
    with many labels of few rows, the largest remainders get the rows; `generator` breaks ties.
    """
    wanted = round(sum(sizes) * share)
    counts = [min(round(size * share), size - 1) for size in sizes]
    if abs(sum(counts) - wanted) <= wanted / 10:
        return counts
    counts = [min(math.floor(size * share), size - 1) for size in sizes]
    order = sorted(range(len(sizes)), key=lambda i: (-(sizes[i] * share % 1), generator.random()))
    while sum(counts) < wanted and (room := [i for i in order if counts[i] < sizes[i] - 1]):
        for index in room[: wanted - sum(counts)]:
            counts[index] += 1
    return counts
