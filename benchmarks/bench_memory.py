"""Measures the memory of a worker and of a whole sweep, and the disk that a trial needs.

    python benchmarks/bench_memory.py [--quick]      about a minute a round; Linux only

Two trials of one epoch, at the same time, of a BERT-tiny with random weights on RTE's sizes. Figures are MB.
A process's memory is the highest resident memory it ever had; in workers it includes what they share with
the server that they are forked from. `a sweep` is the proportional memory (PSS) of all its processes, in
which shared memory counts once.
"""

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from bench_search import Point, library_command, sweep_command, write_inputs
from commands import Peaks, disk_use, run
from measure import Sample, Section, Work, sample

IMPORTS = """
import torch, transformers
from transformers import BertForSequenceClassification, Trainer
sys.path.append({folder!r})
from commands import resident_peak
print(resident_peak("self"))
"""
POINTS: list[Point] = [
    {"learning_rate": rate, "num_train_epochs": 1, "per_device_train_batch_size": 16} for rate in (1e-4, 2e-4)
]


def imports() -> Sample:
    code = "import sys" + IMPORTS.format(folder=str(Path(__file__).parent))
    with TemporaryDirectory() as folder:
        return sample(lambda: float(run([sys.executable, "-c", code], Path(folder))))


def library(inputs: Path) -> Sample:
    with TemporaryDirectory() as folder:
        command = library_command(inputs, POINTS[:1])
        return sample(lambda: float(json.loads(run(command, Path(folder)).splitlines()[-1])["resident_mb"]))


def finesweep(inputs: Path) -> dict[str, Sample]:
    with TemporaryDirectory() as name:
        folder = Path(name)
        peaks = Peaks(lambda: sorted(folder.glob("outputs/studies/bench/trial-*")))
        options = ["hydra.sweeper.keep_checkpoints=1"]
        work = partial(run, [*sweep_command(inputs, POINTS), *options], folder, watch=peaks)

        def worker() -> float:
            work()
            return max(peaks.resident.values())

        measured = sample(worker)
        kept = [disk_use(one) for one in folder.glob("outputs/studies/bench/trial-*")]
        named = {
            "a worker": measured.value, "a sweep": peaks.proportional,
            "disk, a trial's peak": max(peaks.disk.values()), "disk, kept of the best trial": max(kept),
            "disk, kept of another trial": min(kept), "disk, mlruns/": disk_use(folder / "mlruns"),
        }  # fmt: skip
        return {what: replace(measured, value=value) for what, value in named.items()}


def variants(folder: Path, quick: bool) -> dict[str, Work]:
    write_inputs(folder, 0.2 if quick else 1.0)
    return {
        "imports": imports,
        "library's defaults": partial(library, folder),
        "finesweep": partial(finesweep, folder),
    }


SECTIONS = [Section("memory", "MB, two trials on RTE's sizes", variants, "imports")]

if __name__ == "__main__":
    import bench_memory
    import runner

    runner.main(bench_memory.SECTIONS)
