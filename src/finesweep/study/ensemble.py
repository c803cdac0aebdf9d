"""Declares what became of a study's `study.ensemble`, as its finish step notes it."""

from dataclasses import dataclass, field

from finesweep.study.attributes import Stored


@dataclass
class Ensembled(Stored):
    """How the kept checkpoints did together, beside the winner alone."""

    kind: str  # soup or mean
    is_submitted: bool  # else the winner's own predictions are
    reason: str  # why, or why not
    members: list[int] = field(default_factory=list)  # numbers of the trials, in order
    run_ids: list[str] = field(default_factory=list)  # of the same
    value: float | None = None  # on the rows that chose nothing
    single: float | None = None  # the winner's on these rows
    p: float | None = None  # of the paired test between the two
    files: dict[str, str] = field(default_factory=dict)  # SHA-256 of each submission file, by its name
