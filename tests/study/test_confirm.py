"""A winner is chosen by its mean over new seeds, and a lead that may be chance is called that."""

import json

import pytest
from optuna.trial import create_trial
from sweeping import evaluate, runs, sweep

from finesweep.config.run import RunConfig
from finesweep.errors import ConfigError
from finesweep.hooks import RunHooks
from finesweep.monitor.report import best, describe
from finesweep.monitor.summary import lines
from finesweep.study.confirm import ConfirmedCandidate, is_within_noise
from finesweep.study.records import TrialRecord

pytestmark = pytest.mark.usefixtures("no_finish")
GRID = ("optimizer.learning_rate=1e-3,2e-3,3e-3", "trainer.num_train_epochs=1",
        "trainer.per_device_train_batch_size=8", "hydra.sweeper.study.sampler=grid")  # fmt: skip
CONFIRM = ("hydra.sweeper.study.confirm.top_k=2", "hydra.sweeper.study.confirm.seeds=3")
# By learning rate: what the search's seed gives, and what seeds 43, 44, 45 give.
SCORES = {1e-3: {42: 0.80, 43: 0.80, 44: 0.81, 45: 0.79}, 2e-3: {42: 0.90, 43: 0.70, 44: 0.71, 45: 0.72},
          3e-3: {42: 0.10}}  # fmt: skip


def training(config: RunConfig, trial: RunHooks) -> float:
    return evaluate(trial, [0.05, SCORES[config.optimizer.learning_rate][config.seed]])


def test_the_best_mean_over_new_seeds_wins_not_the_luckiest_seed() -> None:
    study = sweep(training, *GRID, *CONFIRM)
    confirming = [trial for trial in study.trials if TrialRecord(trial).confirms is not None]
    assert sorted((TrialRecord(t).confirms, TrialRecord(t).seed) for t in confirming) == [
        (candidate, seed) for candidate in (0, 1) for seed in (43, 44, 45)
    ]
    assert runs()[f"trial-{confirming[0].number:04d}"].data.tags["finesweep.confirms"] in "01"
    found = best(study)
    assert (found.trial, found.value) == (0, 0.80)
    assert [(one.trial, round(one.mean, 6), round(one.std or 0, 6), one.n) for one in found.confirmed] == [
        (0, 0.8, 0.01, 3), (1, 0.71, 0.01, 3)
    ]  # fmt: skip
    assert found.within_noise is False
    assert any("lead of 0.0900 over trial 1 is beyond noise" in line for line in lines(found))
    status = describe(study)
    assert (status.finished, status.confirming, status.states["COMPLETE"]) == (3, 6, 9)
    assert json.loads(json.dumps(found.params)) == {"optimizer.learning_rate": 1e-3}


def test_confirming_again_does_nothing_and_can_be_asked_for_later() -> None:
    assert best(sweep(training, *GRID)).trial == 1
    study = sweep(training, *GRID, *CONFIRM)
    assert (len(study.trials), best(study).trial) == (9, 0)
    assert len(sweep(training, *GRID, *CONFIRM).trials) == 9


def test_an_interrupted_confirmation_goes_on() -> None:
    calls = []

    def interrupted(config: RunConfig, trial: RunHooks) -> float:
        calls.append(config.seed)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return training(config, trial)

    with pytest.raises(KeyboardInterrupt):
        sweep(interrupted, *GRID, *CONFIRM)
    study = sweep(training, *GRID, *CONFIRM)
    complete = [t for t in study.trials if TrialRecord(t).confirms is not None and t.state.name == "COMPLETE"]
    assert len(complete) == len({(TrialRecord(t).confirms, TrialRecord(t).seed) for t in complete}) == 6
    (retry,) = [t for t in study.trials if TrialRecord(t).retry_of is not None]
    assert study.trials[TrialRecord(retry).retry_of].state.name == "FAIL"


def test_trials_that_confirm_are_not_pruned() -> None:
    options = "+hydra.sweeper.study.pruner_options={n_startup_trials:1}"
    study = sweep(training, *GRID, *CONFIRM, "hydra.sweeper.study.pruner=median", options)
    assert {t.state.name for t in study.trials if TrialRecord(t).confirms is not None} == {"COMPLETE"}


def test_a_candidate_whose_seeds_fail_does_not_win_by_the_one_that_did_not() -> None:
    def fragile(config: RunConfig, trial: RunHooks) -> float:
        if config.optimizer.learning_rate == 2e-3 and config.seed > 43:
            raise ArithmeticError("diverged")
        lucky = (config.optimizer.learning_rate, config.seed) == (2e-3, 43)
        return 0.99 if lucky else training(config, trial)

    found = best(sweep(fragile, *GRID, *CONFIRM))
    assert [(one.trial, one.n) for one in found.confirmed] == [(0, 3), (1, 1)]
    assert found.trial == 0


def test_a_candidate_with_fewer_seeds_wins_by_its_mean() -> None:
    """The old best has three, those that come later two, or one of them was stopped by a person."""
    sweep(training, *GRID[1:], "optimizer.learning_rate=1e-3,2e-3", *CONFIRM)
    later = {**SCORES, 3e-3: {42: 0.95, 43: 0.85, 44: 0.86}}
    study = sweep(
        lambda config, trial: evaluate(trial, [later[config.optimizer.learning_rate][config.seed]]),
        *GRID, CONFIRM[0], "hydra.sweeper.study.confirm.seeds=2", "hydra.sweeper.study.name=quickstart",
        "hydra.sweeper.study.edit=true",
    )  # fmt: skip
    found = best(study)
    assert [(one.trial, round(one.mean, 6), one.n) for one in found.confirmed] == [
        (8, 0.855, 2),
        (1, 0.71, 3),
    ]
    assert found.trial == 8


def test_a_lead_says_when_another_mean_is_better_and_when_there_is_no_test() -> None:
    def fragile(config: RunConfig, trial: RunHooks) -> float:
        if config.optimizer.learning_rate == 1e-3 and config.seed > 43:
            raise ArithmeticError("diverged")
        return training(config, trial)

    study = sweep(fragile, *GRID, *CONFIRM)
    assert best(study).trial == 1
    assert any(
        "mean 0.0900 below that of trial 0, which has failed seeds: not tested" in line
        for line in lines(best(study))
    )


def standing(*values: float) -> ConfirmedCandidate:
    return ConfirmedCandidate(create_trial(value=values[0]), dict(enumerate(values)))


@pytest.mark.parametrize(
    ("first", "second", "noise"),
    [
        (standing(0.80, 0.82, 0.78), standing(0.79, 0.83, 0.77), True),
        (standing(0.80, 0.81, 0.79), standing(0.70, 0.72, 0.69), False),
        (standing(0.75, 0.75), standing(0.5, 0.5), None),  # no spread, so no test
        (standing(0.8, 0.8), standing(0.8, 0.8), None),
        (standing(180 / 277, 181 / 277), standing(179 / 277, 180 / 277), None),  # but for rounding
        (standing(0.9), standing(0.1), None),  # one seed tells nothing
        (standing(0.80, 0.80, 0.95), standing(0.82, 0.821), True),  # ahead by a seed the other lacks
    ],
)
def test_a_lead_is_noise_unless_seeds_agree_on_it(
    first: ConfirmedCandidate, second: ConfirmedCandidate, noise: bool | None
) -> None:
    assert is_within_noise(first, second) is noise


def test_seeds_that_are_searched_cannot_confirm() -> None:
    with pytest.raises(ConfigError, match="confirm.top_k: got 2; legal: 0 where seed is searched"):
        sweep(training, *GRID, *CONFIRM, "seed=42,43")


def test_several_objectives_have_no_one_mean_to_choose_by() -> None:
    objectives = "+hydra.sweeper.study.objectives={accuracy:maximize,train_runtime:minimize}"
    with pytest.raises(ConfigError, match="confirm.top_k: got 2; legal: 0 with several objectives"):
        sweep(training, *GRID, *CONFIRM, objectives)
