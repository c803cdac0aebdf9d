"""The Trainer callback of a run: it decides when to evaluate, save and stop, and keeps the results."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from finesweep.config import trained
from finesweep.config.run import Direction, RunConfig, metric_key
from finesweep.errors import OutputError
from finesweep.hooks import StepHooks, current_watcher
from finesweep.io import checkpoint
from finesweep.io.patience import working_time
from finesweep.provenance.record import PROGRESS
from finesweep.tasks import Scorer, direction_of
from finesweep.tasks.evaluated import Array, Evaluated
from finesweep.training import ranks

# The file in each checkpoint that holds the callback's state. It keeps its name of version 0.1, so that
# checkpoints of that version can be resumed.
CARRIED = "observer.json"


class LossNotFinite(ArithmeticError):
    """The loss is NaN or infinite: the training has diverged."""


class MetricLog(Protocol):
    """Receives the metrics of a run."""

    def log_metrics(self, metrics: dict[str, float], step: int, epoch: float) -> None: ...


class Evaluation(NamedTuple):
    """The result of one evaluation."""

    step: int
    value: float  # of `data.metric`
    metrics: dict[str, float]  # under the Trainer's names: eval_accuracy, eval_loss


class TrainingCallback(TrainerCallback):
    """Evaluates and saves at equal shares of an epoch, logs metrics, and removes superseded checkpoints."""

    def __init__(
        self, config: RunConfig, scorer: Scorer, steps_per_epoch: int, log: MetricLog, trial: StepHooks | None
    ) -> None:
        self.config, self.scorer, self.log, self.trial = config, scorer, log, trial
        self.watcher = current_watcher.get()
        self.steps_per_epoch = steps_per_epoch
        self.objective = f"eval_{metric_key(config.data.metric)}"  # the Trainer's name of the run's metric
        self.sign = 1 if direction_of(scorer.task) is Direction.maximize else -1
        self.history: list[Evaluation] = []
        self.predictions: dict[int, str] = {}  # step of an evaluation -> hash of its predictions
        self.order: Array | None = None  # the number in the split of each evaluated row; the trainer sets it
        self._evaluated: tuple[int, Evaluated] | None = None  # step of the last evaluation, and its rows
        # Summed, and counted, since the last evaluation. The sum of a GPU's losses is a float64 scalar there.
        self._loss: float | torch.Tensor = 0.0
        self._loss_steps = 0
        self._started = working_time()
        self._seconds_before = 0.0  # spent in the interrupted tries that this one resumes
        self.steps = 0  # optimizer steps, in all tries together

    @property
    def best(self) -> Evaluation:
        """The best evaluation; of equals, the first."""
        return max(self.history, key=lambda evaluation: self.sign * evaluation.value)

    @property
    def seconds(self) -> float:
        """Seconds spent on training, evaluating and saving, in all tries together."""
        return self._seconds_before + working_time() - self._started

    @property
    def epochs(self) -> float:
        """Epochs trained, in all tries together; fewer than configured after an early stop."""
        return self.steps / self.steps_per_epoch

    def best_checkpoint(self, folder: Path) -> Path:
        """Returns the folder of the best evaluation's checkpoint. Raises: OutputError if it is damaged."""
        best = folder / f"step-{self.best.step:06d}"
        _check_whole(best)
        return best

    def carry(self, folder: Path, losses: Sequence[float]) -> None:
        """Writes the callback's state, for `resume`, into a checkpoint that is being made.

        losses: the `summed_loss` of each rank.
        """
        carried = {"loss": losses[0], "steps": self._loss_steps, "seconds": self.seconds,
                   "predictions": self.predictions}  # fmt: skip
        if len(losses) > 1:
            carried["losses"] = losses
        (folder / CARRIED).write_text(json.dumps(carried))
        (folder / trained.FILE).write_text(trained.to_json(self.config))
        if self._evaluated and self._evaluated[0] == self.steps:  # not at a stop between two evaluations
            self._evaluated[1].save(folder)

    def resume(self, folder: Path) -> bool:
        """Restores the state and the history from a checkpoint, and logs the history into the current run.

        Returns False, and restores nothing, if the checkpoint of the best evaluation so far is damaged.
        Raises: TrialPruned if the sweep stops the run at a restored evaluation, or has it wait there.
        """
        state = json.loads((folder / "trainer_state.json").read_text())
        evaluations = [entry for entry in state["log_history"] if self.objective in entry]
        best = max(evaluations, key=lambda entry: self.sign * entry[self.objective], default=None)
        if best and checkpoint.find_damage(folder.with_name(f"step-{int(best['step']):06d}")):
            return False
        carried = json.loads((folder / CARRIED).read_text())
        self._loss, self._loss_steps = carried["loss"], carried["steps"]
        if ranks.count() > 1:
            self._loss = carried["losses"][ranks.index()]
        self._seconds_before, self.steps = carried["seconds"], state["global_step"]
        self.predictions = {int(step): sha256 for step, sha256 in carried.get("predictions", {}).items()}
        for entry in state["log_history"]:
            metrics = {key: float(value) for key, value in entry.items() if key not in ("epoch", "step")}
            self._log(metrics, int(entry["step"]), state["max_steps"], entry["epoch"])
            if self.objective in entry:
                self._remember(int(entry["step"]), metrics, state["max_steps"])
        self._tell_saved(state["global_step"], state["max_steps"])
        return True

    def add_loss(self, loss: float | torch.Tensor) -> None:
        """Adds the loss of one batch, which is already divided by the accumulation steps.

        loss: a number, or a float64 scalar on a GPU, whose sum is the same to the last bit.
        """
        self._loss += loss

    def summed_loss(self) -> float:
        """Returns the sum of this rank's losses since the last log.

        Raises: LossNotFinite if one of the losses was not.
        """
        value = float(self._loss)
        if not math.isfinite(value):
            raise LossNotFinite(f"loss is {value} at step {self.steps}, or in the steps since the last log")
        return value

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        per_epoch = self.config.trainer.evals_per_epoch
        evaluations = range(1, math.ceil(state.max_steps / self.steps_per_epoch * per_epoch) + 1)
        due = (max(1, round(i * self.steps_per_epoch / per_epoch)) for i in evaluations)
        self.due = {step for step in due if step < state.max_steps} | {state.max_steps}
        self._started = working_time()
        self._first_step = self.steps = state.global_step

    def on_epoch_begin(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        train_dataloader: Any = None,
        **_: Any,
    ) -> None:
        """Tells the sampler the epoch: of several ranks, a loader that skips batches does not reach it."""
        train_dataloader.set_epoch(int(state.epoch or 0))

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        self.steps = state.global_step
        self._loss_steps += 1
        if state.global_step in self.due:
            control.should_log = control.should_evaluate = control.should_save = True
        if self.trial:
            self.trial.check()
        stops = ranks.decided(self.trial is not None and self.trial.stopping)  # all save, or none
        control.should_save = control.should_save or stops
        if self.trial or self.watcher:
            self._tell_progress(args, state)

    def _tell_progress(self, args: TrainingArguments, state: TrainerState) -> None:
        steps, seconds = state.global_step - self._first_step, working_time() - self._started
        rows = steps * args.train_batch_size * args.gradient_accumulation_steps * ranks.count()
        step, max_steps, epoch = state.global_step, state.max_steps, round(state.epoch or 0, 2)
        examples_per_s = round(rows / seconds, 1)
        if self.trial:
            self.trial.progress(
                step=step,
                max_steps=max_steps,
                epoch=epoch,
                examples_per_s=examples_per_s,
                trained_steps=steps,
            )
        if self.watcher:
            loss, left = self._loss / self._loss_steps, (max_steps - step) * seconds / steps
            self.watcher.stepped(step, max_steps, epoch, loss, examples_per_s, left)

    def on_prediction_step(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if self.trial:
            self.trial.check()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        metrics = {key: float(value) for key, value in (logs or {}).items() if key != "epoch"}
        if "loss" in metrics:  # the Trainer's value lacks, after a resume, the steps before it
            mean = ranks.mean(self.summed_loss()) / max(1, self._loss_steps)
            metrics["loss"] = state.log_history[-1]["loss"] = mean
            self._loss, self._loss_steps = 0.0, 0
        if "train_runtime" not in metrics:  # it counts this try alone; `train` returns the time of all tries
            self._log(metrics, state.global_step, state.max_steps, state.epoch or 0.0)

    def _log(self, metrics: dict[str, float], step: int, max_steps: int, epoch: float) -> None:
        """Logs metrics with two axes on which trainings of different lengths compare."""
        self.log.log_metrics(metrics | {PROGRESS: 100 * step / max_steps}, step=step, epoch=epoch)

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        metrics: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        metrics = metrics or {}
        if self.objective not in metrics:
            return  # this is the final evaluation, on other rows
        if not math.isfinite(metrics[self.objective]):
            raise ArithmeticError(
                f"{self.objective} is {metrics[self.objective]} at step {state.global_step}"
            )
        self.predictions[state.global_step] = self.scorer.predictions_sha256
        if self.scorer.evaluated and self.order is not None:  # the first of several ranks has them
            self._evaluated = state.global_step, self.scorer.evaluated.in_place(self.order)
        self._remember(state.global_step, metrics, state.max_steps)
        if self.patience_is_over:
            control.should_training_stop = True

    def _remember(self, step: int, metrics: dict[str, float], max_steps: int) -> None:
        """Adds an evaluation to the history and reports it. Raises: TrialPruned if the run shall stop."""
        value = float(metrics[self.objective])
        evaluation = {key: float(value) for key, value in metrics.items() if key.startswith("eval_")}
        self.history.append(Evaluation(step, value, evaluation))
        if self.watcher:
            scores = {key: evaluation[key] for key in (self.objective, "eval_loss") if key in evaluation}
            self.watcher.evaluated(step, max_steps, scores)
        if self.trial:
            self.trial.evaluated(value, step / max_steps)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if not ranks.is_first():
            return
        folder = Path(str(args.output_dir))
        newest = folder / f"step-{state.global_step:06d}"
        best = {folder / f"step-{self.best.step:06d}"} if self.history else set()
        _check_whole(newest)
        checkpoint.keep_only(folder, best | {newest})
        if self.trial and self.trial.stopping:
            raise KeyboardInterrupt
        self._tell_saved(state.global_step, state.max_steps)

    def _tell_saved(self, step: int, max_steps: int) -> None:
        """Tells the trial of a checkpoint unless the training is over. Raises: TrialPaused if it waits."""
        if self.trial and step < max_steps and not self.patience_is_over:
            self.trial.saved()

    @property
    def patience_is_over(self) -> bool:
        """Whether `trainer.early_stopping_patience` evaluations have passed without a new best."""
        patience = self.config.trainer.early_stopping_patience
        if patience is None or not self.history:
            return False
        since_best = len(self.history) - 1 - self.history.index(self.best)
        return since_best >= patience


def _check_whole(folder: Path) -> None:
    """Raises: OutputError for a checkpoint of this run that is damaged or gone, which no training does."""
    if reason := checkpoint.find_damage(folder):
        raise OutputError(
            f"{folder}: a checkpoint of this run was damaged or removed while it trained ({reason}); "
            "let its files stay until it ends, and check the disk"
        )
