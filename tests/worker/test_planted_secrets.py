"""Secrets that a person can put into a sweep, also into its files, are in nothing that the sweep writes."""

import os
import re
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.singleton import Singleton
from omegaconf import OmegaConf
from optuna.trial import TrialState
from sweeping import evaluate, sweep

from finesweep.config.run import RunConfig
from finesweep.hooks import RunHooks
from finesweep.io.job_secrets import protect
from hydra_plugins.finesweep._references import without_secrets

# Each value begins with this; no part of it looks like a secret by itself.
PLANTED = "planted-"
LEAK = re.compile(rb"planted-[a-z]")  # this module's own constant, which is pickled, is none
OWN = f"""# @package _global_
hydra:
  job:
    env_set: {{SOME_API_KEY: {PLANTED}key, INNOCENT: {PLANTED}plain}}
    env_copy: [HF_TOKEN]
data:
  path: https://bucket/rows?X-Amz-Signature={PLANTED}signature
model:
  revision: https://bot:{PLANTED}basic@git.example/model?sig={PLANTED}sig&token={PLANTED}token
"""


@pytest.fixture
def pickles(own_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the launcher gets is written into a file, as launchers of clusters do."""
    instantiate, file = Plugins.instantiate_launcher, own_folder / "outputs" / "job.pkl"

    def written(self: Plugins, **launched: Any) -> Any:
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(cloudpickle.dumps((launched, Singleton.get_state())))
        return instantiate(self, **launched)

    monkeypatch.setattr(Plugins, "instantiate_launcher", written)


def test_secrets_of_a_file_are_in_nothing_that_a_sweep_writes(
    own_folder: Path, pickles: None, no_submission: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", f"{PLANTED}hub")
    (own_folder / "own/mine").mkdir(parents=True)
    (own_folder / "own/mine/secrets.yaml").write_text(OWN)

    def training(config: RunConfig, trial: RunHooks) -> float:
        protect(Path(HydraConfig.get().runtime.output_dir, ".hydra"))  # as train.py does
        assert os.environ["SOME_API_KEY"] == f"{PLANTED}key"
        assert config.data.path == f"https://bucket/rows?X-Amz-Signature={PLANTED}signature"
        if trial.run_name == "trial-0000":
            raise ValueError(f"cannot read {config.data.path} and {config.model.revision}, {PLANTED}hub")
        return evaluate(trial, [0.5])

    own = (f"hydra.searchpath=[file://{own_folder}/own]", "+mine=secrets")
    study = sweep(training, *own, "hydra.sweeper.study.n_trials=1")
    assert [trial.state for trial in study.trials] == [TrialState.FAIL, TrialState.COMPLETE]
    written = [path for part in ("outputs", "mlruns") for path in (own_folder / part).rglob("*")]
    assert {"job.pkl", "hydra.yaml", "optuna.db", "mlflow.db"} <= {path.name for path in written}
    leaks = [path for path in written if path.is_file() and LEAK.search(path.read_bytes())]
    assert not leaks


def test_addresses_in_a_file_become_references_with_the_same_value() -> None:
    storage, uri = f"postgresql://u:{PLANTED}1@h/db", f"https://{PLANTED}2@h:5000"
    config = OmegaConf.create(
        {
            "hydra": {
                "sweeper": {"study": {"storage": storage}, "params": {"a": "1,2"}},
                "job": {"num": "???"},
            },
            "tracking": {"uri": uri, "copy": "${tracking.uri}", "list": [uri, None, 3]},
        }
    )
    OmegaConf.set_readonly(config, True)
    before = OmegaConf.to_container(config, resolve=True)
    without_secrets(config)
    assert PLANTED not in OmegaConf.to_yaml(config)
    assert OmegaConf.to_container(config, resolve=True) == before
