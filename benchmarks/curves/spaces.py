"""The tasks whose learning curves are recorded, their search spaces, and the points that are trained.

The space of a task is that of a file in `sweeps/`. Its points are those of the grid that was published for
small BERTs (`sweeps/bert-miniatures.yaml`), and further ones that spread over the space.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from optuna.distributions import BaseDistribution
from scipy.stats import qmc

from finesweep.config.parse import type_of
from finesweep.study.encode import encode
from finesweep.study.grammar import distribution
from finesweep.study.space import Dimension, Space
from finesweep.study.spread import at

ROOT = Path(__file__).resolve().parents[2]
RATE, EPOCHS, BATCH = (
    "optimizer.learning_rate", "trainer.num_train_epochs", "trainer.per_device_train_batch_size"
)  # fmt: skip
PUBLISHED = "bert-miniatures"
FIRST_BATCH = 16  # that of the known point for BERT-base, and of the published grid's points to try first
POINTS = 60  # of a task, the grid's among them
AGAIN = 3  # every third point is trained with a second seed
SEEDS = 42, 43
Point = Mapping[str, Any]  # by Hydra's keys


@dataclass(frozen=True)
class Task:
    """One task to search on, and which of its rows are trained on and scored."""

    name: str
    overrides: tuple[str, ...]  # of Hydra; `{glue}` and `{model}` are folders
    sweep: str  # the file in `sweeps/` that has its space
    known: Point  # the point that a search is measured against
    constant: tuple[float, float]  # selecting and untouched score of saying train's commonest label each time
    rate_factor: float = 1.0  # the grid's learning rates are multiplied by it: weights that begin at random

    @property
    def needs_folders(self) -> bool:
        return any("{" in text for text in self.overrides)

    @cached_property
    def space(self) -> Space:
        found = _distributions(_read(self.sweep))
        return tuple(Dimension(key, key, one) for key, one in found.items())

    @cached_property
    def grid(self) -> list[dict[str, Any]]:
        """The published grid, as far as it lies in the space."""
        published = _read(PUBLISHED)
        searched: Any = _distributions(published)
        epochs = published["trainer"]["num_train_epochs"]
        legal: Any = {one.key: one.distribution for one in self.space}
        return [
            {RATE: round(rate * self.rate_factor, 6), EPOCHS: epochs, BATCH: batch}
            for rate, batch in product(searched[RATE].choices, searched[BATCH].choices)
            if batch in legal[BATCH].choices
        ]

    @property
    def first(self) -> list[Point]:
        """The points that the recipe tries first: the known one, and all learning rates of the grid once."""
        return [self.known, *(point for point in self.grid if point[BATCH] == FIRST_BATCH)]

    @cached_property
    def points(self) -> list[dict[str, Any]]:
        """All points: the known one, the grid, and others that spread."""
        first = [dict(self.known), *(point for point in self.grid if point != self.known)]
        places = qmc.Sobol(len(self.space), scramble=True, rng=np.random.default_rng(0)).random(64)
        others = [
            {one.key: at(place, one.distribution) for one, place in zip(self.space, row, strict=True)}
            for row in places
        ]
        return [*first, *({**one, RATE: float(f"{one[RATE]:.3g}")} for one in others)][:POINTS]

    @property
    def trainings(self) -> list[tuple[dict[str, Any], int]]:
        """Point and seed of each training; a part of them, from the beginning, is a set that can be used."""
        again = self.points[::AGAIN]
        return [(point, SEEDS[0]) for point in self.points] + [(point, SEEDS[1]) for point in again]


def _read(sweep: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "sweeps" / f"{sweep}.yaml").read_text())
    return found


def _distributions(sweep: dict[str, Any]) -> dict[str, BaseDistribution]:
    """Returns the space of a file in `sweeps/`, by key."""
    texts = [f"{key}={text}" for key, text in sweep["hydra"]["sweeper"]["params"].items()]
    parsed = OverridesParser.create().parse_overrides(texts)
    return {one.key_or_group: distribution(one, type_of(one.key_or_group)) for one in parsed}


def _glue(name: str, train: str, scored: str, constant: tuple[float, float], tokens: int = 40) -> Task:
    known = {RATE: 2e-5, EPOCHS: 5, BATCH: 16}
    model = ("model=minilm", "model.name_or_path={model}", f"model.max_length={tokens}")
    data = (f"data={name}", "data.path={glue}", "data.test_split=null", "trainer.precision=bf16")
    splits = (f"data.train_split={encode(train)}", f"data.eval_split={encode(scored)}")
    return Task(name, (*data, *model, *splits), "qnli", known, constant)


DEMO = "data=demo", "data.test_split=null", "data.eval_split=validation+test", "model=demo"
TASKS = {
    task.name: task
    for task in (
        Task(
            "demo",
            DEMO,
            "quickstart",
            {RATE: 1e-3, EPOCHS: 3, BATCH: 32},
            constant=(0.495, 0.508),
            rate_factor=10,
        ),
        Task(
            "demo-1000",
            (*DEMO, "data.demo_rows=1000"),
            "quickstart",
            {RATE: 1e-3, EPOCHS: 3, BATCH: 32},
            constant=(0.505, 0.492),
            rate_factor=10,
        ),
        _glue("rte", train="train[:400]", scored="validation[:200]", constant=(0.43, 0.49), tokens=48),
        _glue("mrpc", train="train[:320]", scored="validation[:200]", constant=(0.7654, 0.8571)),
        _glue("qnli", train="validation[:400]", scored="validation[3000:3200]", constant=(0.38, 0.45)),
    )
}
