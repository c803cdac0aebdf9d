"""A pickled worker, which launchers write into files, holds references to passwords, never their values."""

import pickle
from typing import Any

import pytest

from finesweep.config.run import TrackingConfig
from finesweep.config.study import StudyConfig, SweepConfig
from finesweep.errors import ConfigError
from finesweep.worker.worker import Worker

ADDRESSES = "postgresql://u:canary-1@h/db", "https://u:canary-2@h:5000"


def worker(storage: str, uri: str) -> Worker:
    nothing: Any = None
    sweep = SweepConfig(study=StudyConfig(storage=storage))
    tracking = TrackingConfig(uri=uri)
    return Worker(
        nothing, nothing, nothing, [], sweep, (), 0, tracking, "demo", "parent", nothing, ("command",), 0.0
    )


@pytest.mark.parametrize("given", [True, False], ids=["variable", "file"])
def test_passwords_travel_as_names_of_variables(given: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    if given:
        monkeypatch.setenv("STUDY_URL", ADDRESSES[0])
    pickled = pickle.dumps(worker(*ADDRESSES))
    assert b"canary" not in pickled
    assert (b"STUDY_URL" in pickled) is given
    loaded = pickle.loads(pickled)
    assert (loaded.sweep.study.storage, loaded.tracking.uri) == ADDRESSES
    monkeypatch.delenv("FINESWEEP_SECRET_TRACKING_URI")
    with pytest.raises(ConfigError, match="tracking.uri: the environment variable FINESWEEP_SECRET_TRACKING"):
        pickle.loads(pickled)


def test_addresses_without_a_password_travel_as_they_are() -> None:
    plain = "sqlite:///mlruns/optuna.db", "http://h:5000"
    loaded = pickle.loads(pickle.dumps(worker(*plain)))
    assert (loaded.sweep.study.storage, loaded.tracking.uri) == plain
