"""The processes that train a run together, its ranks: which of them this is, and what they tell each other.

A process that trains alone is rank 0 of one, and nothing is sent.
"""

from collections.abc import Iterable
from itertools import zip_longest
from typing import TypeVar, cast

import torch
from torch import distributed

T = TypeVar("T")


def count() -> int:
    return distributed.get_world_size() if distributed.is_initialized() else 1


def index() -> int:
    return distributed.get_rank() if distributed.is_initialized() else 0


def is_first() -> bool:
    """Tells whether this process saves, logs and decides for all."""
    return index() == 0


def mean(value: float) -> float:
    """Returns the mean of the ranks' values, the same to the last bit in each."""
    if count() == 1:
        return value
    total = torch.tensor([value], dtype=torch.float64)
    distributed.all_reduce(total)
    return total.item() / count()


def decided(yes: bool) -> bool:
    """Returns what rank 0 has decided."""
    if count() == 1:
        return yes
    answer = torch.tensor([yes], dtype=torch.uint8)
    distributed.broadcast(answer, 0)
    return bool(answer.item())


def from_first(value: T) -> T:
    """Returns rank 0's value, which is pickled."""
    if count() == 1:
        return value
    values = [value]
    distributed.broadcast_object_list(values, 0)
    return values[0]


def gathered(value: T) -> list[T]:
    """Returns the values of all ranks, which are pickled, to rank 0; nothing to the others."""
    if count() == 1:
        return [value]
    values = [value] * count() if is_first() else None
    distributed.gather_object(value, values)
    return values or []


def in_turn(parts: Iterable[T]) -> Iterable[T]:
    """Returns the parts of all ranks to rank 0: the first of each, then the second; nothing to the others."""
    if count() == 1:
        return parts
    missing = object()
    lists = gathered(list(parts))
    return [cast(T, part) for line in zip_longest(*lists, fillvalue=missing) for part in line
            if part is not missing]  # fmt: skip
