"""Explains every key of the config, for `python train.py --help` and for docs/configuration.md.

python -m finesweep.config.reference > docs/configuration.md
"""

import dataclasses
import json
import textwrap
from collections.abc import Iterable, Iterator
from enum import Enum
from itertools import groupby
from types import NoneType
from typing import Any, get_args, get_type_hints

from finesweep.config.ray import RayConfig
from finesweep.config.rules import MEANING, RULE, Rule
from finesweep.config.run import RunConfig
from finesweep.config.slurm import SlurmConfig
from finesweep.config.study import SweepConfig

SWEEP, LAUNCHER = "hydra.sweeper.", "hydra.launcher."
LAUNCHERS = {"ray": RayConfig, "slurm": SlurmConfig}  # those that have keys
COLUMNS = 100


OWN_SAMPLER = """## A sampler of your own

`hydra.sweeper.study.sampler=my_module:MySampler` names a class that inherits from
`optuna.samplers.BaseSampler`, in the working folder or an installed package. It is called with `seed` and
with `hydra.sweeper.study.sampler_options`. A new one is made for each suggestion. Its seed depends on the
study's seed and the number of the suggestion alone, so that an interrupted study goes on as an undisturbed
one would; what it knows of earlier trials is in the study that Optuna gives it."""


@dataclasses.dataclass(frozen=True)
class Key:
    """One key of the config, as a person reads it."""

    name: str
    default: str
    legal: str
    meaning: str

    @property
    def section(self) -> str:
        """The group that the key belongs to, as a title."""
        is_of_sweep, name = self.name.startswith(SWEEP), self.name.removeprefix(SWEEP)
        group = name.partition(".")[0] if "." in name else ""
        return f"{SWEEP}{group}".rstrip(".") if is_of_sweep else group or "more keys of a run"


def keys() -> list[Key]:
    """Returns every key, those of a run first."""
    return [*_keys(RunConfig, ""), *_keys(SweepConfig, SWEEP)]


def launcher_keys(launcher: str) -> list[Key]:
    """Returns the keys of `hydra/launcher=LAUNCHER`."""
    return list(_keys(LAUNCHERS[launcher], LAUNCHER))


def _keys(type_: Any, prefix: str) -> Iterator[Key]:
    types = get_type_hints(type_)
    for field in dataclasses.fields(type_):
        name, (inner, nullable) = f"{prefix}{field.name}", _without_null(types[field.name])
        if MEANING in field.metadata:
            yield Key(name, _default(field), _legal(field, inner, nullable), field.metadata[MEANING])
        if dataclasses.is_dataclass(inner):
            yield from _keys(inner, f"{name}.")


def _without_null(type_: Any) -> tuple[Any, bool]:
    parts = [part for part in get_args(type_) if part is not NoneType]
    nullable = NoneType in get_args(type_)
    return (parts[0], True) if nullable else (type_, False)


def _default(field: Any) -> str:
    value = field.default if field.default is not dataclasses.MISSING else field.default_factory()
    if isinstance(value, Enum):
        return value.name
    return value if isinstance(value, str) else json.dumps(value)


def _legal(field: Any, type_: Any, nullable: bool) -> str:
    rule: Rule | None = field.metadata.get(RULE)
    legal = rule.legal if rule else _legal_of_type(type_)
    return f"null, or {legal}" if nullable and "null" not in legal else legal


def _legal_of_type(type_: Any) -> str:
    if isinstance(type_, type) and issubclass(type_, Enum):
        return ", ".join(type_.__members__)
    if dataclasses.is_dataclass(type_):
        return "the keys below"
    words = {bool: "true, false", str: "a text", list[str]: "a list of texts"}
    return words.get(type_, "a list" if str(type_).startswith("list") else "a dictionary")


def help_template(command: str) -> str:
    """Returns the template of `--help`, in which Hydra fills in the config groups.

    command: how a person starts it, such as `python train.py`.
    """
    command = command.replace("$", "$$")
    run = [key for key in keys() if not key.name.startswith(SWEEP)]
    sweep = [key for key in keys() if key.name.startswith(SWEEP)]
    return "\n".join(
        [
            *("Fine-tune once, or sweep (-m).", ""),
            f"{command} data=qnli model=bert-tiny optimizer.learning_rate=1e-4",
            f"{command} -m sweep=qnli hydra.sweeper.study.n_trials=40",
            f"{command} -m data=rte 'optimizer.learning_rate=tag(log,interval(1e-5,1e-3))'",
            f"{command} [-m] ... --cfg job      shows the config that these arguments make",
            *("", "== Parts of the config: group=option ==", "", "$APP_CONFIG_GROUPS"),
            "== Keys of a run: key=value. ??? has no default: the file of its group sets it ==",
            *(_help(key) for key in run),
            *("", "== Keys of a sweep, with -m =="),
            *(_help(key) for key in sweep),
            *(line for launcher in LAUNCHERS for line in _launcher_help(launcher)),
            *("", f"Hydra's own options: {command} --hydra-help"),
        ]
    )


def _launcher_help(launcher: str) -> list[str]:
    title = f"== Keys of hydra/launcher={launcher}, with -m =="
    return ["", title, *(_help(key) for key in launcher_keys(launcher))]


def _help(key: Key) -> str:
    text = f"{key.meaning}. Legal: {key.legal}".replace("$", "$$")
    return f"\n{key.name}={key.default}\n" + textwrap.fill(
        text, COLUMNS, initial_indent="    ", subsequent_indent="    ", break_on_hyphens=False
    )


def markdown() -> str:
    """Returns the whole text of docs/configuration.md."""
    parts = [
        "# Configuration",
        "Every key, as `python train.py --help` shows it. A key is set on the command line, `key=value`, or "
        "in a YAML file of its group, as in `conf/model/bert-tiny.yaml`. `???` means no default: the file of "
        "its group sets the key.",
        *_sections(),
        *(_table(f"hydra/launcher={launcher}", launcher_keys(launcher)) for launcher in LAUNCHERS),
        OWN_SAMPLER,
    ]
    return "\n\n".join(parts) + "\n"


def _sections() -> Iterator[str]:
    for title, group in groupby(keys(), key=lambda key: key.section):
        yield _table(title, group)


def _table(title: str, keys: Iterable[Key]) -> str:
    rows = [f"| `{key.name}` | `{key.default}` | {_cell(key.legal)} | {_cell(key.meaning)} |" for key in keys]
    return "\n".join(
        [f"## {title}", "", "| key | default | legal | meaning |", "| --- | --- | --- | --- |", *rows]
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


if __name__ == "__main__":
    print(markdown(), end="")
