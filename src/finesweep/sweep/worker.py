"""A worker: takes trials until the budget is met, and runs each as an ordinary Hydra job.

Hydra's launcher starts N of these in place of N jobs. Workers meet in the study alone; none waits for
another.
"""

import logging
import math
import os
import shutil
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from hydra.core.hydra_config import HydraConfig
from hydra.core.utils import JobReturn, JobStatus, run_job
from hydra.errors import HydraException
from hydra.types import HydraContext, TaskFunction
from omegaconf import open_dict
from omegaconf.errors import OmegaConfBaseException
from optuna.trial import Trial as OptunaTrial

from finesweep import tracking
from finesweep.config import TrackingConfig
from finesweep.sweep import study as studies
from finesweep.sweep.config import SweepConfig
from finesweep.sweep.owner import BEAT_EVERY_S
from finesweep.sweep.recovery import recover
from finesweep.sweep.retention import drop_losers
from finesweep.sweep.space import Space, as_overrides
from finesweep.sweep.study import Ledger, TrialLost
from finesweep.trial import TrialPruned, current_trial

log = logging.getLogger(__name__)


class RunningTrial:
    """The trial as its run sees it (`finesweep.trial.Trial`), with a heartbeat while it is open."""

    def __init__(self, trial: OptunaTrial, study: str, parent_run_id: str) -> None:
        self.trial, self.study, self.parent_run_id = trial, study, parent_run_id
        self.lost = False
        self._live: dict[str, float | str] = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    @property
    def run_name(self) -> str:
        return f"trial-{self.trial.number:04d}"

    @property
    def tags(self) -> dict[str, str]:
        tags = {
            "mlflow.parentRunId": self.parent_run_id,
            "finesweep.study": self.study,
            "finesweep.trial": str(self.trial.number),
        }
        retry_of = self.trial.user_attrs.get(studies.RETRY_OF)
        return tags if retry_of is None else tags | {"finesweep.retry_of": str(retry_of)}

    def started(self, run_id: str) -> None:
        self.trial.set_user_attr(studies.RUN_ID, run_id)

    def progress(self, **fields: float | str) -> None:
        self._live |= fields

    def evaluated(self, value: float, evaluation: int) -> None:
        if self.lost:
            raise TrialPruned
        self._live["value"] = value
        self.trial.report(value, evaluation)

    def __enter__(self) -> "RunningTrial":
        self._token = current_trial.set(self)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        current_trial.reset(self._token)
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._over.wait(BEAT_EVERY_S):
            try:
                self.trial.set_user_attr("live", dict(self._live))
                self.trial.set_user_attr(studies.BEAT, time.time())
            except optuna.exceptions.UpdateFinishedTrialError:
                self.lost = True  # ended by somebody else, who thought this worker dead
            except Exception:  # the storage is away for a moment
                log.warning("heartbeat of trial %d failed", self.trial.number, exc_info=True)


@dataclass
class Worker:
    """The task function that the launcher gets. It is pickled: Hydra's own objects, values, ids and URLs."""

    task_function: TaskFunction
    hydra_context: HydraContext
    master_config: Any  # Hydra's composed config of the sweep
    overrides: list[str]  # the same for every trial
    sweep: SweepConfig
    space: Space
    tracking: TrackingConfig
    experiment: str
    parent_run_id: str
    gpus: int = 0  # that one machine's workers share

    def __call__(self, _: object) -> int:
        """Returns how many trials this worker ended."""
        self._take_gpu()
        ledger = Ledger(self.sweep.study, self.space)
        ended = 0
        while trial := self._next(ledger):
            self.run_trial(ledger, trial)
            ended += 1
        from finesweep.sweep.finish import finish  # torch and transformers: not for the launching process

        finish(self, ledger)
        return ended

    def _take_gpu(self) -> None:
        """Workers go round the GPUs of a machine; said before torch has looked for one."""
        if self.gpus > 1:
            allotted = os.environ.get("CUDA_VISIBLE_DEVICES") or ",".join(map(str, range(self.gpus)))
            os.environ["CUDA_VISIBLE_DEVICES"] = allotted.split(",")[
                int(HydraConfig.get().job.num) % self.gpus
            ]

    def _next(self, ledger: Ledger) -> OptunaTrial | None:
        recover(ledger, self.tracking)
        return ledger.next_trial()

    def run_trial(self, ledger: Ledger, trial: OptunaTrial) -> None:
        """Runs it, and tells the study how it ended. Raises: KeyboardInterrupt, after handing it back."""
        try:
            with RunningTrial(trial, ledger.name, self.parent_run_id):
                job = self.run_job(ledger, trial)
            self._tell(ledger, trial, job)
        except TrialLost as lost:
            log.warning("%s", lost)
        except (HydraException, OmegaConfBaseException) as error:  # values that do not compose together
            self._close_unopened(trial, error)
            ledger.fail(trial.number, f"{type(error).__name__}: {error}")
        except BaseException:  # Ctrl-C
            ledger.hand_back(trial.number)
            raise

    def run_job(self, ledger: Ledger, trial: OptunaTrial) -> JobReturn:
        config = self.compose(trial.number, trial.params)
        folder = Path(str(config.hydra.sweep.dir)) / f"trial-{trial.number:04d}"
        trial.set_user_attr(studies.FOLDER, str(folder))
        own = [*self.overrides, *as_overrides(trial.params)]
        trial.set_user_attr(studies.OVERRIDES, [text for text in own if not text.startswith("hydra.")])
        self._adopt_checkpoints(ledger, trial, folder)
        return run_job(
            hydra_context=self.hydra_context,
            task_function=self.task_function,
            config=config,
            job_dir_key="hydra.sweep.dir",
            job_subdir_key="hydra.sweep.subdir",
        )

    def compose(self, number: int, params: dict[str, Any]) -> Any:
        """The trial's Hydra config. Its log goes to its own file: several workers share one terminal."""
        config = self.hydra_context.config_loader.load_sweep_config(
            self.master_config,
            [*self.overrides, *as_overrides(params), f"hydra.sweep.subdir=trial-{number:04d}",
             "hydra.job_logging.root.handlers=[file]"],
        )  # fmt: skip
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        return config

    def _adopt_checkpoints(self, ledger: Ledger, trial: OptunaTrial, folder: Path) -> None:
        """A retry goes on from the checkpoints of the try before it."""
        retry_of = trial.user_attrs.get(studies.RETRY_OF)
        earlier = None if retry_of is None else ledger.trials()[retry_of].user_attrs.get(studies.FOLDER)
        if earlier and (Path(earlier) / "training").is_dir():
            folder.mkdir(parents=True, exist_ok=True)
            (Path(earlier) / "training").rename(folder / "training")

    def _tell(self, ledger: Ledger, trial: OptunaTrial, job: JobReturn) -> None:
        error = job._return_value if job.status is JobStatus.FAILED else None
        if error is not None:  # nobody will resume it
            shutil.rmtree(Path(trial.user_attrs[studies.FOLDER]) / "training", ignore_errors=True)
        if isinstance(error, TrialPruned):
            ledger.prune(trial.number)
        elif error is not None:
            log.error("trial %d failed", trial.number, exc_info=error)
            self._close_unopened(trial, error)
            ledger.fail(trial.number, f"{type(error).__name__}: {error}")
        else:
            result = job.return_value
            trial.set_user_attr(studies.CHECKPOINT, result.checkpoint)
            if not math.isfinite(result.value):
                ledger.fail(trial.number, f"objective is {result.value}")
            else:
                ledger.complete(trial.number, result.value)
                drop_losers(ledger.study, self.sweep.keep_checkpoints)

    def _close_unopened(self, trial: OptunaTrial, error: Exception) -> None:
        """A trial that failed before its run was open is FAILED in MLflow too."""
        if studies.RUN_ID not in trial.user_attrs:
            running = RunningTrial(trial, str(self.sweep.study.name), self.parent_run_id)
            run_id = tracking.record_failure(
                self.tracking,
                self.experiment,
                running.run_name,
                running.tags,
                f"{type(error).__name__}: {error}",
            )
            running.started(run_id)
