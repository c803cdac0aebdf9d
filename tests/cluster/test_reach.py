"""A sweep whose workers leave this host is refused if it writes where only this host can."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from finesweep.cluster.reach import check_leaves_host
from finesweep.config.run import RunConfig
from finesweep.errors import ConfigError

HERE = socket.gethostname()
POSTGRES, SERVER = "postgresql://me@db/studies", "http://mlflow:5000"
SHARED = ("cache_dir=/shared/cache", "tracking.spool=/shared/spool", "tracking.artifacts=/shared/artifacts")


@pytest.fixture(autouse=True)
def shared_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "cwd", lambda: Path("/shared/project"))  # tests' own folders lie in /tmp


def check(run: RunConfig, *, hosts: tuple[str, ...] = ("n1", "n2"), storage: str = POSTGRES,
          folder: str = "/shared/outputs", address: str = "10.0.0.1") -> None:  # fmt: skip
    check_leaves_host("hydra/launcher=slurm", dict.fromkeys(hosts, address), run, storage, folder)


def test_stores_and_folders_that_all_hosts_reach_are_taken(config: Callable[..., RunConfig]) -> None:
    check(config(f"tracking.uri={SERVER}", *SHARED))
    check(config("tracking.uri=postgresql://me@db/mlflow", *SHARED))


@pytest.mark.parametrize("hosts", [(), (HERE,), (f"{HERE.upper()}.example.org", HERE)])
def test_on_this_host_everything_is_taken(config: Callable[..., RunConfig], hosts: tuple[str, ...]) -> None:
    check(config(), hosts=hosts, storage="sqlite:///mlruns/optuna.db", folder="outputs")


@pytest.mark.parametrize(
    ("overrides", "changed", "key"),
    [
        ((), {"storage": "sqlite:///mlruns/optuna.db"}, "hydra.sweeper.study.storage"),
        (("tracking.uri=sqlite:////shared/mlflow.db",), {}, "tracking.uri"),
        (("tracking.uri=file:///shared/mlruns",), {}, "tracking.uri"),
        (("tracking.uri=mlruns",), {}, "tracking.uri"),
        (("tracking.uri=http://localhost:5000",), {}, "tracking.uri"),
        (("tracking.uri='https://me@[::1]:5000/path'",), {}, "tracking.uri"),
        ((), {"storage": "postgresql://me@127.0.1.1:5432/studies"}, "hydra.sweeper.study.storage"),
        (("cache_dir=mlruns/cache",), {}, "cache_dir"),
        (("cache_dir=/tmp/cache",), {}, "cache_dir"),
        (("tracking.spool=/dev/shm/spool",), {}, "tracking.spool"),
        (("tracking.uri=postgresql://me@db/mlflow", "tracking.artifacts=mlruns"), {}, "tracking.artifacts"),
        ((), {"folder": "outputs/study"}, "hydra.sweep.dir"),
        ((), {"folder": "/shared/../var/tmp/study"}, "hydra.sweep.dir"),
    ],
)
def test_what_is_of_this_host_alone_is_refused_by_its_key(
    config: Callable[..., RunConfig], overrides: tuple[str, ...], changed: dict[str, str], key: str
) -> None:
    with pytest.raises(ConfigError) as refused:
        check(config(f"tracking.uri={SERVER}", *SHARED, *overrides), **changed)  # type: ignore[arg-type]
    first, *lines = str(refused.value).splitlines()
    assert "hydra/launcher=slurm" in first and "n1, n2" in first
    assert [line.split(":")[0].strip() for line in lines] == [key] and "legal: " in lines[0]


def test_all_keys_are_named_at_once(
    config: Callable[..., RunConfig], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "cwd", lambda: Path("/tmp/project"))
    with pytest.raises(ConfigError) as refused:
        check(
            config(), hosts=(HERE, *(f"n{n}" for n in range(9))), storage="sqlite:///a.db", folder="outputs"
        )
    assert str(refused.value).count("legal: ") == 7
    assert "(n0, n1, n2, ...)" in str(refused.value)


def test_a_machine_that_plays_its_nodes_shares_its_loopback_with_them(
    config: Callable[..., RunConfig],
) -> None:
    run = config("tracking.uri=http://127.0.0.1:5000", *SHARED)
    check(run, storage="postgresql://me@localhost/studies", address="127.0.0.1")


def test_no_password_is_in_the_error(config: Callable[..., RunConfig]) -> None:
    with pytest.raises(ConfigError) as refused:
        check(config(f"tracking.uri={SERVER}", *SHARED), storage="postgresql://me:geheim@localhost/studies")
    assert "geheim" not in str(refused.value)
