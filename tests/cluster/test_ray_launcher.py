"""What hydra/launcher=ray refuses, and what a worker takes of a node; test_ray.py has a cluster."""

import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from processes import train

from finesweep.errors import ConfigError
from hydra_plugins.finesweep.ray import RayLauncher

pytest.importorskip("ray", reason="the extra [ray] is not installed")
from finesweep.cluster import ray as cluster  # noqa: E402
from finesweep.cluster.ray import Share  # noqa: E402

NODES = [
    {"Alive": alive, "NodeManagerHostname": f"node-{name}", "NodeManagerAddress": "10.0.0.1",
     "Resources": has}
    for alive, name, has in (
        (True, "a", {"CPU": 4.0, "memory": 1e9}), (True, "b", {"CPU": 8.0, "GPU": 2.0}), (False, "c", {}),
    )
]  # fmt: skip


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that has joined a cluster of two nodes that are alive."""
    monkeypatch.setattr(cluster, "connect", lambda _: None)
    monkeypatch.setattr(cluster.ray, "nodes", lambda: NODES)


def sweep(
    device: str = "auto", threads: int | None = None, workers_per_gpu: int = 1, processes: int = 1
) -> SimpleNamespace:
    return SimpleNamespace(
        run=SimpleNamespace(
            trainer=SimpleNamespace(device=device, threads=threads, num_processes=processes),
            cache_dir="/shared/cache",
            tracking=SimpleNamespace(
                spool="/shared/spool",
                uri="postgresql://me@db/runs",
                is_server=False,
                artifacts="/shared/artifacts",
            ),
        ),
        folder="/shared/outputs",
        config=SimpleNamespace(workers_per_gpu=workers_per_gpu),
    )


def share(launcher: RayLauncher, asked: SimpleNamespace) -> Share:
    launcher.check(asked, 2)  # type: ignore[arg-type]
    return launcher.share


@pytest.mark.usefixtures("joined")
def test_a_worker_takes_a_gpu_where_there_are_some_and_its_threads_in_cpus() -> None:
    assert share(RayLauncher(), sweep()) == Share(1, 1.0, {})
    assert share(RayLauncher(), sweep(workers_per_gpu=4)) == Share(1, 0.25, {})
    assert share(RayLauncher(), sweep(device="cpu", threads=3)) == Share(3, 0.0, {})
    assert share(RayLauncher(), sweep(processes=2, threads=3)) == Share(6, 2.0, {})
    given = RayLauncher(cpus=0.5, gpus=2, resources={"large": 1})
    assert share(given, sweep()) == Share(0.5, 2.0, {"large": 1})
    assert RayLauncher().hosts() == {"node-a": "10.0.0.1", "node-b": "10.0.0.1"}


@pytest.mark.usefixtures("joined")
def test_a_share_that_no_node_has_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    share(RayLauncher(cpus=8), sweep())
    assert capsys.readouterr().err == ""
    share(RayLauncher(gpus=4), sweep())
    said = capsys.readouterr().err
    assert said.startswith("no node of the Ray cluster has CPU 1, GPU 4, which each worker takes; ")
    assert said.endswith("there are: CPU 4; CPU 8, GPU 2\n")


@pytest.mark.usefixtures("joined")
@pytest.mark.parametrize("place", ["mlruns/cache", "HERE/mlruns/cache"])
def test_what_workers_write_does_not_lie_in_a_folder_that_is_copied(own_folder: Path, place: str) -> None:
    launcher, asked = RayLauncher(runtime_env={"working_dir": "."}), sweep()
    launcher.check(asked, 2)  # type: ignore[arg-type]
    asked.run.cache_dir = place.replace("HERE", str(own_folder))
    with pytest.raises(ConfigError, match="cache_dir: got .*, in the working folder"):
        launcher.check(asked, 2)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("address=ray://head:10001", "hydra.launcher.address: got 'ray://head:10001'; legal: "),
        ("gpus=-1", "hydra.launcher.gpus: got -1.0; legal: "),
        (
            "runtime_env.env_vars.PGPASSWORD=geheim-geheim",
            "hydra.launcher.runtime_env.env_vars.PGPASSWORD: Ray logs",
        ),
    ],
)
def test_what_ray_cannot_have_is_one_clear_error(tmp_path: Path, given: str, said: str) -> None:
    refused = train("-m", "hydra/launcher=ray", f"hydra.launcher.{given}", cwd=tmp_path)
    assert refused.returncode == 2
    assert refused.stderr.startswith(f"error: {said}")
    assert refused.stderr.count("\n") == 1 and "geheim" not in refused.stderr
    assert list(tmp_path.iterdir()) == []


def test_without_the_package_the_error_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "finesweep.cluster.ray")
    monkeypatch.delattr("finesweep.cluster.ray")
    with pytest.raises(ConfigError, match=r"the package ray is not installed.*pip install '\.\[ray\]'"):
        RayLauncher().hosts()


def test_a_command_is_told_to_stop_when_its_actor_is_killed(tmp_path: Path) -> None:
    # The child waits for a signal that it blocks: one that comes before it waits is not missed.
    child = "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM]); "
    child += "print('ready', flush=True); signal.sigwait([signal.SIGTERM]); print('told')"
    parent = (
        "import subprocess, sys; from finesweep.cluster.ray_actor import _end_with_parent\n"
        f"subprocess.Popen([sys.executable, '-c', {child!r}], preexec_fn=_end_with_parent).wait()"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as actor:
        assert actor.stdout is not None
        assert actor.stdout.readline() == "ready\n"
        actor.send_signal(signal.SIGKILL)
        assert actor.communicate(timeout=60)[0] == "told\n"
