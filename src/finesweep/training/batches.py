"""Ready batches: slices and pads encoded rows straight from Arrow's memory, without Python lists of tokens.

The batches equal those of the library's collators, value for value.
"""

import inspect
from collections.abc import Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from datasets import Dataset
from numpy.typing import NDArray
from transformers import PreTrainedTokenizerBase

from finesweep.tasks.tokens import IGNORED

Array = NDArray[Any]
Batch = dict[str, torch.Tensor]


class _Lists(NamedTuple):
    """A column whose cells are lists: row i is values[starts[i] : starts[i + 1]]."""

    values: Array
    starts: Array  # [rows + 1] int64
    padding: int

    def batch(self, rows: Sequence[int], left: bool) -> Array:
        """Pads the lists of some rows to the longest of them: [rows, longest]."""
        spans = [(self.starts[row], self.starts[row + 1]) for row in rows]
        longest = max(end - start for start, end in spans)
        batch = np.full((len(rows), longest), self.padding, self.values.dtype)
        for line, (start, end) in zip(batch, spans, strict=True):
            line[longest - (end - start) if left else 0 :][: end - start] = self.values[start:end]
        return batch


class ReadyRows(torch.utils.data.Dataset[Batch]):
    """Encoded rows as torch's DataLoader reads them, a whole batch at a time."""

    def __init__(self, rows: Dataset, tokenizer: PreTrainedTokenizerBase, model: Any) -> None:
        """model: takes the columns that its `forward` names; those that the rows lack are left out."""
        names = inspect.signature(model.forward).parameters
        table = rows.with_format("arrow")[:]
        paddings = {"input_ids": tokenizer.pad_token_id, "labels": IGNORED,
                    "token_type_ids": tokenizer.pad_token_type_id}  # fmt: skip
        self._left = tokenizer.padding_side == "left"
        self._lists: dict[str, _Lists] = {}
        self._cells: dict[str, Array] = {}
        for name in (name for name in names if name in table.column_names):
            column = table.column(name).combine_chunks()
            if isinstance(column, pa.ChunkedArray):  # of no rows
                column = pa.array([], column.type)
            if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
                lengths = pc.list_value_length(column).to_numpy(zero_copy_only=False)
                starts = np.concatenate([[0], np.cumsum(lengths, dtype=np.int64)])
                values = column.flatten().to_numpy(zero_copy_only=False)
                self._lists[name] = _Lists(values, starts, paddings.get(name, 0))
            else:
                self._cells[name] = column.to_numpy(zero_copy_only=False)
        self.lengths: Array = np.asarray(rows["length"][:])  # of each row, in tokens

    @cached_property
    def tokens(self) -> Array:
        """The ids of all tokens that batches contain, with that of the padding; sorted."""
        column = self._lists["input_ids"]
        return np.unique(np.append(column.values, column.padding))

    def __len__(self) -> int:
        return len(self.lengths)

    def __getitem__(self, row: int) -> Batch:
        return self.__getitems__([row])

    def __getitems__(self, rows: Sequence[int]) -> Batch:
        """Returns a batch. Integers become int64, other numbers float32, as the library's collators do it."""
        arrays = {name: column.batch(rows, self._left) for name, column in self._lists.items()}
        arrays |= {name: column[np.asarray(rows)] for name, column in self._cells.items()}
        return {name: torch.from_numpy(_as_learned(array)) for name, array in arrays.items()}


def _as_learned(array: Array) -> Array:
    return array.astype(np.int64 if np.issubdtype(array.dtype, np.integer) else np.float32)


def is_ready(batch: Any) -> Any:
    """The collator of `ReadyRows`, which gives whole batches."""
    return batch
