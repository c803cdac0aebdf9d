"""A checkpoint has what its model said of each evaluated row, by which its score can be made again."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from finesweep.config.run import RunConfig
from finesweep.io import checkpoint
from finesweep.tasks import Scorer, evaluated
from finesweep.tasks.evaluated import FILE
from finesweep.training.evaluation import predict
from finesweep.training.inputs import load_inputs
from finesweep.training.predict import predictor
from finesweep.training.run import run

Compose = Callable[..., RunConfig]
RUN = ("optimizer.learning_rate=1e-3", "trainer.evals_per_epoch=3", "predict=false")


@pytest.mark.parametrize("shortcuts", ["[token_batches]", "[]"])
def test_the_best_evaluations_rows_are_kept_in_the_order_of_the_split(
    shortcuts: str, config: Compose, tmp_path: Path
) -> None:
    """The library's own loop evaluates rows in an order that depends on the seed."""
    settings = config(*RUN, f"trainer.shortcuts={shortcuts}")
    result = run(settings, tmp_path / "out")
    folder = Path(str(result.checkpoint))
    kept, inputs = evaluated.load(folder), load_inputs(settings)
    assert kept is not None and list(kept.references) == list(inputs.eval["labels"])
    scores = Scorer(inputs.task, inputs.names).score(kept.scores, kept.references)
    assert {f"eval_{name}": value for name, value in scores.items()}.items() <= result.metrics.items()
    assert checkpoint.find_damage(folder) is None  # so the file is in the manifest
    (folder / FILE).write_bytes(b"torn")
    assert FILE in str(checkpoint.find_damage(folder))


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_checkpoint_predicts_to_the_last_bit_what_was_evaluated_in_training(
    precision: str, config: Compose, tmp_path: Path
) -> None:
    """In the run's precision, which accelerate gives a model in a training."""
    settings = config(*RUN, f"trainer.precision={precision}", "trainer.shortcuts=[token_batches]")
    result = run(settings, tmp_path / "out")
    folder, inputs = Path(str(result.checkpoint)), load_inputs(settings)
    kept = evaluated.load(folder)
    trainer = predictor(settings, inputs.task, inputs.tokenizer, folder, tmp_path)
    now = inputs.task.scores(predict(trainer, inputs.eval))
    assert kept is not None and np.array_equal(kept.scores, now)
