"""Measures the time that provenance costs a trial, in a new process and in a warm one.

python benchmarks/bench_provenance.py [--repeats 5] [OVERRIDE ...]      e.g. data=rte data.path=DIR

Prints one JSON line: the seconds to collect and write a run's record, before training and again with the
results, and the seconds of one training of the demo to compare with. The first record in a process is the
slow one: it hashes packages, sources, checkout and data.
"""

import argparse
import json
import statistics
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from hydra import compose, initialize_config_dir

from finesweep.config.parse import parse_config, register_schema
from finesweep.config.run import RunConfig
from finesweep.machine import device
from finesweep.provenance.record import Provenance
from finesweep.tracking import start_run
from finesweep.training.inputs import load_inputs
from finesweep.training.recording import log_provenance, log_results
from finesweep.training.run import run

ROOT = Path(__file__).resolve().parent.parent
SMALL = ["tracking.system_metrics=false", "trainer.threads=1", "predict=false"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("overrides", nargs="*")
    arguments = parser.parse_args()
    with TemporaryDirectory() as scratch:
        config = composed([*SMALL, *arguments.overrides], Path(scratch))
        device.prepare(config.trainer)
        load_inputs(config)
        seconds = [recorded(config) for _ in range(1 + arguments.repeats)]
        started = time.perf_counter()
        run(config, Path(scratch) / "out")
        whole = time.perf_counter() - started
    warm = seconds[1:]
    print(json.dumps({
        "first_s": round(seconds[0], 3), "warm_median_s": round(statistics.median(warm), 3),
        "warm_range_s": [round(min(warm), 3), round(max(warm), 3)], "one_run_s": round(whole, 1),
    }))  # fmt: skip


def composed(overrides: list[str], scratch: Path) -> RunConfig:
    register_schema()
    places = [f"tracking.uri=sqlite:///{scratch}/mlflow.db", f"tracking.artifacts={scratch}/artifacts",
              f"cache_dir={scratch}/cache"]  # fmt: skip
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return parse_config(compose("config", [*overrides, *places]))


def recorded(config: RunConfig) -> float:
    tracked = start_run(config.tracking, config.data.name, "bench", {})
    started = time.perf_counter()
    record: Provenance = log_provenance(config, [], load_inputs(config), tracked)
    log_results(record, tracked, {"weights_sha256": "0" * 64})
    return time.perf_counter() - started


if __name__ == "__main__":
    main()
