"""The recorded learning curves: reads and writes `TASK.jsonl`, one line for each training."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
EVALUATIONS = 20  # of a training, as long as it has so many steps


@dataclass(frozen=True)
class Training:
    """One training to its end."""

    point: Mapping[str, Any]  # by Hydra's keys
    seed: int
    steps: int  # optimizer steps of the whole training
    seconds: float
    select: Sequence[float]  # the metric at each evaluation, on the rows that select
    untouched: Sequence[float]  # on the rows that nobody selects on
    noise: float | None  # standard error of the best selecting score over its rows; None: not known

    @property
    def exchanged(self) -> "Training":
        """The same training, as if the untouched rows had selected; both halves are about as noisy."""
        return replace(self, select=self.untouched, untouched=self.select)

    @property
    def evaluations(self) -> list[tuple[int, float, float]]:
        """Returns step, selecting score and untouched score of each evaluation."""
        return list(zip(due(self.steps), self.select, self.untouched, strict=True))


def due(steps: int) -> list[int]:
    """Returns the steps after which a training of so many steps is evaluated; the last one is among them."""
    return sorted({max(1, round(share * steps / EVALUATIONS)) for share in range(1, EVALUATIONS + 1)})


def file_of(task: str, folder: Path = HERE) -> Path:
    return folder / f"{task}.jsonl"


def read(task: str, folder: Path = HERE) -> list[Training]:
    """Returns the trainings that were recorded so far; a last line that was cut off is none."""
    path = file_of(task, folder)
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [Training(**json.loads(line)) for line in lines if line.endswith("\n")]


def read_for(task: str, seed: int, folder: Path = HERE) -> list[Training]:
    """Returns the trainings for a study of this seed: if it is odd, the halves of the rows are exchanged."""
    trainings = read(task, folder)
    return [one.exchanged for one in trainings] if seed % 2 else trainings


def append(task: str, training: Training, folder: Path = HERE) -> None:
    with file_of(task, folder).open("a") as file:
        file.write(json.dumps(asdict(training), separators=(",", ":")) + "\n")
