"""Commands of all pages are composed or parsed by what would run them; test_readme.py runs the README's."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import click
import pytest
from hydra import compose, initialize_config_dir
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from pages import ROOT, Command, all_commands, blocks, make_project, pages

from finesweep.cli.main import VERBS, finesweep
from finesweep.config.parse import parse_config, register_schema
from finesweep.study.request import SweepRequest
from hydra_plugins.finesweep._engine import EngineLauncher

# What a shell or another program reads, and what tries it.
OTHER = {
    "cd": "nothing to try",
    "curl": "nothing: it needs a server",
    "eval": "test_a_completion_script_is_printed",
    "export": "nothing to try",
    "git": "nothing: it needs a network",
    "jupyter": "Jupyter's own command",
    "make": "test_a_make_target_exists",
    "mlflow": "MLflow's own command",
    "optuna-dashboard": "the dashboard's own command",
    "pip": "nothing: it needs a package index",
    "source": "nothing to try",
}
BASIC, ENGINES = ["hydra/launcher=basic"], ("hydra/launcher=", "cluster=ray", "cluster=slurm")
TRAINS = (("python", "train.py"), ("finesweep", "train"))


def of(*beginnings: tuple[str, ...]) -> list[Command]:
    return [c for c in all_commands() if any(c.arguments[: len(words)] == words for words in beginnings)]


class Composed(Exception):
    """Ends a sweep's command where it would create the study."""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with the configs and sweeps of the repository and those that the pages show."""
    return make_project(tmp_path_factory.mktemp("project"))


@pytest.fixture
def conf(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    def stop(sweep: SweepRequest, parallel: bool) -> None:
        raise Composed(f"{len(sweep.space)} dimensions")

    monkeypatch.setattr("finesweep.worker.launch.prepare", stop)
    monkeypatch.setattr(EngineLauncher, "check_reach", lambda *_: None)  # of a cluster that is not here
    for name in ("TRACKING_URI", "STORAGE"):  # of docs/secrets.md
        monkeypatch.setenv(name, "sqlite:///mlruns/of_a_variable.db")
    register_schema()
    with initialize_config_dir(str(project / "conf"), version_base="1.3"):
        for engine in EngineLauncher.__subclasses__():  # when Hydra has found them
            monkeypatch.setattr(engine, "check", lambda *_: None)
        yield


def check_composes(overrides: Sequence[str], *, sweep: bool) -> None:
    """Composes what a training would get, or what the sweeper hands on to create the study."""
    if not sweep:
        parse_config(compose("config", list(overrides)))
        return
    hydra = GlobalHydra.instance().hydra
    assert hydra is not None
    with pytest.raises(Composed):
        own = [] if any(text.startswith(ENGINES) for text in overrides) else BASIC
        hydra.multirun("config", lambda _: None, [*overrides, *own], with_log_configuration=False)


@pytest.mark.usefixtures("conf")
@pytest.mark.parametrize("command", [c for c in of(*TRAINS) if c.page != "README.md"], ids=str)
def test_a_training_command_composes(command: Command) -> None:
    given = get_args_parser().parse_args(list(command.arguments[2:]))
    check_composes(given.overrides, sweep=given.multirun)


@pytest.mark.parametrize("command", [c for c in of(("finesweep",)) if c not in of(*TRAINS)], ids=str)
def test_a_finesweep_command_has_a_verb_and_options_that_exist(command: Command) -> None:
    verb, *arguments = command.arguments[1:]
    if verb not in ("--help", "--version"):
        assert verb in VERBS
        parser = finesweep.get_command(click.Context(finesweep), verb)
        assert parser is not None
        parser.make_context(verb, arguments)


@pytest.mark.parametrize("command", of(("make",)), ids=str)
def test_a_make_target_exists(command: Command) -> None:
    arguments = ["make", "--dry-run", *command.arguments[1:]]
    subprocess.run(arguments, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)


@pytest.mark.parametrize("command", of(("eval",)), ids=str)
def test_a_completion_script_is_printed(command: Command) -> None:
    environ = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    line = command.arguments[1].removeprefix("$(").removesuffix(")")
    printed = subprocess.run(
        ["bash", "-c", line], cwd=ROOT, env=environ, check=True, capture_output=True, text=True
    )
    assert "complete" in printed.stdout
    subprocess.run(["bash", "-n"], input=printed.stdout, check=True, text=True)


def test_every_command_is_of_a_kind_that_is_known_here() -> None:
    known = of(*TRAINS, ("finesweep",), *((word,) for word in OTHER))
    assert {str(command) for command in all_commands()} == {str(command) for command in known}
    assert len(of(*TRAINS)) > 20


@pytest.mark.parametrize("page", pages())
def test_every_block_of_commands_is_valid_bash(page: str) -> None:
    for block in blocks(page, "bash"):
        subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)


@pytest.mark.parametrize("page", pages())
def test_commands_stand_in_blocks_of_bash_and_programs_in_blocks_of_python(page: str) -> None:
    """So that they are found here; what a person saw, with `$` before a command, is neither."""
    plain = "".join(block.text for block in blocks(page, ""))
    assert not re.search(r"^(finesweep|python|make|pip|mlflow) ", plain, re.MULTILINE)
    for block in blocks(page, "python"):
        compile(block.text, page, "exec")


@pytest.mark.usefixtures("conf")
def test_a_wrong_command_of_a_page_is_found() -> None:
    with pytest.raises(Exception, match="learning_rat"):
        check_composes(["optimizer.learning_rat=1e-3"], sweep=False)
    with pytest.raises(Exception, match="nothing_here"):
        check_composes(["sweep=nothing_here"], sweep=True)
