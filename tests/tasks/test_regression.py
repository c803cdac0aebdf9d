"""Numbers of any size are learned, and are scored and predicted in their own unit."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from labelled import REGRESSION, evaluation, task

from finesweep.config.parse import from_dict, to_dict
from finesweep.config.run import RunConfig
from finesweep.errors import ConfigError
from finesweep.reproduce.rebuild import rebuild
from finesweep.reproduce.recorded_run import load_recorded_run
from finesweep.reproduce.rerun import rerun
from finesweep.reproduce.verdict import judge
from finesweep.tasks import Scorer
from finesweep.training.run import run

PRICES = [250_000.0, 1_200_000.0, 700_000.0, 650_000.0]


@pytest.mark.parametrize(
    ("numbers", "standardize", "is_standardized"),
    [
        (PRICES, None, True),
        ([0.001, 0.002], None, True),
        ([1990.0, 1991.0], None, True),
        ([0.0, 2.5, 5.0], None, False),  # STS-B
        ([0.5, 0.5], None, False),
        (PRICES, False, False),
        ([0.0, 5.0], True, True),
    ],
)
def test_numbers_far_from_one_are_standardized(
    numbers: list[float], standardize: bool | None, is_standardized: bool
) -> None:
    assert task(REGRESSION, standardize=standardize).fitted(numbers).is_standardized == is_standardized


def test_scores_and_predictions_are_in_the_unit_of_the_data() -> None:
    fitted = task(REGRESSION, metric="mae").fitted(PRICES)
    mean, std = np.mean(PRICES), np.std(PRICES)
    learned = np.asarray((np.asarray(PRICES) - mean) / std, np.float32)
    found = Scorer(fitted, ["value"])(evaluation(learned[:, None] + 0.5, learned))
    assert found["mae"] == pytest.approx(std / 2, rel=1e-5)
    constant = task(REGRESSION).fitted([700.0, 700.0])
    assert constant.scores(np.zeros((1, 1), np.float32)) == [700.0]


def test_only_numbers_are_standardized() -> None:
    with pytest.raises(
        ConfigError, match="data.standardize: got True; legal: null or false for data.problem_type"
    ):
        task(standardize=True)


def test_an_older_record_is_reproduced_as_it_was_trained(config: Callable[..., RunConfig]) -> None:
    for keys, standardize in ((("data.problem_type=regression", "data.metric=rmse"), False), ((), None)):
        recorded = to_dict(config(*keys))
        del recorded["data"]["standardize"]
        assert from_dict(recorded).data.standardize is standardize


def test_prices_are_learned_and_made_again(config: Callable[..., RunConfig], own_folder: Path) -> None:
    rows = [("big" if i % 2 else "small", 250_000 + 950_000 * (i % 2) + 100 * i) for i in range(40)]
    (own_folder / "t").mkdir()
    for name in ("train", "validation"):
        text = "".join(f"{a} house,{b}\n" for a, b in rows)
        (own_folder / "t" / f"{name}.csv").write_text(f"text,label\n{text}")
    settings = config(
        "data=table", "data.path=t", "data.text_columns=[text]", "data.holdout=0.2",
        "data.test_split=train", "data.problem_type=regression",
        "data.metric=rmse", "optimizer.learning_rate=3e-3", "trainer.num_train_epochs=8",
        "trainer.per_device_train_batch_size=4",
    )  # fmt: skip
    result = run(settings, own_folder / "out")
    assert result.value is not None and result.value < 200_000  # without a model: 475,000
    assert result.metrics["final_rmse"] < 200_000 and result.metrics["final_loss"] < 1
    lines = Path(str(result.submission)).read_text().splitlines()[1:]
    predicted = [float(line.split("\t")[1]) for line in lines]
    assert np.sqrt(
        np.mean([(p - b) ** 2 for p, (_, b) in zip(predicted, rows, strict=True)])
    ) == pytest.approx(result.metrics["final_rmse"], rel=1e-4)
    stored = json.loads(Path(str(result.checkpoint), "config.json").read_text())
    assert stored["target_mean"] == pytest.approx(727_000, rel=0.1) and stored["target_std"] > 400_000
    recorded = load_recorded_run(str(result.run_id), settings.tracking)
    verdict = judge(recorded, rerun(recorded, rebuild(recorded, [], settings.tracking), []), [], 0.0)
    assert verdict.verdict == "EXACT", verdict
