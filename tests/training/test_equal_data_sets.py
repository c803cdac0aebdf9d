"""Splits of equal rows are all listed beside a run: MLflow keeps one data set of a name and a digest."""

from collections.abc import Callable
from dataclasses import replace

from finesweep.config.run import RunConfig
from finesweep.data import load_splits
from finesweep.data.fingerprint import fingerprint
from finesweep.tracking import open_store, start_run
from finesweep.training.data_inputs import data_inputs


def test_mlflow_lists_both_of_two_equal_splits(config: Callable[..., RunConfig]) -> None:
    """The rows that select the best checkpoint score it, too."""
    settings = config()
    splits = load_splits(settings.data)
    hashes = {"train": fingerprint(splits.train), "eval": fingerprint(splits.eval)}
    hashes["final_eval"] = hashes["eval"]
    tracked = start_run(settings.tracking, "demo", "run", {})
    tracked.log_inputs(data_inputs(settings.data, replace(splits, final_eval=splits.eval), hashes))
    inputs = open_store(settings.tracking).get_run(tracked.run_id).inputs.dataset_inputs
    assert {one.tags[0].value: one.dataset.name for one in inputs} == {
        "train": "demo", "eval": "demo", "final_eval": "demo final_eval",
    }  # fmt: skip
