"""Declares how sure a study's result is, as its finish step notes it."""

from dataclasses import asdict, dataclass, field
from typing import Any

from finesweep.study.attributes import known_fields

DIFFERENT = 0.05  # a p-value below it: the two models differ on such rows


@dataclass
class Interval:
    """The 95% interval of a score over other evaluation rows of the same kind."""

    low: float
    high: float
    rows: int


@dataclass
class Comparison:
    """The winner beside another trial, on the same evaluation rows."""

    trial: int  # the other one
    role: str  # runner-up, baseline, or empty for one that a person named
    lead: float  # how much better the winner's score is
    p: float  # of a two-sided paired test over rows

    @property
    def is_different(self) -> bool:
        return self.p < DIFFERENT


@dataclass
class Certainty:
    """What the kept predictions say about a winner's score."""

    trial: int  # the winner
    interval: Interval | None = None  # of its score on the rows that also chose it
    final: Interval | None = None  # of its score on rows that chose nothing
    comparisons: list[Comparison] = field(default_factory=list)
    chosen_of: int = 1  # how many points were scored on the rows that chose it
    missing: list[str] = field(default_factory=list)  # what cannot be said, and why
    final_chose: list[str] = field(default_factory=list)  # studies that the final rows chose in

    @classmethod
    def load(cls, stored: dict[str, Any]) -> "Certainty":
        made = cls(**known_fields(cls, stored))
        made.interval, made.final = _interval(stored.get("interval")), _interval(stored.get("final"))
        made.comparisons = [
            Comparison(**known_fields(Comparison, one)) for one in stored.get("comparisons", [])
        ]
        return made

    def dump(self) -> dict[str, Any]:
        return asdict(self)


def _interval(stored: dict[str, Any] | None) -> Interval | None:
    return None if stored is None else Interval(**known_fields(Interval, stored))
