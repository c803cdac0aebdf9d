"""A sampler of a person's own, named by its import path."""

from pathlib import Path

import pytest
from sweeping import evaluate, sweep

from finesweep.config.study import SAMPLERS, StudyConfig, SweepConfig, check_sweep
from finesweep.errors import ConfigError
from finesweep.study import samplers
from finesweep.study.samplers import make_sampler

MODULE = """
import optuna

class Lower(optuna.samplers.RandomSampler):
    def __init__(self, seed, share=1.0):
        super().__init__(seed)
        self.seed, self.share = seed, share

    def sample_independent(self, study, trial, name, distribution):
        value = super().sample_independent(study, trial, name, distribution)
        return value * self.share if name == "optimizer.learning_rate" else value

class Unseeded(optuna.samplers.RandomSampler):
    def __init__(self):
        super().__init__()

class NoSampler:
    pass
"""
KEY = "hydra.sweeper.study.sampler"


@pytest.fixture
def module(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (own_folder / "own_samplers.py").write_text(MODULE)
    monkeypatch.syspath_prepend(str(own_folder))


@pytest.mark.usefixtures("no_finish", "module")
def test_it_suggests_with_the_studys_seeds_and_its_own_options() -> None:
    own = (f"{KEY}=own_samplers:Lower", "optimizer.learning_rate=interval(1e-3,1e-2)")
    study = sweep(lambda _, trial: evaluate(trial, [0.5]), *own, "hydra.sweeper.study.n_trials=2",
                  "hydra.sweeper.study.sampler_options.share=0.5")  # fmt: skip
    config = StudyConfig(sampler="own_samplers:Lower")
    first, again, second = (make_sampler(config, ordinal) for ordinal in (0, 0, 1))
    assert first.seed == again.seed != second.seed  # type: ignore[attr-defined]
    assert [trial.params["optimizer.learning_rate"] < 1e-2 / 2 for trial in study.trials] == [True, True]


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(
    ("sampler", "options", "words"),
    [
        ("own_samplers:Missing", {}, "study.sampler: got 'own_samplers:Missing', which cannot be imported"),
        ("no_such_module:Mine", {}, "No module named 'no_such_module'"),
        ("own_samplers:NoSampler", {}, "inherits from optuna.samplers.BaseSampler"),
        ("own_samplers:Unseeded", {}, "unexpected keyword argument 'seed'"),
        ("own_samplers:Lower", {"nope": 1}, "unexpected keyword argument 'nope'"),
    ],
)
def test_one_that_cannot_be_used_is_one_clear_error(
    sampler: str, options: dict[str, int], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        make_sampler(StudyConfig(sampler=sampler, sampler_options=options), 0)


def test_a_name_that_is_neither_is_refused_with_the_legal_ones() -> None:
    with pytest.raises(ConfigError, match="got 'bayes'; legal: tpe, .*qmc, or module:class"):
        check_sweep(SweepConfig(study=StudyConfig(sampler="bayes")))


def test_each_sampler_that_has_a_name_can_be_made_and_no_other() -> None:
    assert set(samplers.SAMPLERS) == set(SAMPLERS)
