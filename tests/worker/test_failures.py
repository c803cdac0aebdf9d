"""What goes wrong stays small: a trial fails alone, and what is the machine's fault is not the trial's."""

import errno
import os
import time
from pathlib import Path

import pytest
import torch
from optuna.study import Study
from sweeping import STORAGE, evaluate, runs, sweep

from finesweep.config.run import RunConfig, TrackingConfig
from finesweep.errors import OutputError, SweepFailed
from finesweep.hooks import RunHooks
from finesweep.io.output import is_output_error
from finesweep.study import studies
from finesweep.study.records import TrialRecord
from finesweep.study.selection import failures
from finesweep.tracking import open_store
from finesweep.worker.trial import RunningTrial

pytestmark = pytest.mark.usefixtures("no_finish")
GRID = ("optimizer.learning_rate=1e-3,1e-4", "trainer.num_train_epochs=1", "hydra.sweeper.study.sampler=grid",
        "trainer.per_device_train_batch_size=8")  # fmt: skip


def fine(config: RunConfig, trial: RunHooks) -> float:
    return evaluate(trial, [0.5, 0.6])


def is_first(trial: RunHooks) -> bool:
    return trial.run_name == "trial-0000"


def states(study: Study) -> list[str]:
    return [trial.state.name for trial in study.trials]


def error(study: Study, number: int) -> str:
    return str(TrialRecord(study.trials[number]).error)


def test_an_exception_fails_one_trial_and_its_log_is_an_artifact() -> None:
    def training(config: RunConfig, trial: RunHooks) -> float:
        if is_first(trial):
            raise ValueError("a word of the cause")
        return fine(config, trial)

    study = sweep(training, *GRID)
    assert states(study) == ["FAIL", "COMPLETE"]
    assert error(study, 0) == "ValueError: a word of the cause"
    failed = runs()["trial-0000"]
    assert failed.info.status == "FAILED"
    log = open_store(TrackingConfig()).download_artifacts(failed.info.run_id, "app.log")
    assert "ValueError: a word of the cause" in Path(log).read_text()


def test_too_many_failures_end_the_sweep_with_their_causes() -> None:
    def training(config: RunConfig, trial: RunHooks) -> float:
        raise MemoryError(f"of {trial.run_name}")

    causes = "(?s)2 trials failed.*max_failures is 2.*trial 0: MemoryError: of trial-0000"
    with pytest.raises(SweepFailed, match=causes):
        sweep(training, *GRID, "optimizer.weight_decay=0,0.1", "hydra.sweeper.study.max_failures=2")


def test_a_trial_that_takes_too_long_fails() -> None:
    def training(config: RunConfig, trial: RunHooks) -> float:
        if is_first(trial):
            assert isinstance(trial, RunningTrial)
            trial._started -= 60  # it began so long ago; the other one has all the time that it needs
        while is_first(trial):
            time.sleep(0.05)
            trial.check()
        return fine(config, trial)

    study = sweep(training, *GRID, "hydra.sweeper.study.trial_timeout_s=60")
    assert states(study) == ["FAIL", "COMPLETE"]
    assert "TrialTimeout: ran longer than hydra.sweeper.study.trial_timeout_s=60" in error(study, 0)


def out_of_memory_above_4(config: RunConfig, trial: RunHooks) -> float:
    Path(f"{trial.run_name}.pid").write_text(str(os.getpid()))
    if is_first(trial) or config.trainer.per_device_train_batch_size > 8:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    assert config.trainer.gradient_accumulation_steps * config.trainer.per_device_train_batch_size == 8
    return fine(config, trial)


def test_a_gpu_out_of_memory_is_tried_once_more_with_half_the_batch_in_a_clean_process() -> None:
    study = sweep(out_of_memory_above_4, *GRID)
    assert states(study) == ["FAIL", "COMPLETE", "COMPLETE"]
    first = study.trials[0]
    retry = next(trial for trial in study.trials if TrialRecord(trial).retry_of is not None)
    assert TrialRecord(first).error is None  # it goes on as its retry
    assert retry.params == first.params
    assert TrialRecord(retry).retry_overrides == [
        "trainer.per_device_train_batch_size=4", "trainer.gradient_accumulation_steps=2"
    ]  # fmt: skip
    tracked = runs()
    assert tracked["trial-0000"].info.status == "FAILED"
    assert tracked[f"trial-{retry.number:04d}"].data.tags["finesweep.retry_of"] == "0"
    assert Path("trial-0000.pid").read_text() == str(os.getpid())
    assert Path(f"trial-{retry.number:04d}.pid").read_text() != str(os.getpid())


def test_a_second_out_of_memory_is_a_failure_and_none_is_retried_where_that_is_not_wanted() -> None:
    def training(config: RunConfig, trial: RunHooks) -> float:
        if config.optimizer.learning_rate == 1e-4:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return fine(config, trial)

    study = sweep(training, *GRID)
    assert states(study) == ["COMPLETE", "FAIL", "FAIL"]
    assert len(failures(study.trials)) == 1
    other = ("hydra.sweeper.study.retry_oom=false", "trainer.per_device_train_batch_size=16")
    sweep(training, *GRID[:3], *other, "hydra.sweeper.study.name=unretried")
    assert states(studies.load("unretried", STORAGE)) == ["COMPLETE", "FAIL"]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("[enforce fail at inline_container.cc:672] . PytorchStreamWriter failed writing file 1"),
        OSError(errno.EROFS, "Read-only file system"),
        RuntimeError("Error while serializing: I/O error: File too large (os error 27)"),
        OutputError("outputs: 10 bytes free, 2,000 needed for checkpoints"),
    ],
)
def test_a_full_disk_hands_the_trial_back_and_stops_the_sweep(error: Exception) -> None:
    def training(config: RunConfig, trial: RunHooks) -> float:
        raise error

    with pytest.raises(OutputError, match="trial 0: .*handed back.*same command goes on"):
        sweep(training, *GRID)
    assert runs()["trial-0000"].info.status == "KILLED"
    study = sweep(fine, *GRID)
    assert states(study) == ["FAIL", "COMPLETE", "COMPLETE"]
    assert failures(study.trials) == []


def test_a_full_disk_is_known_by_what_it_was_raised_from() -> None:
    try:
        try:
            raise OSError(errno.ENOSPC, "full")
        except OSError as error:
            raise RuntimeError("cannot save") from error
    except RuntimeError as error:
        assert is_output_error(error)
    assert not is_output_error(RuntimeError("something else"))
