"""Measures what pruning saves and costs: each sweep runs twice, without a pruner and with one.

    python benchmarks/bench_pruning.py [--seeds 0 1 2] [--pruner NAME] [--options {...}] [-- ARGUMENTS]

Without arguments: the quickstart's space on its demo data, about eight minutes on two cores. Or your own:

    python benchmarks/bench_pruning.py -- sweep=NAME data=qnli data.path=DIR model.name_or_path=FOLDER

Space, sampler and seeds are the same in both. Each sweep is `python train.py -m` in a folder of its own.
Prints a line for each sweep, then one JSON line: the share of training steps saved, and how much better (or
worse) the best value is, for each seed and on average.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

TRAIN = Path(__file__).resolve().parent.parent / "train.py"


def sweep(arguments: list[str], seed: int, pruner: str, options: str) -> dict[str, Any]:
    """Runs one sweep in a new folder. Returns its summary."""
    command = [
        sys.executable, str(TRAIN), "-m", "trainer.evals_per_epoch=4", "tracking.system_metrics=false",
        *arguments, f"hydra.sweeper.study.seed={seed}", f"hydra.sweeper.study.pruner={pruner}",
        "hydra.sweeper.study.name=pruning", "predict=false",
    ]  # fmt: skip
    if pruner != "none":
        command.append(f"+hydra.sweeper.study.pruner_options={options}")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
        command = [sys.executable, "-m", "finesweep.cli.main", "status", "pruning", "--json"]
        status = json.loads(subprocess.run(command, cwd=folder, check=True, capture_output=True).stdout)
    summary = {"seed": seed, "pruner": pruner, "steps": status["train_steps"], "seconds": status["seconds"],
               "best": round(status["best"]["value"], 4), "pruned": status["states"]["PRUNED"]}  # fmt: skip
    print(json.dumps(summary), file=sys.stderr, flush=True)
    return summary


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--pruner", default="median")
    parser.add_argument("--options", default="{n_startup_trials:4,n_warmup_steps:30}")
    parser.add_argument("arguments", nargs="*", metavar="-- ARGUMENTS OF train.py")
    given = parser.parse_args()
    pairs = []
    for seed in given.seeds:
        pairs.append([sweep(given.arguments, seed, name, given.options) for name in ("none", given.pruner)])
    saved = [round(1 - pruned["steps"] / whole["steps"], 3) for whole, pruned in pairs]
    gained = [round(pruned["best"] - whole["best"], 4) for whole, pruned in pairs]
    print(json.dumps({
        "pruner": given.pruner, "options": given.options, "seeds": given.seeds,
        "steps_saved": saved, "best_value_gained": gained,
        "mean_steps_saved": round(statistics.fmean(saved), 3),
        "mean_gained": round(statistics.fmean(gained), 4),
        "seconds": [[whole["seconds"], pruned["seconds"]] for whole, pruned in pairs],
    }))  # fmt: skip


if __name__ == "__main__":
    main()
