"""Measures the time that provenance costs a trial, in a new process and in a warm one.

    python benchmarks/bench_provenance.py [--quick]      about ten seconds a round

Each figure is the seconds to collect and write a run's record, before training and again with the results,
beside those of a whole run of the demo. The first record of a process is the slow one: it hashes packages,
sources, checkout and data.
"""

from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from commands import ROOT
from measure import Sample, Section, Work, seconds

SMALL = ["tracking.system_metrics=false", "trainer.threads=1", "predict=false"]


def composed(scratch: Path) -> Any:
    from hydra import compose, initialize_config_dir

    from finesweep.config.parse import parse_config, register_schema

    register_schema()
    places = [f"tracking.uri=sqlite:///{scratch}/mlflow.db", f"tracking.artifacts={scratch}/artifacts",
              f"cache_dir={scratch}/cache"]  # fmt: skip
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return parse_config(compose("config", [*SMALL, *places]))


def record(config: Any) -> Sample:
    from finesweep.provenance.fields import Results
    from finesweep.tracking import start_run
    from finesweep.training.inputs import load_inputs
    from finesweep.training.recording import log_provenance, log_results

    tracked = start_run(config.tracking, config.data.name, "bench", {})

    def write() -> None:
        written = log_provenance(config, [], load_inputs(config), tracked)
        log_results(written, tracked, Results(weights_sha256="0" * 64))

    return seconds(write)


def in_a_new_process() -> dict[str, Sample]:
    from finesweep.machine import device
    from finesweep.training.inputs import load_inputs
    from finesweep.training.run import run

    with TemporaryDirectory() as folder:
        config = composed(Path(folder))
        device.prepare(config.trainer)
        load_inputs(config)
        records = {"first record of a process": record(config), "a later record": record(config)}
        return records | {"a whole run": seconds(partial(run, config, Path(folder) / "out"))}


def variants(_: Path, quick: bool) -> dict[str, Work]:
    from finesweep.machine.fork_server import run_each

    return {"provenance": lambda: run_each([in_a_new_process])[0]}


SECTIONS = [Section("provenance", "seconds to record a run", variants, "a whole run")]

if __name__ == "__main__":
    import bench_provenance
    import runner

    runner.main(bench_provenance.SECTIONS)
