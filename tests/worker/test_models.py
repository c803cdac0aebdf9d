"""Every model of a sweep is checked, and tried out on one batch, before the first trial starts."""

from collections.abc import Callable
from pathlib import Path

import pytest
from sweeping import evaluate, sweep
from tiny_models import save_model

from finesweep.errors import ConfigError, ModelError
from finesweep.worker import models

ONE_TRIAL = "hydra.sweeper.study.n_trials=1"


@pytest.fixture
def tried(monkeypatch: pytest.MonkeyPatch) -> list[Callable[[], None]]:
    """The try-outs, which run in this process; each is one start of a process else."""
    calls: list[Callable[[], None]] = []

    def here(function: Callable[[], None]) -> None:
        calls.append(function)
        function()

    monkeypatch.setattr(models, "in_fresh_process", here)
    return calls


def swept(*overrides: str) -> None:
    loaded = "model.architecture=null", "model.init=pretrained"
    sweep(lambda _, trial: evaluate(trial, [0.5]), *loaded, ONE_TRIAL, *overrides)


def test_a_wrong_model_among_several_choices_is_found_at_the_start(
    tried: list[Callable[[], None]], own_folder: Path
) -> None:
    save_model(own_folder / "good", "Bert")
    save_model(own_folder / "short", "Roberta")
    choice = "model.name_or_path=choice(good,short)"
    with pytest.raises(ConfigError, match="model.max_length: got 33; legal: 8 to 32"):
        swept(choice, "model.max_length=choice(16,33)")
    with pytest.raises(ModelError, match="model.name_or_path: ./nowhere: no such folder"):
        swept("model.name_or_path=choice(good,./nowhere)")
    assert len(tried) == 1  # a folder that is not there needs no try-out
    assert not (own_folder / "mlruns/optuna.db").exists()


@pytest.mark.usefixtures("no_finish")
def test_a_model_that_was_tried_out_is_not_tried_again(
    tried: list[Callable[[], None]], own_folder: Path
) -> None:
    save_model(own_folder / "good", "Bert")
    for _ in range(2):
        swept("model.name_or_path=good", "model.max_length=32")
    assert len(tried) == 1


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "model.architecture.vocab_size=choice(20,2000)",
            r"vocab_size: got 20; legal: at least \d+, for the char",
        ),
        ("model.architecture.vocab_size=interval(20,2000)", r"vocab_size: got 20; legal: at least"),
        (
            "model.architecture.hidden_size=choice(64,63)",
            "hidden_size: got 63; legal: a multiple of .*heads=",
        ),
        (
            "model.architecture.num_hidden_layers=choice(0,1)",
            "num_hidden_layers: got 0; legal: a whole number",
        ),
        ("model.max_length=choice(64,513)", "model.max_length: got 513; legal: 8 to 512, the positions"),
    ],
)
def test_sizes_that_no_model_can_have_are_found_at_the_start(
    override: str, message: str, own_folder: Path
) -> None:
    with pytest.raises(ConfigError, match=message):
        sweep(lambda _, trial: evaluate(trial, [0.5]), ONE_TRIAL, override)
    assert not (own_folder / "mlruns/optuna.db").exists()


def test_the_launching_process_tries_nothing_out_itself(own_folder: Path) -> None:
    save_model(own_folder / "short", "Roberta")
    with pytest.raises(ConfigError, match="model.max_length: got 33; legal: 8 to 32"):
        swept("model.name_or_path=short", "model.max_length=33")
    assert not (own_folder / "mlruns/optuna.db").exists()
