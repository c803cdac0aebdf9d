"""Replays a whole study: real sampler, pruner, queue and decisions; a recorded curve for each training.

Workers run on a virtual clock, on which an epoch takes equally long in all trials. A trial takes the recorded
training nearest to its point that the study has not used yet, in the space whose dimensions all have length 1
(rates and batch sizes by their logarithm); the sampler is told the point of that training, not its own.
"""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import optuna
from recorded import Training
from spaces import BATCH, EPOCHS, RATE, Point, Task

from finesweep.config.run import Direction
from finesweep.config.study import Pruner, StopWhen, StudyConfig
from finesweep.hooks import Noise, RunState, TrialPaused, TrialPruned
from finesweep.study import clock, studies
from finesweep.study.points import note_first_points
from finesweep.study.queue import TrialQueue
from finesweep.study.records import StudyRecord, TrialRecord
from finesweep.study.sources import queue_starts, read_starts
from finesweep.study.space import distributions, params_of
from finesweep.worker.paused import give_up_surplus
from finesweep.worker.trial import RunningTrial


@dataclass(frozen=True)
class Method:
    """A way to search."""

    sampler: str = "tpe"
    pruner: Pruner = Pruner.none
    sampler_options: Mapping[str, Any] = field(default_factory=dict)
    pruner_options: Mapping[str, Any] = field(default_factory=dict)
    is_grid: bool = False  # the published grid, in an order of its own for each study seed
    begins_known: bool = False  # with `Task.first`, which of all files in sweeps/ only qnli.yaml queues
    spreads: bool = True  # False: the first points are Optuna's random ones
    stop_when: StopWhen = StopWhen.none

    def enqueued(self, task: Task, seed: int) -> list[Point]:
        """Returns the points that a study begins with."""
        if self.is_grid:
            return random.Random(seed).sample(task.grid, len(task.grid))
        return task.first if self.begins_known else []


@dataclass(frozen=True)
class Found:
    """A trial that was trained to its end."""

    steps: int  # that the study had trained by then, in all its trials
    trials: int  # that had ended by then
    select: float  # the score that it is chosen by: its best evaluation
    untouched: float  # the score of the same evaluation on rows that nobody selects on


@dataclass(frozen=True)
class Replayed:
    """What a study did."""

    found: Sequence[Found]
    steps: int
    trials: int
    top: float  # the best selecting score of all recorded trainings

    def chosen(self, steps: float) -> Found | None:
        """Returns what the study would have chosen after so many steps; None if no trial had ended."""
        return max(self._ended(steps), key=lambda one: one.select, default=None)

    def as_good(self, select: float, steps: float) -> Found | None:
        """Returns the first trial with so good a score that had ended after so many steps."""
        return next((one for one in self._ended(steps) if one.select >= select), None)

    def _ended(self, steps: float) -> list[Found]:
        return [one for one in self.found if one.steps <= steps]


class Lookup:
    """Gives each trial the nearest recorded training that the study has not used."""

    def __init__(self, task: Task, trainings: Sequence[Training]) -> None:
        self._left = list(trainings)
        self._scales = {}
        for one in task.space:
            ends = getattr(one.distribution, "choices", None) or (one.distribution.low, one.distribution.high)
            self._scales[one.key] = abs(_place(one.key, max(ends)) - _place(one.key, min(ends)))

    def take(self, point: Point) -> Training:
        nearest = min(self._left, key=lambda one: self._distance(point, one.point))
        self._left.remove(nearest)
        return nearest

    def _distance(self, one: Point, other: Point) -> float:
        return sum(
            ((_place(key, one[key]) - _place(key, other[key])) / scale) ** 2
            for key, scale in self._scales.items()
        )


def _place(key: str, value: float) -> float:
    return math.log(value) if key in (RATE, BATCH) else float(value)


@dataclass(order=True)
class _Run:
    """A trial that a worker trains."""

    time: float  # of its next evaluation
    worker: int
    training: Training = field(compare=False)
    running: RunningTrial = field(compare=False)
    before: int = field(compare=False)  # steps that an earlier try has trained; the trial counts the others
    done: int = field(default=0, compare=False)  # evaluations

    @property
    def steps(self) -> int:
        """The steps that are trained."""
        return self.training.evaluations[self.done - 1][0] if self.done else 0


class Replay:
    """One study."""

    def __init__(
        self, task: Task, trainings: Sequence[Training], method: Method, seed: int, steps: int, folder: Path,
        start_from: Sequence[str] = (),
    ) -> None:  # fmt: skip
        """steps: the budget. folder: of the studies' file. start_from: names of studies there."""
        self.task, self.lookup = task, Lookup(task, random.Random(seed).sample(trainings, len(trainings)))
        storage = f"sqlite:///{folder}/optuna.db"
        # Hyperband draws its brackets by the study's name, which is the same in each run of the bench.
        number = len(optuna.get_all_study_names(storage)) if (folder / "optuna.db").exists() else 0
        self.config = StudyConfig(
            name=f"replay{seed}-{number}", storage=storage, n_trials=len(trainings),
            max_train_steps=steps, sampler=method.sampler, sampler_options=dict(method.sampler_options),
            pruner=method.pruner, pruner_options=dict(method.pruner_options), seed=seed, repeat_trials=True,
            stop_when=method.stop_when, start_from=[*start_from],
        )  # fmt: skip
        attrs = {"metric": "value", "n_trials": len(trainings)}
        studies.create(self.config, {"value": Direction.maximize}, method.enqueued(task, seed), attrs)
        queue = TrialQueue(self.config, task.space)
        # As many points of earlier studies as in a study of the grid's size, which the budget is that of.
        starts = read_starts(replace(self.config, n_trials=len(task.grid)), task.space)
        queue_starts(queue.study, starts, self.config, task.space)
        note_first_points(queue.study)
        clock.start(queue.study)
        StudyRecord(queue.study).spread_start = queue.spreads = method.spreads
        queue.first_points = StudyRecord(queue.study).first_points or 0
        self.queue = queue
        self.steps = self.trials = self.ended = 0
        self.top = max(max(one.select) for one in trainings)
        self._paused: dict[int, _Run] = {}  # by the number of the trial
        self.found: list[Found] = []

    def run(self, workers: int) -> Replayed:
        idle, running, now = list(range(workers)), list[_Run](), 0.0
        while True:
            begun = [run for worker in idle if (run := self._begin(worker, now))]
            idle = sorted({*idle} - {run.worker for run in begun})
            running += begun
            if not running:
                return Replayed(self.found, self.steps, self.trials, self.top)
            run = min(running)
            now = run.time
            if not self._goes_on(run):
                running.remove(run)
                idle.append(run.worker)

    def _begin(self, worker: int, now: float) -> _Run | None:
        trial = self.queue.next_trial()
        if trial is None:
            return None
        paused = TrialRecord(trial).continues
        if paused is not None:
            return self._goes_on_from(self._paused.pop(paused), worker, now, trial)
        self.trials += 1
        training = self.lookup.take(params_of(trial))
        named = distributions(self.task.space, trial.params)
        point = {name: (one.to_internal_repr(training.point[name]), one) for name, one in named.items()}
        self.queue.backend.write(trial._trial_id, {}, point)
        run = _Run(now, worker, training, RunningTrial(self.queue, trial, {}, lambda: None), 0)
        run.time += self._duration(run)
        return run

    def _goes_on_from(self, paused: _Run, worker: int, now: float, trial: optuna.Trial) -> _Run:
        """Begins the trial that goes on from a paused one; like a training, it reports what is behind it."""
        running = RunningTrial(self.queue, trial, {}, lambda: None)
        run = _Run(now, worker, paused.training, running, paused.steps, paused.done)
        for step, select, _ in run.training.evaluations[: run.done]:
            running.evaluated(select, step / run.training.steps)
        running.saved()
        run.time += self._duration(run)
        return run

    def _duration(self, run: _Run) -> float:
        """Returns the time until a run's next evaluation, in epochs."""
        part: float = (run.training.evaluations[run.done][0] - run.steps) / run.training.steps
        return part * float(run.training.point[EPOCHS])

    def _goes_on(self, run: _Run) -> bool:
        """Evaluates a run. Returns False if that ends it."""
        step, select, _ = run.training.evaluations[run.done]
        self.steps += step - run.steps
        run.done += 1
        run.running.progress(step=step, max_steps=run.training.steps, trained_steps=step - run.before)
        is_last = run.done == len(run.training.select)
        try:
            run.running.evaluated(select, step / run.training.steps)
            if not is_last:
                run.running.saved()
        except TrialPaused as stopped:
            self._paused[run.running.trial.number] = run
            self._end(run, RunState.PAUSED, stopped)
            give_up_surplus(self.queue)
            return False
        except TrialPruned as stopped:
            self._end(run, RunState.PRUNED, stopped)
            return False
        if not is_last:
            run.time += self._duration(run)
            return True
        _, select, untouched = max(run.training.evaluations, key=lambda one: one[1])
        noise = run.training.noise  # nobody asks over how many rows
        run.running.trained(select, {}, "checkpoint", None if noise is None else Noise(noise, rows=0))
        self._end(run, RunState.COMPLETE, None)
        self.found.append(Found(self.steps, self.ended, select, untouched))
        return False

    def _end(self, run: _Run, state: RunState, error: Exception | None) -> None:
        number = run.running.trial.number
        run.running.ending(state, error)
        self.queue.tell(number)
        self.queue.let_go(number)
        self.ended += state is not RunState.PAUSED
