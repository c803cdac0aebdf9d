"""Every key of the config is explained, in `--help` as in docs/configuration.md."""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from processes import ROOT, finesweep, train

from finesweep.config.reference import LAUNCHERS, Key, keys, launcher_keys, markdown
from finesweep.config.run import RunConfig
from finesweep.config.study import Branch, SweepConfig

KEYS = {key.name: key for key in keys()}


def unexplained(type_: Any, prefix: str) -> Iterator[str]:
    for field in dataclasses.fields(type_):
        name = f"{prefix}{field.name}"
        group = field.default_factory
        if isinstance(group, type) and dataclasses.is_dataclass(group):
            yield from unexplained(group, f"{name}.")
        elif name not in KEYS and not name.endswith("._target_"):
            yield name


def test_every_key_is_explained() -> None:
    assert list(unexplained(RunConfig, "")) == []
    assert list(unexplained(SweepConfig, "hydra.sweeper.")) == []
    assert "model.architecture.vocab_size" in KEYS
    assert all(key.meaning and key.legal for key in KEYS.values())
    assert {field.name for field in dataclasses.fields(Branch)} == {
        "when",
        "params",
    }  # told under `conditional`


@pytest.mark.parametrize(
    ("name", "default", "legal"),
    [
        ("optimizer.learning_rate", "5e-05", "a number above 0"),
        ("trainer.per_device_train_batch_size", "16", "a whole number, 1 or more"),
        ("trainer.early_stopping_patience", "null", "null, or a whole number, 1 or more"),
        ("hydra.sweeper.workers_per_gpu", "1", "a whole number, 1 or more"),
        ("hydra.sweeper.study.retry_oom", "true", "true, false"),
        ("model.init", "pretrained", "pretrained, random"),
        ("data.text_columns", "???", "a list of texts"),
    ],
)
def test_default_and_legal_values_come_from_the_dataclass(name: str, default: str, legal: str) -> None:
    assert KEYS[name] == Key(name, default, legal, KEYS[name].meaning)


@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_every_key_of_a_launcher_is_explained(launcher: str) -> None:
    fields = {field.name for field in dataclasses.fields(LAUNCHERS[launcher])} - {"_target_"}
    assert {key.name for key in launcher_keys(launcher)} == {f"hydra.launcher.{name}" for name in fields}


def test_the_docs_page_is_the_generated_one() -> None:
    page = ROOT / "docs/configuration.md"
    assert page.read_text() == markdown(), "python -m finesweep.config.reference > docs/configuration.md"


def test_help_names_the_command_that_was_typed(tmp_path: Path) -> None:
    shown = finesweep("train", "--help", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    assert "\nfinesweep train -m sweep=qnli " in shown.stdout and "python train.py" not in shown.stdout


def test_help_explains_every_key(tmp_path: Any) -> None:
    shown = train("--help", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    of_launchers = [key for launcher in LAUNCHERS for key in launcher_keys(launcher)]
    assert {f"{key.name}={key.default}" for key in [*KEYS.values(), *of_launchers]} <= set(lines)
    assert max(map(len, lines)) <= 110
    assert "model: bert-base" in shown.stdout
