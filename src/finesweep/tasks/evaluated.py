"""Keeps what a model said of each evaluated row beside its checkpoint: scores and true labels, no text.

The interval of a score, and whether two models differ, are computed of it.
"""

import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FILE = "evaluation.npz"  # in a checkpoint
LENGTHS = "_lengths"  # ends the name of an array that says how many words each row has
Array = NDArray[Any]


@dataclass(frozen=True)
class Evaluated:
    """The scores of evaluated rows (`Task.scores`) and their true labels, in the order of the split.

    Both: an array with one item a row, or a list of tag ids for each row.
    """

    scores: Any
    references: Any

    def in_place(self, order: Array) -> "Evaluated":
        """Returns the rows in the order of the split. order: the number of each row there, int64 [rows]."""
        places = np.argsort(order)
        return Evaluated(take(self.scores, places), take(self.references, places))

    def save(self, folder: Path) -> None:
        """Writes `FILE` into a checkpoint that is being made."""
        stored = _stored("scores", self.scores) | _stored("references", self.references)
        np.savez_compressed(folder / FILE, allow_pickle=False, **stored)

    def is_comparable(self, other: "Evaluated") -> bool:
        """Tells whether the other evaluation was of the same rows, by their true labels."""
        first, second = _stored("", self.references), _stored("", other.references)
        return first.keys() == second.keys() and all(
            np.array_equal(first[name], second[name]) for name in first
        )


def load(folder: Path) -> Evaluated | None:
    """Reads the file of a checkpoint; None where an earlier version made it, or the file is damaged."""
    try:
        with (folder / FILE).open("rb") as file, np.load(file, allow_pickle=False) as stored:
            return Evaluated(_rows(stored, "scores"), _rows(stored, "references"))
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile, zlib.error):
        return None


def take(rows: Any, chosen: Array) -> Any:
    """Returns the chosen rows of an array, or of a list with an item for each row. chosen: int64 [n]."""
    return rows[chosen] if isinstance(rows, np.ndarray) else [rows[row] for row in chosen]


def _stored(name: str, rows: Any) -> dict[str, Array]:
    if isinstance(rows, np.ndarray):
        return {name: rows}
    return {name: _flat(rows), name + LENGTHS: np.array([len(row) for row in rows], np.int64)}


def _flat(rows: Sequence[Sequence[int]]) -> Array:
    return np.array([tag for row in rows for tag in row], np.int64)


def _rows(stored: Any, name: str) -> Any:
    if name + LENGTHS not in stored:
        return stored[name]
    ends = np.cumsum(stored[name + LENGTHS])[:-1]
    return [row.tolist() for row in np.split(stored[name], ends)]
