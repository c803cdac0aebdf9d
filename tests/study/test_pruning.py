"""Trials that are behind the others stop early, and are told from those that failed."""

import optuna
import pytest
from optuna.pruners import MedianPruner
from optuna.trial import TrialState, create_trial
from sweeping import evaluate, runs, sweep

from finesweep.config.run import RunConfig
from finesweep.config.study import Pruner, StudyConfig
from finesweep.errors import ConfigError
from finesweep.hooks import RunHooks
from finesweep.study.pruning import is_behind, on_grid
from finesweep.study.records import TrialRecord
from finesweep.study.samplers import make_pruner

pytestmark = pytest.mark.usefixtures("no_finish")
GRID = ("optimizer.learning_rate=1e-3,1e-4,1e-5", "trainer.num_train_epochs=1",
        "trainer.per_device_train_batch_size=8", "hydra.sweeper.study.sampler=grid")  # fmt: skip


def falling(config: RunConfig, trial: RunHooks) -> float:
    """The smaller the learning rate, the worse, from the first evaluation on."""
    level = 0.9 + config.optimizer.learning_rate
    return evaluate(trial, [level / 2, level * 0.9, level])


def test_a_pruned_trial_is_pruned_in_optuna_and_killed_in_mlflow_with_its_last_metrics() -> None:
    options = "+hydra.sweeper.study.pruner_options={n_startup_trials:1}"
    study = sweep(falling, *GRID, "hydra.sweeper.study.pruner=median", options)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED", "PRUNED"]
    tracked = runs()
    assert tracked["trial-0000"].info.status == "FINISHED"
    for name in ("trial-0001", "trial-0002"):
        assert tracked[name].info.status == "KILLED"
        assert tracked[name].data.tags["finesweep.state"] == "PRUNED"
    assert TrialRecord(study.trials[1]).checkpoint is None
    assert study.trials[1].intermediate_values.keys() == {33}  # one evaluation of three


@pytest.mark.parametrize(
    ("pruner", "options"),
    [
        (Pruner.median, {"n_startup_trials": 1}),
        (Pruner.percentile, {"percentile": 50.0, "n_startup_trials": 1}),
        (Pruner.successive_halving, {"min_resource": 20, "reduction_factor": 2}),
        (Pruner.hyperband, {"min_resource": 50, "reduction_factor": 2}),
        (Pruner.wilcoxon, {"n_startup_steps": 2}),
    ],
)
def test_every_pruner_by_name_stops_the_hopeless(pruner: Pruner, options: dict[str, object]) -> None:
    def training(config: RunConfig, trial: RunHooks) -> float:
        level = 0.9 - int(trial.run_name[-1]) / 10
        return evaluate(trial, [level + step / 1000 for step in range(10)])

    text = ",".join(f"{key}:{value}" for key, value in options.items())
    chosen = (f"hydra.sweeper.study.pruner={pruner.value}", f"+hydra.sweeper.study.pruner_options={{{text}}}")
    wide = ("optimizer.learning_rate=1e-3,2e-3,3e-3,4e-3,5e-3,6e-3", *GRID[1:])
    study = sweep(training, *wide, *chosen)
    assert [trial.state.name for trial in study.trials][0] == "COMPLETE"
    assert "PRUNED" in [trial.state.name for trial in study.trials][1:]


def test_patience_stops_what_is_behind_only_once_it_no_longer_improves() -> None:
    def training(config: RunConfig, trial: RunHooks) -> float:
        first = trial.run_name == "trial-0000"
        return evaluate(trial, [0.9] * 20 if first else [0.1, 0.2, 0.3, *[0.2] * 17])

    options = "+hydra.sweeper.study.pruner_options={patience:4,n_startup_trials:1}"
    study = sweep(training, *GRID, "hydra.sweeper.study.pruner=patience", options)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE", "PRUNED", "PRUNED"]
    assert study.trials[1].last_step == 40  # the best at 15 per cent, then five steps without a better one
    alone = make_pruner(StudyConfig(pruner=Pruner.patience, pruner_options={"wrapped_pruner": None}))
    assert alone._wrapped_pruner is None  # type: ignore[attr-defined]


def test_evaluations_are_compared_at_equal_shares_of_the_training() -> None:
    """However many epochs a trial has, every fifth per cent of it has a value: on the line between two."""
    rounded = {step: round(value, 6) for step, value in on_grid([(1 / 3, 0.6), (2 / 3, 0.8)]).items()}
    assert rounded == {
        30: 0.6, 35: 0.61, 40: 0.64, 45: 0.67, 50: 0.7, 55: 0.73, 60: 0.76, 65: 0.79
    }  # fmt: skip
    assert on_grid([(0.94, 0.5), (1.0, 0.56)]) == {90: 0.5, 95: pytest.approx(0.51), 100: 0.56}
    assert on_grid([(0.02, 0.6)]) == {}
    assert list(on_grid([((step + 1) / 7, step) for step in range(7)])) == list(range(10, 101, 5))


def test_optuna_has_the_measured_values_alone_and_the_metrics_name() -> None:
    def training(config: RunConfig, trial: RunHooks) -> float:
        return evaluate(trial, [0.1, 0.2, 0.3])

    study = sweep(training, *GRID)
    assert [trial.intermediate_values for trial in study.trials] == [{33: 0.1, 67: 0.2, 100: 0.3}] * 3
    assert study.metric_names == ["accuracy"]


def test_more_evaluations_than_per_cents_are_all_compared() -> None:
    values = [index / 300 for index in range(300)]
    study = sweep(lambda config, trial: evaluate(trial, values), *GRID, "hydra.sweeper.study.n_trials=1")
    trial = study.trials[0]
    assert len(trial.intermediate_values) == 101 and trial.intermediate_values[100] == values[-1]
    assert len(TrialRecord(trial).curve or []) == 300


def test_trials_of_before_are_compared_by_the_values_on_the_grid_that_they_have() -> None:
    study = optuna.create_study(direction="maximize")
    for value in (0.9, 0.8):
        study.add_trial(
            create_trial(value=value, intermediate_values=dict.fromkeys(range(30, 101, 5), value))
        )
    attributes = TrialRecord.attributes(curve=[(1 / 3, 0.1)])
    study.add_trial(
        create_trial(state=TrialState.RUNNING, user_attrs=attributes, intermediate_values={33: 0.1})
    )
    assert is_behind(MedianPruner(n_startup_trials=1), study, 2)


def test_the_last_evaluation_of_a_training_is_never_pruned() -> None:
    def training(config: RunConfig, trial: RunHooks) -> float:
        return evaluate(trial, [0.9 if trial.run_name == "trial-0000" else 0.1])

    options = "+hydra.sweeper.study.pruner_options={n_startup_trials:1}"
    study = sweep(training, *GRID, "hydra.sweeper.study.pruner=median", options)
    assert [trial.state.name for trial in study.trials] == ["COMPLETE"] * 3


def test_options_that_a_pruner_does_not_take_are_named() -> None:
    with pytest.raises(ConfigError, match=r"pruner_options: \{'n_startup': 5\}.*keyword.*median pruner"):
        make_pruner(StudyConfig(pruner=Pruner.median, pruner_options={"n_startup": 5}))


def test_pruning_with_several_objectives_is_refused_with_the_reason() -> None:
    objectives = "+hydra.sweeper.study.objectives={accuracy:maximize,train_runtime:minimize}"
    refused = "pruner: got 'median'; legal: none with several objectives: .*by a single value$"
    with pytest.raises(ConfigError, match=refused):
        sweep(falling, *GRID, objectives, "hydra.sweeper.study.pruner=median")
