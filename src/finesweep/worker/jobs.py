"""Composes the config of each trial, and runs the trial as an ordinary Hydra job."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hydra.core.utils import JobReturn, run_job
from hydra.types import HydraContext, TaskFunction
from omegaconf import open_dict, read_write
from optuna.trial import FrozenTrial, Trial

from finesweep.io.redaction import redact_urls
from finesweep.study.queue import TrialQueue
from finesweep.study.records import TrialRecord
from finesweep.study.space import Space, overrides_of
from finesweep.worker.recovery import adopt_checkpoints
from finesweep.worker.trial import RunningTrial

BATCH, ACCUMULATION = "trainer.per_device_train_batch_size", "trainer.gradient_accumulation_steps"


@dataclass(frozen=True)
class TrialJobs:
    """Makes the jobs of one study's trials."""

    task_function: TaskFunction
    hydra_context: HydraContext
    master_config: Any  # Hydra's composed config of the sweep
    overrides: list[str]  # the same for every trial
    space: Space
    project: Path  # the folder that the command was started in

    def config(self, trial: FrozenTrial) -> Any:
        """Composes a trial's config, without running it."""
        return self._compose(trial.number, self._all_overrides(trial))

    def run(self, queue: TrialQueue, running: RunningTrial) -> JobReturn:
        """Runs the job of a trial, in a folder of its own, with the checkpoints of an earlier attempt."""
        trial = running.trial
        own = self._all_overrides(trial)
        config = self._compose(trial.number, own)
        folder = Path(str(config.hydra.sweep.dir)) / f"trial-{trial.number:04d}"
        running.folder = folder
        shown = [redact_urls(text) for text in own if not text.startswith("hydra.")]
        running.record.write_all(folder=queue.places.write(folder), overrides=shown)
        batch, accumulation = (
            config.trainer.per_device_train_batch_size,
            config.trainer.gradient_accumulation_steps,
        )
        if batch > 1:
            running.smaller_batch = [f"{BATCH}={batch // 2}", f"{ACCUMULATION}={accumulation * 2}"]
        adopt_checkpoints(queue, trial, folder)
        return run_job(
            hydra_context=self.hydra_context,
            task_function=self.task_function,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )

    def _all_overrides(self, trial: Trial | FrozenTrial) -> list[str]:
        """Returns those of every trial, and the trial's own: its point, a smaller batch, another seed."""
        record = TrialRecord(trial)
        seed = [] if record.seed is None else [f"seed={record.seed}"]
        return [*self.overrides, *overrides_of(trial, self.space), *(record.retry_overrides or []), *seed]

    def _compose(self, number: int, overrides: list[str]) -> Any:
        """Composes a trial's Hydra config.

        Its log goes to its own file: several workers share one terminal.
        """
        config = self.hydra_context.config_loader.load_sweep_config(
            self.master_config,
            [*overrides, f"hydra.sweep.subdir=trial-{number:04d}", "hydra.job_logging.root.handlers=[file]"],
        )
        with open_dict(config), read_write(config):
            config.hydra.job.id = config.hydra.job.num = number
            config.hydra.runtime.cwd = str(self.project)
            config.hydra.sweep.dir = str(self.project / str(config.hydra.sweep.dir))
        return config
