"""A search ends when the rest of its budget promises less than the noise of its best score."""

from collections.abc import Callable
from copy import copy
from pathlib import Path

import numpy as np
import optuna
import pytest
from numpy.typing import NDArray
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial
from sweeping import evaluate, sweep
from test_study import queue

from finesweep.config.run import RunConfig, metric_key
from finesweep.config.study import StopWhen, StudyConfig
from finesweep.errors import ConfigError
from finesweep.hooks import Noise, RunHooks
from finesweep.monitor.report import describe
from finesweep.study.budget import spent
from finesweep.study.records import Progress, StudyRecord, TrialRecord
from finesweep.study.remaining import is_over, more_may_come
from finesweep.study.stopping import UPWARD, Goal, enough, expected_gain, goal_of

SPACE = ("optimizer.learning_rate=interval(1e-4,1e-3)", "trainer.num_train_epochs=1",
         "trainer.per_device_train_batch_size=8", "hydra.sweeper.study.sampler=random")  # fmt: skip
NOISE = "hydra.sweeper.study.stop_when=noise"
Draw = Callable[[np.random.Generator, int], NDArray[np.float64]]
# Scores of searches: spread evenly, around a peak, 40% at chance, and without an end.
SCORES: dict[str, Draw] = {
    "even": lambda generator, n: generator.random(n),
    "peak": lambda generator, n: 0.9 - ((generator.random((n, 2)) - 0.5) ** 2).sum(axis=1),
    "chance": lambda generator, n: np.where(generator.random(n) < 0.4, 0.5, 0.8 - generator.random(n) / 10),
    "normal": lambda generator, n: generator.normal(size=n),
    "exponential": lambda generator, n: generator.exponential(size=n),
}  # fmt: skip


@pytest.mark.parametrize("scores", SCORES)
def test_the_expected_gain_is_not_too_low(scores: str) -> None:
    generator, predicted, real = np.random.default_rng(0), [], []
    for _ in range(2000):
        values = SCORES[scores](generator, 10)
        predicted.append(expected_gain(list(values), 10, 30, Goal()))
        real.append(max(0.0, SCORES[scores](generator, 30).max() - values.max()))
    assert np.mean(predicted) > 0.95 * np.mean(real)


def test_the_gain_of_an_exponential_tail_is_exact() -> None:
    generator = np.random.default_rng(1)
    predicted = [expected_gain(list(generator.exponential(size=20)), 20, 20, Goal()) for _ in range(4000)]
    real = [
        max(0.0, generator.exponential(size=20).max() - generator.exponential(size=20).max())
        for _ in range(20_000)
    ]
    assert np.mean(predicted) == pytest.approx(np.mean(real), rel=0.1)


def test_no_more_is_expected_than_there_can_be() -> None:
    values = [0.5, 0.6, 0.999, 0.7]
    assert expected_gain(values, 10, 30, Goal(True, 1.0)) == pytest.approx(0.001)
    mirrored = [1 - value for value in values]
    assert expected_gain(mirrored, 10, 30, Goal(False, 0.0)) == pytest.approx(0.001)
    upward, downward = expected_gain(values, 10, 30, Goal()), expected_gain(mirrored, 10, 30, Goal(False))
    assert upward == pytest.approx(downward)


def trials(*values: float, noise: float | None = 0.02, pruned: int = 0) -> list[FrozenTrial]:
    spread = None if noise is None else Noise(noise, 277)
    attrs = TrialRecord.attributes(noise=spread, progress=Progress(trained_steps=100))
    made = [create_trial(value=value, user_attrs=attrs) for value in values]
    made += [create_trial(state=TrialState.PRUNED, value=0.1) for _ in range(pruned)]
    for number, trial in enumerate(made):
        trial.number = number
    return made


CLOSE = [0.8, 0.801, 0.802, 0.803, 0.804, 0.805, 0.806, 0.807, 0.808, 0.809]
APART = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.99]


def test_it_ends_when_trials_lie_closer_than_the_noise() -> None:
    assert enough(trials(*CLOSE), 30, UPWARD) == (
        "the expected gain of 30 more, 0.0028, is below the noise of 277 rows, 0.02"
    )
    assert enough(trials(*APART), 30, UPWARD) is None
    assert enough(trials(*CLOSE, noise=0.001), 30, UPWARD) is None


@pytest.mark.parametrize("goal", [Goal(True), Goal(False)])
def test_the_noise_that_counts_is_that_of_the_best_score(goal: Goal) -> None:
    known = trials(*(CLOSE if goal.maximizes else [1 - value for value in CLOSE]))
    for noisy, ends in ((known[-1], False), (known[0], True)):
        exact = TrialRecord.attributes(noise=Noise(0.001, 277))
        changed = [copy(one) for one in known]
        changed[noisy.number].user_attrs = {**noisy.user_attrs, **exact}
        assert (enough(changed, 30, goal) is not None) is ends


@pytest.mark.parametrize(
    "known",
    [trials(*CLOSE[:9]), trials(*CLOSE, noise=None), trials(0.8, 0.8, pruned=20), trials(*[0.5271] * 10),
     trials(0.7, 0.7, 0.7, pruned=7), trials(*[0.7] * 4, 0.3, 0.4, 0.5, 0.55, 0.6, 0.65),
     trials(0.8, 0.801, 0.802, 0.803, pruned=6)],
    ids=["too few trials", "no kept predictions", "too few complete ones", "all at chance",
         "tied ones and pruned ones", "the best are tied", "too few values"],
)  # fmt: skip
def test_it_goes_on_while_too_little_is_known(known: list[FrozenTrial]) -> None:
    assert enough(known, 30, UPWARD) is None


@pytest.mark.parametrize("values", [[1.0], [1.0] * 4 + [0.5] * 6, [0.3, 1.0]])
@pytest.mark.parametrize("noise", [0.02, None])
def test_it_ends_when_no_better_score_exists(values: list[float], noise: float | None) -> None:
    found = enough(trials(*values, noise=noise), 30, Goal(True, 1.0))
    assert found == "no greater score than 1 exists"
    mirrored = trials(*[1 - value for value in values], noise=noise)
    assert enough(mirrored, 30, Goal(False, 0.0)) == "no smaller score than 0 exists"
    assert enough(trials(*values, noise=noise), 30, Goal(True, None)) is None
    assert enough(trials(*values, noise=noise), 0, Goal(True, 1.0)) is None


def test_a_metric_of_a_persons_own_has_no_known_end() -> None:
    study = optuna.create_study(direction="maximize")
    study.set_user_attr("metric", metric_key("scoring:profit"))
    assert goal_of(StudyRecord(study), study.directions) == Goal(True, None)
    study.set_user_attr("metric", "accuracy")
    assert goal_of(StudyRecord(study), study.directions) == Goal(True, 1.0)
    assert goal_of(StudyRecord(study), [StudyDirection.MINIMIZE]) == Goal(False, 0.0)


def test_a_worker_waits_while_a_trial_that_runs_may_still_have_the_search_go_on(tmp_path: Path) -> None:
    books = queue(tmp_path, n_trials=40, sampler="random", stop_when=StopWhen.noise)
    books.next_trial()
    for trial in trials(*CLOSE):
        books.study.add_trial(trial)
    assert books.next_trial() is None and not is_over(books)
    assert more_may_come(books)
    books.config.n_trials = 11
    assert not more_may_come(books)  # the budget is spoken for


def test_what_a_person_enqueued_and_what_was_begun_is_tried_first() -> None:
    config = StudyConfig(n_trials=40, stop_when=StopWhen.noise)
    done = trials(*CLOSE)
    assert str(spent(done, config)).startswith("stop_when=noise after 10 of 40 trials: ")
    assert "(about 3,000 training steps saved)" in str(spent(done, config))
    waiting = create_trial(state=TrialState.WAITING)
    assert spent([*done, waiting], config) is None
    assert spent(done, StudyConfig(n_trials=40)) is None


def test_the_rest_of_every_budget_counts() -> None:
    """Of 1,200 steps, 1,000 are used: two more trials, whatever n_trials allows."""
    config = StudyConfig(n_trials=40, max_train_steps=1200, stop_when=StopWhen.noise)
    assert "after 10 of 12 trials" in str(spent(trials(*CLOSE), config))


def close(config: RunConfig, trial: RunHooks) -> float:
    """Values between 0.8 and 0.801, with a noise of 0.02."""
    trial.trained(0.8, {}, "", Noise(0.02, 277))
    return evaluate(trial, [0.5, 0.8 + config.optimizer.learning_rate])


@pytest.mark.usefixtures("no_finish")
def test_a_sweep_ends_early_says_why_and_goes_on_when_it_is_told_to(
    capsys: pytest.CaptureFixture[str],
) -> None:
    few = ("hydra.sweeper.study.n_trials=12",)
    study = sweep(close, *SPACE, NOISE, *few)
    assert len(study.trials) == 10
    ended = str(describe(study).ended_by)
    assert ended.startswith("stop_when=noise after 10 of 12 trials: the expected gain of 2 more, ")
    assert f"ended by:     {ended}" in capsys.readouterr().out
    assert len(sweep(close, *SPACE, NOISE, *few).trials) == 10
    assert "more with hydra.sweeper.study.stop_when=none" in capsys.readouterr().err
    assert len(sweep(close, *SPACE, *few).trials) == 12


@pytest.mark.parametrize(
    ("key", "reason"),
    [("sampler=grid", "none with sampler=grid"),
     ("objectives={accuracy:maximize,train_runtime:minimize}", "none with several objectives")],
)  # fmt: skip
def test_where_there_is_nothing_to_stop_it_is_refused(key: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=f"stop_when: got 'noise'; legal: {reason}"):
        sweep(close, *SPACE[:3], NOISE, f"++hydra.sweeper.study.{key}")
