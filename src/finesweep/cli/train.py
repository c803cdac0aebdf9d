"""`finesweep train`, and all of train.py: trains once, or sweeps, as Hydra's arguments say."""

import os
import re
import shlex
import sys
from contextlib import redirect_stderr, redirect_stdout, suppress
from io import StringIO
from pathlib import Path
from typing import Any, NoReturn

import click
import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig

from finesweep.cli.entry import exit_on_error, guarded
from finesweep.config.folders import conf_of
from finesweep.config.parse import parse_config, register_schema
from finesweep.config.places import in_project, reachable
from finesweep.config.shown import take_request
from finesweep.io.job_secrets import hide, protect
from finesweep.io.terminal import WITHOUT_SCRIPT, started_as
from finesweep.machine.imports import import_all


def _complete(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """Lets Hydra complete a TAB behind `finesweep train`."""
    given = [*context.params.get("arguments", ()), incomplete]
    # Bash hands `key=value` over as three words, and wants back what belongs behind the `=`.
    if not incomplete and os.environ.get("COMP_WORDS", "").endswith("="):
        given.insert(-1, "=")
    line = re.sub(" ?= ?", "=", " ".join(given))
    before = line.rpartition(" ")[2].removesuffix(incomplete)
    os.environ.update(COMP_LINE=f"train.py {line}", COMP_POINT=str(len(line) + len("train.py ")))
    sys.argv = [WITHOUT_SCRIPT, "-sc", "query=bash"]
    with suppress(Exception, SystemExit), redirect_stderr(StringIO()), redirect_stdout(StringIO()) as printed:
        run_hydra(Path.cwd(), WITHOUT_SCRIPT)
    return [word.removeprefix(before) for word in printed.getvalue().split()]


@click.command(
    context_settings={
        "ignore_unknown_options": True,
        "allow_interspersed_args": False,
        "help_option_names": [],
    }
)
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED, shell_complete=_complete)
def train(arguments: tuple[str, ...]) -> None:
    """Train once, or sweep: python train.py without a train.py.

    ARGUMENTS are Hydra's, as of train.py: `finesweep train --help` lists them.
    """
    sys.argv = [WITHOUT_SCRIPT, *hide(arguments)]
    run_hydra(Path.cwd(), WITHOUT_SCRIPT)


def main(script: str) -> NoReturn:
    """Is what a project's train.py does. script: its path, `__file__`; `conf/`, `sweeps/` lie beside it."""
    sys.exit(guarded(lambda: run_hydra(Path(script).resolve().parent, f"python {shlex.quote(sys.argv[0])}")))


def run_hydra(project: Path, command: str, conf: Path | None = None) -> None:
    """Does what `sys.argv` says, with the configs of a project; `command` is how a person starts it.

    conf: the main folder of configs, if it is not the project's.
    """
    sys.argv[1:] = take_request(sys.argv[1:])
    started_as(command)
    register_schema(command)
    config_path = get_args_parser().parse_args().config_path
    if config_path and "://" not in config_path:  # Hydra would look for it in this package
        sys.argv += ["--config-path", str(project / config_path)]
    hydra.main(version_base="1.3", config_path=str(conf or conf_of(project)), config_name="config")(job)()


def job(cfg: Any) -> object:
    """Is the task function: trains what Hydra has composed, a DictConfig.

    It ends the process for an error of a single run.
    """
    hydra_job = HydraConfig.get()
    protect(Path(hydra_job.runtime.output_dir, hydra_job.output_subdir or "."))
    with exit_on_error(hydra_job), in_project(Path(hydra_job.runtime.cwd)):
        config = reachable(parse_config(cfg))
        # Imported where they are used: --help, --cfg and a TAB need none of it.
        from finesweep.training import preflight

        preflight.check(config)  # before torch is imported: what cannot work answers at once
        import_all("finesweep.training.run")
        from finesweep.cli.single_run import run_shown

        return run_shown(config, Path(hydra_job.runtime.output_dir), list(hydra_job.overrides.task))
