"""Values on their way from the command line to a trial: what is given is what each trial gets."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import optuna
import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import OmegaConf
from processes import ROOT, finesweep, train

from finesweep.cli.entry import explain
from finesweep.config.parse import parse_config, register_schema, type_of
from finesweep.config.run import OptimizerConfig, RunConfig
from finesweep.config.study import StudyConfig, SweepConfig
from finesweep.errors import ConfigError
from finesweep.study.samplers import make_sampler
from finesweep.study.space import Space, grid, named
from hydra_plugins.finesweep._arguments import split, stand_ins
from hydra_plugins.finesweep._dimensions import Dimensions


class CommandLine:
    """Reads the space of a command line, and composes what its trials would get."""

    def __init__(self) -> None:
        self.loader = GlobalHydra.instance().config_loader()

    def read(self, *arguments: str) -> tuple[list[str], Space]:
        given = OverridesParser.create(config_loader=self.loader).parse_overrides(list(arguments))
        groups = compose("config", [], return_hydra_config=True).hydra.runtime.choices
        fixed, searched = split(given, groups)
        base = compose("config", fixed, return_hydra_config=True)
        reader = Dimensions(self.loader, base, fixed, lambda overrides: compose("config", overrides))
        return fixed, reader.read(SweepConfig(), searched, {override.key_or_group for override in given})

    def trials(self, *arguments: str) -> list[RunConfig]:
        """Returns the config of each trial of a grid."""
        fixed, space = self.read(*arguments)
        points = [named(point, space) for point in grid(space)]
        return [
            parse_config(compose("config", [*fixed, *(d.override(point[d.name]) for d in space)]))
            for point in points
        ]


@pytest.fixture
def command() -> Iterator[CommandLine]:
    register_schema()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        yield CommandLine()


BATCH = "trainer.per_device_train_batch_size"
TEXTS = ["1e5", "null", "true", "1_000", "é", "[a]", "{a:1}", "a,b", "it's", "", "a b"]


def test_a_quoted_choice_arrives_as_the_string_that_it_is(command: CommandLine) -> None:
    quoted = ",".join('"' + text + '"' for text in TEXTS)
    assert [run.model.revision for run in command.trials(f"model.revision=choice({quoted})")] == TEXTS
    assert [run.model.revision for run in command.trials("model.revision=null,'null'")] == [None, "null"]


def test_a_dictionary_is_merged_as_on_the_command_line_of_one_run(command: CommandLine) -> None:
    runs = command.trials("model.architecture={hidden_size:32},{hidden_size:64,num_hidden_layers:1}")
    sizes = [run.model.architecture for run in runs]
    assert [(size.hidden_size, size.num_hidden_layers) for size in sizes if size] == [(32, 2), (64, 1)]


@pytest.mark.parametrize(
    ("arguments", "batches"),
    [
        ([f"{BATCH}=8,16", f"{BATCH}=32"], [32, 32]),
        ([f"{BATCH}=32", f"{BATCH}=8,16"], [8, 8, 16, 16]),
        ([f"{BATCH}=8,16", f"{BATCH}=4,2"], [4, 4, 2, 2]),
        ([f"++{BATCH}=8,16"], [8, 8, 16, 16]),
    ],
)  # fmt: skip
def test_the_last_override_of_a_key_wins(
    command: CommandLine, arguments: list[str], batches: list[int]
) -> None:
    runs = command.trials(*arguments, "seed=1,2")
    assert [run.trainer.per_device_train_batch_size for run in runs] == batches


@pytest.mark.parametrize(
    ("argument", "error", "message"),
    [
        ("optimizer@foo=adamw,sgd", HydraException, "Could not override 'optimizer@foo'"),
        ("+optimizer.learning_rate=1e-3,1e-4", HydraException, "Could not append"),
        ("+optimizer.speed=1,2", ConfigError, "optimizer.speed: no such key"),
        ("+speed=1,2", ConfigError, "speed: no such key"),
        ("model.architecture={hidden:1},{hidden:2}", HydraException, "Could not override"),
        ("optimizer.learning_rate=choice(-1,1e-3)", ConfigError, "learning_rate: got -1.0"),
        ("trainer.per_device_train_batch_size=choice(8,8.5)", HydraException, "batch_size=8.5"),
        ("trainer.threads=interval(1.5,4.5)", ConfigError, "trainer.threads: .*whole numbers"),
        ("model.gradient_checkpointing=interval(0,1)", ConfigError, "legal: choice"),
        ("model=demo,no-such-model", HydraException, "no-such-model"),
    ],
)  # fmt: skip
def test_what_no_trial_could_compose_is_refused_at_the_start(
    command: CommandLine, argument: str, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        command.read(argument)


def test_an_override_around_a_searched_key_must_come_before_it(command: CommandLine) -> None:
    size, sizes = "model.architecture.hidden_size=32", "model.architecture={num_hidden_layers:1},{}"
    assert len(command.trials(size, sizes)) == 2
    with pytest.raises(ConfigError, match="hidden_size, given after it"):
        command.read(sizes, size)


def test_what_has_no_value_but_in_the_search_may_be_searched(own_folder: Path) -> None:
    shutil.copytree(ROOT / "conf", own_folder / "conf")
    shutil.copytree(ROOT / "sweeps", own_folder / "sweeps")
    main = own_folder / "conf" / "config.yaml"
    main.write_text(main.read_text().replace("optimizer: adamw", "optimizer: ???"))
    register_schema()
    with initialize_config_dir(str(own_folder / "conf"), version_base="1.3"):
        loader = GlobalHydra.instance().config_loader()
        parser = OverridesParser.create(config_loader=loader)
        arguments = ["optimizer=sgd,adamw", "seed=1,2"]
        master = loader.load_configuration("config", arguments, run_mode=RunMode.MULTIRUN)
        searched = parser.parse_overrides(arguments)
        assert stand_ins(parser, {}, searched, master) == ["optimizer=sgd"]
        assert stand_ins(parser, {"optimizer": "adamw,sgd"}, [], master) == ["optimizer=adamw"]
        assert loader.load_sweep_config(master, ["optimizer=sgd"]).optimizer.name.value == "sgd"


def test_the_type_of_a_key_comes_from_the_schema() -> None:
    keys = (
        "trainer.threads",
        "model.dropout",
        "model.architecture.hidden_size",
        "seed",
        "model.freeze",
        "x.y",
    )
    assert [type_of(key) for key in keys] == [int, float, int, int, Any, Any]
    assert type_of("optimizer") is OptimizerConfig


def test_an_interval_of_a_whole_number_key_that_is_null_by_default(command: CommandLine) -> None:
    _, space = command.read("trainer.threads=interval(1,4)", "trainer.num_train_epochs=int(interval(1,5))")
    assert [type(dimension.distribution).__name__ for dimension in space] == ["IntDistribution"] * 2


@pytest.mark.parametrize("seed", range(5))
def test_first_suggestions_are_spread_over_the_range(seed: int) -> None:
    draws = []
    for ordinal in range(40):
        study = optuna.create_study(sampler=make_sampler(StudyConfig(seed=seed), ordinal))
        draws.append(study.ask().suggest_float("x", 0, 1))
    quarters = [sum(low <= draw < low + 0.25 for draw in draws) for low in (0, 0.25, 0.5, 0.75)]
    assert min(quarters) >= 4  # 10 expected; consecutive seeds gave 0.549, 0.417, 0.436, 0.551


def test_a_study_from_before_goes_on_with_its_own_seeds() -> None:
    draws = []
    for ordinal in range(4):
        sampler = make_sampler(StudyConfig(), ordinal, hashed_seeds=False)
        draws.append(round(optuna.create_study(sampler=sampler).ask().suggest_float("x", 0, 1), 3))
    assert draws == [0.549, 0.417, 0.436, 0.551]


def test_a_dictionary_of_the_sweep_is_given_whole() -> None:
    register_schema()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        given = [
            "hydra.sweeper.study.objectives={accuracy: maximize, train_runtime: minimize}",
            "hydra.sweeper.study.sampler_options={n_startup_trials: 3}",
            "hydra.sweeper.study.pruner_options.n_warmup_steps=5",
            "hydra.sweeper.params={optimizer.weight_decay: 'interval(0, 1)'}",
        ]
        sweeper = compose("config", given, return_hydra_config=True).hydra.sweeper
        plain = OmegaConf.to_container(sweeper, enum_to_str=True)
        assert isinstance(plain, dict)
        assert plain["study"]["objectives"] == {"accuracy": "maximize", "train_runtime": "minimize"}
        assert plain["study"]["sampler_options"] == {"n_startup_trials": 3}
        assert plain["study"]["pruner_options"] == {"n_warmup_steps": 5}
        assert plain["params"]["optimizer.weight_decay"] == "interval(0, 1)"
        with pytest.raises(HydraException, match="stud"):
            compose("config", ["hydra.sweeper.stud.seed=1"], return_hydra_config=True)


OBJECTIVES = "hydra.sweeper.study.objectives"


@pytest.mark.parametrize(
    "given",
    [
        [f"{OBJECTIVES}={{accuracy: maximize, train_runtime: minimize}}"],
        [f"{OBJECTIVES}={{accuracy:maximize,train_runtime:minimize}}"],
        [f"{OBJECTIVES}={{accuracy: 'maximize', train_runtime: \"minimize\"}}"],
        [f"++{OBJECTIVES}={{accuracy: maximize, train_runtime: minimize}}"],
        [f"{OBJECTIVES}.accuracy=maximize", f"+{OBJECTIVES}.train_runtime=minimize"],
    ],
)
def test_objectives_are_given_in_each_form_a_person_would_try(command: CommandLine, given: list[str]) -> None:
    study = compose("config", given, return_hydra_config=True).hydra.sweeper.study
    plain = OmegaConf.to_container(study.objectives, enum_to_str=True)
    assert plain == {"accuracy": "maximize", "train_runtime": "minimize"}


@pytest.mark.parametrize("value", ["{'accuracy': maximize}", "'{accuracy: maximize}'", "{accuracy:"])
def test_a_dictionary_that_is_quoted_wrongly_is_told_how(command: CommandLine, value: str) -> None:
    with pytest.raises(HydraException) as refused:
        compose("config", [f"{OBJECTIVES}={value}"], return_hydra_config=True)
    assert f"'{OBJECTIVES}={{name: value, name: value}}'" in explain(refused.value)


def test_the_command_shows_a_sweeps_config_too(own_folder: Path) -> None:
    shown = finesweep("train", "-m", "sweep=qnli", "--cfg", "job", cwd=own_folder)
    assert shown.returncode == 0, shown.stderr
    assert "#   optimizer.learning_rate: " in shown.stdout
    assert list(own_folder.iterdir()) == []


def test_a_sweep_shows_its_config_and_starts_nothing(own_folder: Path) -> None:
    chosen = ("sweep=optimizers", "optimizer.weight_decay=0.5", "trainer.num_train_epochs=2")
    shown = train("-m", *chosen, "--cfg", "job", cwd=own_folder)
    assert shown.returncode == 0, shown.stderr
    config = yaml.safe_load(shown.stdout)
    assert (config["optimizer"]["weight_decay"], config["trainer"]["num_train_epochs"]) == (0.5, 2.0)
    searched = [line for line in shown.stdout.splitlines() if line.startswith("#   ")]
    assert "#   optimizer: adamw, sgd" in searched
    assert "#   optimizer.learning_rate: 0.0001 to 0.01, on a log scale, where optimizer=adamw" in searched
    assert not any("num_train_epochs" in line for line in searched)
    assert list(own_folder.iterdir()) == []
