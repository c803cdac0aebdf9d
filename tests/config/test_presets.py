"""`cluster=NAME` chooses where workers start; an address that is not filled in is refused by its key."""

from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from processes import ROOT, finesweep, train

from finesweep.config.parse import register_schema
from finesweep.config.rules import FILL_IN

PRESETS = sorted(path.stem for path in (ROOT / "conf/cluster").glob("*.yaml"))
LAUNCHERS = {"none": "finesweep", "postgres": "finesweep", "ray": "ray", "slurm": "slurm"}
STORAGE = "hydra.sweeper.study.storage=postgresql://sweeper@db/studies"
TRACKING = "tracking.uri=http://mlflow:5000"


def hydra_of(*overrides: str) -> tuple[str, str]:
    """Composes as a person would, and returns the launcher and the whole config as text."""
    register_schema()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        config = compose("config", list(overrides), return_hydra_config=True)
    return str(config.hydra.runtime.choices["hydra/launcher"]), OmegaConf.to_yaml(config)


def test_every_preset_is_known_here() -> None:
    assert set(PRESETS) == set(LAUNCHERS)


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_chooses_the_launcher_and_what_is_given_fills_it_in(preset: str) -> None:
    launcher, text = hydra_of(f"cluster={preset}")
    assert launcher == LAUNCHERS[preset]
    assert (FILL_IN in text) == (preset != "none")
    given = [STORAGE, TRACKING] if preset != "none" else []
    given += ["hydra.launcher.partition=gpu"] if preset == "slurm" else []
    filled = hydra_of(f"cluster={preset}", *given)[1]
    assert FILL_IN not in filled
    assert ("storage: postgresql://sweeper@db/studies" in filled) == (preset != "none")
    assert ("dir: ${hydra.runtime.cwd}/outputs/studies/" in filled) == (preset != "none")


def test_without_a_preset_workers_are_processes_of_this_host() -> None:
    assert hydra_of()[0] == hydra_of("cluster=none")[0] == "finesweep"
    assert hydra_of("hydra/launcher=joblib")[0] == "joblib"


@pytest.mark.parametrize(
    ("arguments", "key"),
    [
        (["cluster=postgres"], "tracking.uri"),
        (["-m", "cluster=postgres"], "hydra.sweeper.study.storage"),
        (["-m", "cluster=postgres", STORAGE], "tracking.uri"),
        (["-m", "cluster=ray", TRACKING], "hydra.sweeper.study.storage"),
        (["-m", "cluster=slurm", STORAGE, TRACKING], "hydra.launcher.partition"),
    ],
)
def test_what_is_not_filled_in_is_one_clear_error(tmp_path: Path, arguments: list[str], key: str) -> None:
    refused = train(*arguments, cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"error: {key}: got '{FILL_IN}'; legal: ")
    assert refused.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_help_lists_the_presets(tmp_path: Path) -> None:
    assert f"cluster: {', '.join(PRESETS)}\n" in finesweep("train", "--help", cwd=tmp_path).stdout
