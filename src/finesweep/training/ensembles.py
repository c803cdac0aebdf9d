"""Predicts with several checkpoints of one architecture together: by mean weights or mean probabilities."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from datasets import Dataset

from finesweep.config.run import RunConfig
from finesweep.config.study import Ensemble
from finesweep.tasks import Scorer
from finesweep.tasks.base import Array
from finesweep.training.evaluation import outputs
from finesweep.training.inputs import Inputs, encoded
from finesweep.training.predict import predictor, write
from finesweep.training.soup import soup


@dataclass(frozen=True)
class Together:
    """Several checkpoints that predict together."""

    kind: Ensemble
    config: RunConfig  # of the first one's run
    inputs: Inputs
    cores: int | None = None  # how many may compute

    def outputs(self, members: Sequence[Path], rows: Dataset) -> tuple[Array, Array | None]:
        """Computes outputs for encoded rows, in their order, and returns the rows' labels as well."""
        with TemporaryDirectory() as scratch:
            is_soup = self.kind is Ensemble.soup and len(members) > 1
            folders = [soup(members, Path(scratch, "soup"))] if is_soup else members
            parts = [self._outputs(folder, rows, Path(scratch)) for folder in folders]
        logits = [part[0] for part in parts]
        return (logits[0] if len(logits) == 1 else self.inputs.task.averaged(logits)), parts[0][1]

    def _outputs(self, folder: Path, rows: Dataset, scratch: Path) -> tuple[Array, Array | None]:
        task, tokenizer = self.inputs.task, self.inputs.tokenizer
        return outputs(predictor(self.config, task, tokenizer, folder, scratch, self.cores), rows)

    def scored(self, members: Sequence[Path], rows: Dataset, scorer: Scorer) -> dict[str, float]:
        """Scores encoded, labelled rows; `scorer.evaluated` has the rows then."""
        logits, labels = self.outputs(members, rows)
        assert labels is not None
        return scorer.scored(logits, labels)

    def write(self, members: Sequence[Path], output_dir: Path) -> list[Path]:
        """Writes the prediction files of the test splits under `output_dir`/submission."""
        paths = []
        for split, rows in self.inputs.splits.test.items():
            test = encoded(self.config, self.inputs.task, self.inputs.tokenizer, rows, f"test {split}")
            logits, _ = self.outputs(members, test)
            paths.append(write(self.config, self.inputs, split, test, logits, output_dir))
        return paths

    def final_rows(self) -> Dataset | None:
        """Returns the encoded rows that chose nothing; None if there are none."""
        rows = self.inputs.splits.final_eval
        if rows is None:
            return None
        return encoded(self.config, self.inputs.task, self.inputs.tokenizer, rows, "final_eval")


def greedy(
    together: Together, candidates: Sequence[Path], scorer: Scorer, metric: str, sign: int
) -> list[Path]:
    """Takes each candidate that does not lower the score on the rows that select, in order; first the best.

    sign: 1 if more is better, else -1. Source: the greedy soup of Wortsman et al. (2022).
    """
    rows = together.inputs.eval
    members = [candidates[0]]
    best = sign * together.scored(members, rows, scorer)[metric]
    for candidate in candidates[1:]:
        value = sign * together.scored([*members, candidate], rows, scorer)[metric]
        if value >= best:
            members, best = [*members, candidate], value
    return members
