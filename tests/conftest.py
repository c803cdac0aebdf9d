"""Shared by the tests: a folder of their own, and the composed config."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import hypothesis
import pytest
import ready_tables
from hydra import compose, initialize_config_dir
from processes import ROOT, SMALL, end_all

from finesweep.config.parse import parse_config, register_schema
from finesweep.config.run import RunConfig

# The same examples on every machine; no example has a deadline, and none is kept in the checkout.
hypothesis.settings.register_profile(
    "suite",
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
hypothesis.settings.load_profile("suite")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with slow tests come first, so that no core waits at the end for one that began late.

    The tests of a file stay together: they share what is made once for them.
    """
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


@pytest.fixture(scope="session", autouse=True)
def ctrl_c() -> Iterator[None]:
    """SIGINT interrupts, here and in each process that a test starts, even if `nohup` had it ignored."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session", autouse=True)
def ready_mlflow_tables() -> None:
    """MLflow's tables are made by its migrations once, and copied into each test's store."""
    ready_tables.copy_from_now_on()


@pytest.fixture(autouse=True)
def same_environment() -> Iterator[None]:
    """Restores the environment after each test, for a run sets threads and kernels there."""
    before = dict(os.environ)
    yield
    os.environ.clear()
    os.environ.update(before)


@pytest.fixture(autouse=True)
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every test writes its mlruns/ and outputs/ in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    return tmp_path


@pytest.fixture(autouse=True)
def no_process_left() -> Iterator[None]:
    """A test that fails leaves no process that it has started."""
    yield
    end_all()


@pytest.fixture
def no_submission(monkeypatch: pytest.MonkeyPatch) -> None:
    """For sweeps whose training is the test's own (`sweeping.sweep`): no weights to predict with."""
    monkeypatch.setattr(
        "finesweep.worker.finish._submit",
        lambda *_: SimpleNamespace(submissions=[], metrics={}, scorer=None, folder=None),
    )


@pytest.fixture
def no_finish(no_submission: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """For such sweeps in tests that look at no picture: drawing them takes most of the time."""
    monkeypatch.setattr("finesweep.monitor.plots.draw", lambda *_: [])
    monkeypatch.setattr("finesweep.worker.finish.publish_page", lambda *_: None)


@pytest.fixture
def config() -> Callable[..., RunConfig]:
    """A run's config as train.py composes it from these overrides."""

    def composed(*overrides: str) -> RunConfig:
        register_schema()
        with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
            return parse_config(compose("config", [*SMALL, *overrides]))

    return composed
