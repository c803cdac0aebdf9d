"""A sweep inside of the test's own process: real sweeper, worker and stores; the training is the test's."""

from collections.abc import Callable, Sequence
from pathlib import Path

from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from mlflow.entities import Run
from omegaconf import DictConfig
from optuna.study import Study
from processes import ROOT

from finesweep.config.parse import parse_config, register_schema
from finesweep.config.run import RunConfig, TrackingConfig
from finesweep.hooks import RunHooks
from finesweep.io import checkpoint
from finesweep.study import studies
from finesweep.tracking import open_run, open_store

STORAGE = "sqlite:///mlruns/optuna.db"
Training = Callable[[RunConfig, RunHooks], float]


def evaluate(trial: RunHooks, values: Sequence[float]) -> float:
    """A training whose evaluations, at equal shares of it, give these values. Returns the best."""
    for index, value in enumerate(values, start=1):
        trial.progress(step=10 * index, max_steps=10 * len(values), trained_steps=10 * index)
        trial.evaluated(value, index / len(values))
        if index < len(values):
            trial.saved()
        trial.check()
    return max(values)


def sweep(training: Training, *arguments: str) -> Study:
    """`python train.py -m ARGUMENTS`, one worker, `training` in place of the Trainer. Returns the study."""

    def task(cfg: DictConfig) -> None:
        from finesweep.hooks import current_hooks  # no global of a function that is pickled

        config = parse_config(cfg)
        with open_run(config, []) as tracked:
            trial = current_hooks.get()
            assert trial is not None
            value = training(config, trial)
            tracked.log_metrics({"best_value": value}, step=0)
            weights = Path("weights", trial.run_name).resolve()
            weights.mkdir(parents=True, exist_ok=True)  # another study may have had a trial of this name
            (weights / "model.safetensors").write_bytes(b"weights")
            checkpoint.write_manifest(weights)
            trial.trained(value, {"eval_accuracy": value, "train_runtime": 1.0}, str(weights))

    register_schema()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        hydra = GlobalHydra.instance().hydra
        assert hydra is not None
        small = ["hydra/launcher=basic", "data.demo_rows=200", "tracking.system_metrics=false"]
        hydra.multirun("config", task, [*small, *arguments], with_log_configuration=False)
    return studies.load("quickstart", STORAGE)


def runs(tracking: TrackingConfig | None = None) -> dict[str, Run]:
    client = open_store(tracking or TrackingConfig())
    found = client.search_runs([e.experiment_id for e in client.search_experiments()])
    return {str(run.info.run_name): run for run in found}
