"""The one callback of a training: when to evaluate, what to remember of it, when to stop."""

import math
import time
from pathlib import Path
from typing import Any, Protocol

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from finesweep import checkpoint
from finesweep.config import Direction, RunConfig
from finesweep.trial import Trial, TrialPruned

PROGRESS_EVERY_S = 1.0


class MetricLog(Protocol):
    """Where metrics go."""

    def log_metrics(self, metrics: dict[str, float], step: int, epoch: float) -> None: ...


class Observer(TrainerCallback):
    """Evaluates and saves at equal shares of an epoch, logs both, and keeps only what is still needed."""

    def __init__(
        self, config: RunConfig, steps_per_epoch: int, log: MetricLog, trial: Trial | None, objective: str
    ) -> None:
        self.config, self.log, self.trial = config, log, trial
        self.steps_per_epoch = steps_per_epoch
        self.objective = objective  # as the Trainer names it: eval_accuracy
        self.sign = 1 if config.data.direction is Direction.maximize else -1
        self.history: list[
            tuple[int, float, dict[str, float]]
        ] = []  # step, value, metrics of each evaluation
        self.pruned = False
        self._last_progress = 0.0

    @property
    def best(self) -> tuple[int, float, dict[str, float]]:
        """The first of the best evaluations."""
        return max(self.history, key=lambda entry: self.sign * entry[1])

    @property
    def epochs_trained(self) -> float:
        """By this process: fewer than configured after an early stop, or a resume."""
        return (self._last_step - self._first_step) / self.steps_per_epoch

    def best_checkpoint(self, folder: Path) -> Path:
        """Raises: TrialPruned if the training ended because the sweep gave it up."""
        if self.pruned:
            raise TrialPruned
        best = folder / f"step-{self.best[0]:06d}"
        if reason := checkpoint.damage(best):
            raise OSError(f"the best checkpoint is damaged: {best}: {reason}")
        return best

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        per_epoch = self.config.trainer.evals_per_epoch
        evaluations = range(1, math.ceil(state.max_steps / self.steps_per_epoch * per_epoch) + 1)
        due = (max(1, round(i * self.steps_per_epoch / per_epoch)) for i in evaluations)
        self.due = {step for step in due if step < state.max_steps} | {state.max_steps}
        self._started = time.monotonic()
        self._first_step = self._last_step = state.global_step
        for entry in state.log_history:  # of the try that this one resumes
            if self.objective in entry:
                self.history.append((int(entry["step"]), entry[self.objective], _evaluation(entry)))

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        if state.global_step in self.due:
            control.should_log = control.should_evaluate = control.should_save = True
        self._last_step = state.global_step
        now = time.monotonic()
        if self.trial and now - self._last_progress > PROGRESS_EVERY_S:
            self._last_progress = now
            steps = state.global_step - self._first_step
            rows = steps * args.train_batch_size * args.gradient_accumulation_steps
            self.trial.progress(
                step=state.global_step,
                max_steps=state.max_steps,
                epoch=round(state.epoch or 0, 2),
                examples_per_s=round(rows / (now - self._started), 1),
            )

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        metrics = {key: float(value) for key, value in (logs or {}).items() if key != "epoch"}
        self.log.log_metrics(metrics, step=state.global_step, epoch=state.epoch or 0.0)

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
            return  # a final evaluation of other rows
        value = metrics[self.objective]
        if not math.isfinite(value):
            raise ArithmeticError(f"{self.objective} is {value} at step {state.global_step}")
        self.history.append((state.global_step, value, _evaluation(metrics)))
        if self._patience_is_over():
            control.should_training_stop = True
        self._ask_trial(value, control)

    def _ask_trial(self, value: float, control: TrainerControl) -> None:
        if self.trial is None:
            return
        try:
            self.trial.evaluated(value, evaluation=len(self.history))
        except TrialPruned:
            self.pruned = control.should_training_stop = True
            control.should_save = False

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        folder = Path(str(args.output_dir))
        kept = {folder / f"step-{step:06d}" for step in (self.best[0], state.global_step)}
        checkpoint.keep_only(folder, kept)

    def _patience_is_over(self) -> bool:
        patience = self.config.trainer.early_stopping_patience
        since_best = len(self.history) - 1 - [entry[0] for entry in self.history].index(self.best[0])
        return patience is not None and since_best >= patience


def _evaluation(entry: dict[str, Any]) -> dict[str, float]:
    return {key: float(value) for key, value in entry.items() if key.startswith("eval_")}
