"""Counts how often intervals hold the true score, and how often equal models are called different.

    python benchmarks/calibration.py [--samples 1000]

The code that a study's finish step runs (`tasks/resampling.py`) gets samples of evaluation rows from a
population whose score is known: two models that are equally good and often wrong on the same rows. The last
columns choose the best of 20 such models on the same rows, as a search does: how often the winner's interval
on these rows holds its true score, and on as many rows that chose nothing; and how often the test calls the
winner different from the first of the 20, though all are equal.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from finesweep.tasks.classification import Classification
from finesweep.tasks.metrics import Judged, Metric
from finesweep.tasks.resampling import interval, p_value

SIZES = (100, 277, 1000)  # rows; RTE's validation split has 277
LARGE = 2_000_000  # rows of the sample whose score stands for the population's
CANDIDATES = 20
Array = NDArray[np.int64]


def f1(judged: Judged) -> float:
    """Computes scikit-learn's F1 of label 1, 50 times as fast on few rows."""
    both = np.count_nonzero(judged.reference & judged.predicted)
    return float(2 * both / max(1, np.count_nonzero(judged.reference) + np.count_nonzero(judged.predicted)))


def matthews(judged: Judged) -> float:
    """Computes Matthews' correlation of two labels, likewise."""
    true, said = judged.reference, judged.predicted
    deviation = float(np.std(true) * np.std(said))
    return float((np.mean(true * said) - np.mean(true) * np.mean(said)) / deviation) if deviation else 0.0


def f1_macro(judged: Judged) -> float:
    """Computes the macro F1 of the labels that are there, likewise."""
    true, said, size = judged.reference, judged.predicted, len(judged.names)
    right, both = (np.bincount(part, minlength=size) for part in (true[true == said], np.append(true, said)))
    there = both > 0 if judged.labels is None else judged.labels.either
    return float((2 * right[there] / np.maximum(1, both[there])).mean())


def pearson(judged: Judged) -> float:
    return float(np.corrcoef(judged.reference, judged.predicted)[0, 1])


@dataclass(frozen=True)
class Population:
    """Rows with one of several labels, and models that are right with a chance that depends on the row."""

    metric: Metric
    right: float = 0.8
    positive: float = 0.5
    labels: int = 2  # more are equally frequent
    is_number: bool = False

    def draw(self, generator: np.random.Generator, rows: int, models: int) -> list[Judged]:
        """Draws rows, and what equally good models say of them: half of the error is the row's."""
        if self.is_number:
            true = generator.normal(size=rows)
            shared = true + generator.normal(size=rows) * 0.5
            said = [shared + generator.normal(size=rows) * 0.5 for _ in range(models)]
            return [Judged(true, one, one, ["value"]) for one in said]
        true = (generator.random(rows) < self.positive).astype(np.int64)
        if self.labels > 2:
            true = generator.integers(0, self.labels, rows)
        hard = generator.random(rows) < 2 * (1 - self.right)
        wrong = [hard & (generator.random(rows) < 0.5) for _ in range(models)]
        said = [np.where(one, (true + 1) % self.labels, true) for one in wrong]
        return [Judged(true, one, one, [str(label) for label in range(self.labels)]) for one in said]


POPULATIONS = {
    "accuracy 0.80": Population(Classification.metrics["accuracy"]),
    "accuracy 0.97": Population(Classification.metrics["accuracy"], right=0.97),
    "F1, 20% positive": Population(Metric(f1), positive=0.2, right=0.9),
    "Matthews, 0.6": Population(Metric(matthews)),
    "macro F1, 20 labels": Population(Metric(f1_macro, by_label=True), labels=20),
    "Pearson, 0.8": Population(Metric(pearson), is_number=True),
}


def coverage(population: Population, rows: int, samples: int, seed: int = 0) -> float:
    """Returns the share of intervals that hold the population's score."""
    generator, metric = np.random.default_rng(seed), population.metric
    (whole,) = population.draw(generator, LARGE, 1)
    truth = metric.compute(whole)
    found = (interval(metric, population.draw(generator, rows, 1)[0]) for _ in range(samples))
    return sum(one is not None and one.low <= truth <= one.high for one in found) / samples


def false_alarms(population: Population, rows: int, samples: int, seed: int = 1) -> float:
    """Returns the share of pairs of equal models that the test calls different at 5%."""
    generator = np.random.default_rng(seed)
    pairs = (population.draw(generator, rows, 2) for _ in range(samples))
    return sum(_is_different(population.metric, *pair) for pair in pairs) / samples


def of_chosen(population: Population, rows: int, samples: int, seed: int = 2) -> tuple[float, float]:
    """Returns coverage for the best of `CANDIDATES` equal models: on the rows that chose it, on others."""
    generator, metric = np.random.default_rng(seed), population.metric
    (whole,) = population.draw(generator, LARGE, 1)
    truth, held = metric.compute(whole), np.zeros(2)
    for _ in range(samples):
        models, others = (population.draw(generator, rows, CANDIDATES) for _ in range(2))
        best = int(np.argmax([metric.compute(model) for model in models]))
        for place, judged in enumerate((models[best], others[best])):
            one = interval(metric, judged)
            held[place] += one is not None and one.low <= truth <= one.high
    return float(held[0] / samples), float(held[1] / samples)


def alarms_of_chosen(population: Population, rows: int, samples: int, seed: int = 3) -> float:
    """Returns the share of the best of `CANDIDATES` equal models that differ from the first by the test."""
    generator, metric, alarms = np.random.default_rng(seed), population.metric, 0
    for _ in range(samples):
        models = population.draw(generator, rows, CANDIDATES)
        best = int(np.argmax([metric.compute(model) for model in models]))
        alarms += best > 0 and _is_different(metric, models[best], models[0])
    return alarms / samples


def _is_different(metric: Metric, first: Judged, second: Judged) -> bool:
    p = p_value(metric, first, second)
    return p is not None and p < 0.05


def table(samples: int, report: Callable[[str], object] = print) -> None:
    """Prints a row for each population and size."""
    report("| metric | rows | held | A against A | best of 20: held | on other rows | against the first |")
    report("| --- | --- | --- | --- | --- | --- | --- |")
    for name, population in POPULATIONS.items():
        for rows in SIZES:
            chosen = of_chosen(population, rows, samples)
            alone = coverage(population, rows, samples), false_alarms(population, rows, samples)
            shares = *alone, *chosen, alarms_of_chosen(population, rows, samples)
            report(f"| {name} | {rows} | {' | '.join(f'{share:.1%}' for share in shares)} |")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--samples", type=int, default=1000, help="of each cell")
    table(parser.parse_args().samples)
