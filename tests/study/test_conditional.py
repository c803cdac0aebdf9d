"""A parameter that exists only under another one's value, written in the sweep's file."""

from collections.abc import Iterator
from pathlib import Path

import optuna
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf
from optuna.distributions import CategoricalDistribution as Choice
from optuna.distributions import FloatDistribution as Float
from processes import ROOT
from sweeping import evaluate, sweep

from finesweep.config.parse import register_schema
from finesweep.config.run import RunConfig
from finesweep.config.study import StudyConfig, SweepConfig
from finesweep.errors import ConfigError
from finesweep.hooks import RunHooks
from finesweep.study.records import TrialRecord
from finesweep.study.samplers import make_sampler
from finesweep.study.space import Dimension, check_point, grid, named, params_of, suggest
from hydra_plugins.finesweep._arguments import split
from hydra_plugins.finesweep._dimensions import Dimensions

SPACE = (
    Dimension("optimizer", "optimizer", Choice(["adamw", "sgd"])),
    Dimension("lr|optimizer=adamw", "lr", Float(1e-5, 1e-3), {"optimizer": "adamw"}),
    Dimension("lr|optimizer=sgd", "lr", Float(1e-2, 1), {"optimizer": "sgd"}),
    Dimension("nesterov|optimizer=sgd", "nesterov", Choice([True, False]), {"optimizer": "sgd"}),
    Dimension("mu|nesterov=True", "mu", Choice([0.5, 0.9]), {"nesterov": True}),
)
BRANCHES = """
- when: {optimizer: adamw}
  params: {optimizer.learning_rate: "tag(log, interval(1e-5, 1e-3))"}
- when: {optimizer: sgd}
  params: {optimizer.learning_rate: "tag(log, interval(1e-2, 1))", optimizer.momentum: "interval(0, 0.9)"}
"""


@pytest.mark.parametrize("sampler", ["tpe", "random", "gp", "cmaes", "qmc"])
def test_only_what_exists_is_suggested(sampler: str) -> None:
    study = optuna.create_study()
    points = []
    for ordinal in range(30):
        study.sampler = make_sampler(StudyConfig(sampler=sampler), ordinal, SPACE)
        trial = study.ask()
        suggest(trial, SPACE)
        points.append(params_of(trial))
        study.tell(trial, points[-1]["lr"])
    for point in points:
        assert point["lr"] <= 1e-3 if point["optimizer"] == "adamw" else point["lr"] >= 1e-2
        assert ("nesterov" in point) is (point["optimizer"] == "sgd")
        assert ("mu" in point) is point.get("nesterov", False)
    assert {frozenset(point) for point in points} == {
        frozenset({"optimizer", "lr"}), frozenset({"optimizer", "lr", "nesterov"}),
        frozenset({"optimizer", "lr", "nesterov", "mu"}),
    }  # fmt: skip


def test_a_grid_walks_each_branch_once() -> None:
    points = grid(tuple(dimension for dimension in SPACE if dimension.key != "lr"))
    assert points == [
        {"optimizer": "adamw"},
        {"optimizer": "sgd", "nesterov": True, "mu": 0.5},
        {"optimizer": "sgd", "nesterov": True, "mu": 0.9},
        {"optimizer": "sgd", "nesterov": False},
    ]


def test_a_known_good_point_gets_the_names_of_its_branch() -> None:
    point = {"optimizer": "sgd", "lr": 0.5, "nesterov": False}
    check_point(point, SPACE)
    assert named(point, SPACE) == {
        "optimizer": "sgd", "lr|optimizer=sgd": 0.5, "nesterov|optimizer=sgd": False
    }  # fmt: skip
    with pytest.raises(ConfigError, match="enqueue: lr: got 0.5; legal: .*where optimizer=adamw"):
        check_point({"optimizer": "adamw", "lr": 0.5}, SPACE)
    with pytest.raises(ConfigError, match="nesterov does not exist at this point.*where optimizer=sgd"):
        check_point({"optimizer": "adamw", "nesterov": False}, SPACE)


@pytest.fixture
def read() -> Iterator[object]:
    """Dimensions of `params`, `conditional` (YAML) and a command line."""
    register_schema()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):

        def reading(params: dict[str, str], conditional: str, *arguments: str) -> dict[str, object]:
            from hydra.core.global_hydra import GlobalHydra

            loader = GlobalHydra.instance().config_loader()
            given = OverridesParser.create(config_loader=loader).parse_overrides(list(arguments))
            base = compose("config", [], return_hydra_config=True)
            fixed, searched = split(given, base.hydra.runtime.choices)
            base = compose("config", fixed, return_hydra_config=True)
            asked = {"params": params, "conditional": OmegaConf.create(conditional)}
            node = OmegaConf.merge(OmegaConf.structured(SweepConfig), asked)
            config = OmegaConf.to_object(node)
            assert isinstance(config, SweepConfig)
            reader = Dimensions(loader, base, fixed, lambda overrides: compose("config", overrides))
            space = reader.read(config, searched, {override.key_or_group for override in given})
            return {dimension.name: dimension.when for dimension in space}

        yield reading


def test_a_sweeps_file_says_it_in_branches(read) -> None:  # type: ignore[no-untyped-def]
    params = {"optimizer": "choice(adamw, sgd)"}
    assert read(params, BRANCHES) == {
        "optimizer": {},
        "optimizer.learning_rate|optimizer=adamw": {"optimizer": "adamw"},
        "optimizer.learning_rate|optimizer=sgd": {"optimizer": "sgd"},
        "optimizer.momentum|optimizer=sgd": {"optimizer": "sgd"},
    }
    # Fixed on the command line, only that branch is left, and it has no condition any more.
    left = {"optimizer.learning_rate": {}, "optimizer.momentum": {}}
    assert read(params, BRANCHES, "optimizer=sgd") == left
    assert read({"seed": "choice(1, 2)"}, BRANCHES) == {"seed": {}, "optimizer.learning_rate": {}}


@pytest.mark.parametrize(
    ("params", "branches", "message"),
    [
        ({"optimizer": "choice(adamw, sgd)"}, "[{when: {optimizer: adam}, params: {seed: 'choice(1, 2)'}}]",
         r"conditional\[0\].when.optimizer: got 'adam'; legal: adamw, sgd"),
        ({"seed": "interval(1, 9)"}, "[{when: {seed: 3}, params: {model.dropout: 'choice(0.1, 0.2)'}}]",
         r"when.seed: got 3; legal: a key that is searched with choice"),
        ({"seed": "choice(1, 2)"}, "[{when: {optimiser: sgd}, params: {model.dropout: 'choice(0.1, 0.2)'}}]",
         r"when.optimiser: no such key"),
        ({"seed": "choice(1, 2)"}, "[{when: {}, params: {model.dropout: 'choice(0.1)'}}]", "one key or more"),
        ({"seed": "choice(1, 2)"}, "[{when: {seed: 1}, params: {model.dropout: 'interval(2'}}]",
         r"conditional\[0\].params.model.dropout: got 'interval\(2'"),
        ({"seed": "choice(1, 2)", "model.dropout": "choice(0.1)"},
         "[{when: {seed: 1}, params: {model.dropout: 'choice(0.2)'}}]", "dropout has two ranges at once"),
    ],
)  # fmt: skip
def test_a_branch_that_cannot_be_is_refused(read, params, branches: str, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ConfigError, match=message):
        read(params, branches)


@pytest.mark.usefixtures("no_finish")
def test_trials_get_the_overrides_of_their_branch(tmp_path: Path) -> None:
    rates = []

    def training(config: RunConfig, trial: RunHooks) -> float:
        rates.append((config.optimizer.name.value, config.optimizer.weight_decay))
        return evaluate(trial, [0.5])

    conditional = (
        "hydra.sweeper.conditional="
        "[{when:{optimizer:adamw},params:{optimizer.weight_decay:'choice(0.01,0.02)'}},"
        "{when:{optimizer:sgd},params:{optimizer.weight_decay:'choice(0.1,0.2)'}}]"
    )
    study = sweep(training, "optimizer=adamw,sgd", conditional, "hydra.sweeper.study.sampler=grid",
                  "optimizer.learning_rate=1e-3", "trainer.num_train_epochs=1",
                  "trainer.per_device_train_batch_size=8")  # fmt: skip
    assert sorted(rates) == [("adamw", 0.01), ("adamw", 0.02), ("sgd", 0.1), ("sgd", 0.2)]
    assert all("|" not in text for trial in study.trials for text in TrialRecord(trial).overrides)
