"""Records learning curves: trains points of the default space with the product's own training, to the end.

    python benchmarks/curves/record.py [--glue DIR] [--model DIR] [TASK ...]        make curves

Each training is evaluated at every twentieth of it. Half of the evaluated rows, every second one by length,
select; nobody selects on the others. Results go to `TASK.jsonl` beside this file, and what is there is not
trained again, so a recording that was killed goes on. One core is busy; run another TASK for another core.
"""

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import recorded
import spaces
from recorded import Training
from transformers import EvalPrediction

from finesweep import RunConfig, load_config
from finesweep.hooks import Noise
from finesweep.machine import device
from finesweep.study.encode import encode
from finesweep.tasks import Scorer, Task, resampling
from finesweep.tasks.evaluated import Evaluated
from finesweep.tasks.scoring import outputs_of
from finesweep.training.callback import TrainingCallback
from finesweep.training.inputs import load_inputs
from finesweep.training.model import load_model
from finesweep.training.trainer import build_trainer, steps_per_epoch, train

PLAIN = "predict=false", "trainer.threads=1", "trainer.device=cpu"


class Halves(Scorer):
    """Scores every second row, by length; keeps the scores of the other rows, and the best scored rows."""

    def __init__(self, task: Task, names: Sequence[str]) -> None:
        super().__init__(task, names)
        self.metric, *_ = self.metrics
        self.untouched: list[float] = []
        self.best, self.best_rows = -math.inf, Evaluated([], [])

    def __call__(self, evaluation: EvalPrediction) -> dict[str, float]:
        logits, labels = outputs_of(evaluation.predictions), evaluation.label_ids
        other, select = (self.scored(logits[half::2], labels[half::2]) for half in (1, 0))
        self.untouched.append(other[self.metric])
        if select[self.metric] > self.best and self.evaluated:
            self.best, self.best_rows = select[self.metric], self.evaluated
        self.evaluated = None  # half of the rows are not what a checkpoint keeps
        return select

    @property
    def noise(self) -> Noise | None:
        rows = self.best_rows
        return resampling.noise(self.metrics[self.metric], self.judged(rows.scores, rows.references))


class Recording(TrainingCallback):
    """Evaluates at every twentieth of a training; writes neither checkpoints nor logs."""

    def on_train_begin(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        super().on_train_begin(args, state, control, **more)
        self.due = set(recorded.due(state.max_steps))

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        super().on_step_end(args, state, control, **more)
        control.should_save = False


class NoLog:
    def log_metrics(self, metrics: dict[str, float], step: int, epoch: float) -> None: ...


def trained(config: RunConfig, folder: Path, point: spaces.Point) -> Training:
    """Trains one run to its end, as `finesweep.run` does, without tracking and checkpoints."""
    device.prepare(config.trainer)
    inputs = load_inputs(config)
    model = load_model(config.model, inputs.tokenizer, inputs.task, inputs.names, config.seed, config.peft)
    scorer = Halves(inputs.task, inputs.names)
    callback = Recording(config, scorer, steps_per_epoch(config, len(inputs.train)), NoLog(), None)
    trainer = build_trainer(config, model, inputs, folder, callback)
    begin = time.perf_counter()
    train(trainer, callback, folder)
    seconds = time.perf_counter() - begin
    select = [round(one.value, 4) for one in callback.history]
    untouched = [round(value, 4) for value in scorer.untouched]
    noise = scorer.noise
    std = round(noise.std, 4) if noise else None
    return Training(point, config.seed, callback.steps, round(seconds, 1), select, untouched, std)


def record(task: spaces.Task, folders: dict[str, str], scratch: Path) -> None:
    known = {(str(one.point), one.seed) for one in recorded.read(task.name)}
    for index, (point, seed) in enumerate(task.trainings):
        if (str(point), seed) in known:
            continue
        values = [f"{key}={encode(value)}" for key, value in point.items()]
        fixed = [text.format(**folders) for text in task.overrides]
        config = load_config([*fixed, *PLAIN, *values, f"seed={seed}", f"cache_dir={scratch}/cache"])
        with TemporaryDirectory(dir=scratch) as folder:
            training = trained(config, Path(folder), point)
        recorded.append(task.name, training)
        print(f"{task.name} {index + 1}/{len(task.trainings)}: {training.seconds} s, "
              f"{max(training.select):.3f} {point}", flush=True)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("tasks", nargs="*", metavar="TASK", help=", ".join(spaces.TASKS) + "; all of them")
    parser.add_argument("--glue", help="folder of the official GLUE download")
    parser.add_argument("--model", help="folder of a pre-trained encoder")
    given = parser.parse_args(arguments)
    if unknown := set(given.tasks) - spaces.TASKS.keys():
        parser.error(f"got {', '.join(sorted(unknown))}; legal: {', '.join(spaces.TASKS)}")
    tasks = [spaces.TASKS[name] for name in given.tasks or spaces.TASKS]
    if any(task.needs_folders for task in tasks) and not (given.glue and given.model):
        parser.error("a task of GLUE needs --glue DIR and --model DIR")
    with TemporaryDirectory() as scratch:
        for task in tasks:
            record(task, {"glue": given.glue, "model": given.model}, Path(scratch))


if __name__ == "__main__":
    main()
