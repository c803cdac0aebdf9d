"""Runs the same trials under each engine, and compares what is left: points, weights, books, seconds.

python tests/support/engines.py [--trials 40] [--engines joblib slurm ...]

SLURM and Ray are real clusters of this machine's own, started for this; `hand` is a sweep with one worker,
and three commands `finesweep worker` beside it. The exit code is 1 if anything differs from the first engine.
"""

import argparse
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from aftermath import SweepAftermath, problems, read
from processes import FINESWEEP, SMALL, Process, start
from ray_nodes import ray_nodes
from slurm_cluster import slurm_cluster

NAME = "campaign"
TWO = ("hydra.sweeper.workers=2",)
Environ = dict[str, str]


def command(trials: int) -> list[str]:
    return [
        "-m", *SMALL[2:], "data.demo_rows=600", "trainer.num_train_epochs=2", "hydra.sweeper.enqueue=[]",
        "hydra.sweeper.study.sampler=random", f"hydra.sweeper.study.n_trials={trials}",
        f"hydra.sweeper.study.name={NAME}", f"hydra.sweeper.keep_checkpoints={trials}",
    ]  # fmt: skip


@contextmanager
def local(launcher: str) -> Iterator[tuple[Sequence[str], Environ]]:
    yield (f"hydra/launcher={launcher}", *TWO), {}


@contextmanager
def slurm() -> Iterator[tuple[Sequence[str], Environ]]:
    here = socket.gethostname()
    with slurm_cluster([here], [f"here Nodes={here} Default=YES"], cpus=2) as cluster:
        yield ("hydra/launcher=slurm", *TWO), cluster.environ


@contextmanager
def ray() -> Iterator[tuple[Sequence[str], Environ]]:
    with ray_nodes(nodes=2, cpus=1) as cluster:
        yield ("hydra/launcher=ray", *TWO), cluster.environ


ENGINES = ("finesweep", "joblib", "slurm", "ray", "hand")


def run(engine: str, folder: Path, trials: int) -> float:
    """Runs the sweep under an engine; returns its seconds, without those of starting a cluster."""
    engines = {"slurm": slurm, "ray": ray}
    with (
        engines[engine]() if engine in engines else local("finesweep" if engine == "hand" else engine) as one
    ):
        arguments, environ = one
        if engine == "hand":
            arguments = ("hydra.sweeper.workers=1",)
        began = time.monotonic()
        with ExitStack() as started:
            sweep = _start(started, (*command(trials), *arguments), folder, environ)
            for _ in range(3 if engine == "hand" else 0):
                _await_study(folder)
                _start(started, ("worker", NAME), folder, environ, FINESWEEP)
            code = sweep.wait()
        if code:
            raise SystemExit(f"{engine}: exit code {code}\n{(folder / 'log').read_text()}")
        return time.monotonic() - began


def _start(
    stack: ExitStack,
    arguments: Sequence[str],
    folder: Path,
    environ: Mapping[str, str],
    program: tuple[str, ...] | None = None,
) -> Process:
    log = stack.enter_context((folder / "log").open("a"))
    stdio = (subprocess.DEVNULL, log.fileno(), log.fileno())
    chosen = {"program": program} if program else {}
    process = start(*arguments, cwd=folder, environ=dict(environ), cold=True, stdio=stdio, **chosen)  # type: ignore[arg-type]
    stack.callback(process.wait)
    return process


def _await_study(folder: Path) -> None:
    while not read(folder, NAME).trials:
        time.sleep(0.2)


def compare(found: SweepAftermath, first: SweepAftermath, trials: int) -> list[str]:
    equal = found.numbers(first, trials)
    print(f"  weights equal: {equal['weights_equal']} of {equal['compared']}; lost {equal['lost']}, "
          f"twice {equal['duplicates']}; parent runs: {len(found.parents)}", flush=True)  # fmt: skip
    return problems(found, first, trials)


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--engines", nargs="+", choices=ENGINES, default=ENGINES)
    given = parser.parse_args()
    first, wrong = None, 0
    for engine in given.engines:
        with TemporaryDirectory(prefix=f"finesweep-{engine}-") as name:
            seconds = run(engine, Path(name), given.trials)
            print(f"{engine}: {given.trials} trials in {seconds:.0f} s", flush=True)
            found = read(Path(name), NAME)
            first = first or found
            for problem in compare(found, first, given.trials):
                wrong += 1
                print(f"  {problem}", flush=True)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
