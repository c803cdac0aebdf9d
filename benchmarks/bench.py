"""Measures everything that docs/speed.md speaks of, as `make bench` does: `benchmarks/bench.py --help`."""

import bench_memory
import bench_prediction
import bench_provenance
import bench_pruning
import bench_search
import bench_startup
import bench_study
import bench_training
import bench_trial
import bench_workers
from measure import Section
from runner import main

MODULES = (bench_training, bench_prediction, bench_search, bench_trial, bench_startup, bench_memory,
           bench_study, bench_provenance, bench_workers, bench_pruning)  # fmt: skip


def all_sections() -> list[Section]:
    return [section for module in MODULES for section in module.SECTIONS]


if __name__ == "__main__":
    main(all_sections())
