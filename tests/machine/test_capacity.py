"""As many workers as the machine has room for, and one clear error for what it has no room for."""

from collections.abc import Callable

import pytest

from finesweep.config.run import TrainerConfig
from finesweep.config.study import SweepConfig, check_sweep
from finesweep.errors import ConfigError
from finesweep.machine import capacity, gpus


@pytest.fixture
def machine(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Makes this one a machine of so many GPUs, and of 8 cores."""

    def with_gpus(count: int) -> None:
        monkeypatch.setattr(gpus, "count", lambda config: 0 if config.device == "cpu" else count)
        monkeypatch.setattr(capacity, "count", gpus.count)
        monkeypatch.setattr("joblib.cpu_count", lambda: 8)
        monkeypatch.setattr(capacity, "GB_PER_PROCESS", 0.001)

    return with_gpus


@pytest.mark.parametrize(
    ("present", "trainer", "sweep", "workers"),
    [
        (8, {}, {}, 8),
        (8, {}, {"workers_per_gpu": 2}, 16),
        (8, {"num_processes": 2}, {"gpus_per_trial": 2}, 4),
        (8, {"num_processes": 3}, {"gpus_per_trial": 3}, 2),
        (8, {"num_processes": 8}, {}, 1),
        (0, {}, {}, 8),
        (0, {"num_processes": 2}, {}, 4),
        (0, {"num_processes": 2, "threads": 2}, {}, 2),
        (8, {"num_processes": 2, "device": "cpu"}, {"workers_per_gpu": 2}, 4),
    ],
)
def test_the_devices_decide_how_many_workers_there_are(
    machine: Callable[[int], None], present: int, trainer: dict[str, int], sweep: dict[str, int], workers: int
) -> None:
    machine(present)
    planned, _ = capacity.plan_workers(TrainerConfig(**trainer), SweepConfig(**sweep), parallel=True)  # type: ignore[arg-type]
    assert planned == workers


@pytest.mark.parametrize(
    ("present", "trainer", "sweep", "error"),
    [
        (2, {"num_processes": 4}, {"gpus_per_trial": 4},
         "hydra.sweeper.gpus_per_trial: got 4; legal: 1 to 2, the GPUs that torch finds here"),
        (2, {"num_processes": 4}, {}, "trainer.num_processes: got 4; legal: 1 to 2, the GPUs"),
        (4, {"num_processes": 2}, {"workers_per_gpu": 2},
         "hydra.sweeper.workers_per_gpu: got 2; legal: 1 with 2 GPUs for each trial"),
        (0, {"num_processes": 2}, {"gpus_per_trial": 2},
         "hydra.sweeper.gpus_per_trial: got 2; legal: null where a trial does not train on GPUs; "
         "trainer.num_processes=2 trains on the CPU"),
        (4, {"num_processes": 2, "device": "cpu"}, {"gpus_per_trial": 2},
         "hydra.sweeper.gpus_per_trial: got 2; legal: null"),
        (1, {"num_processes": 2, "device": "cuda:0"}, {},
         "trainer.device: got 'cuda:0'; legal: auto, cpu or cuda with 2 processes"),
    ],
)  # fmt: skip
def test_what_a_trial_has_no_devices_for_is_refused(
    machine: Callable[[int], None], present: int, trainer: dict[str, int], sweep: dict[str, int], error: str
) -> None:
    machine(present)
    with pytest.raises(ConfigError) as raised:
        capacity.plan_workers(TrainerConfig(**trainer), SweepConfig(**sweep), parallel=True)  # type: ignore[arg-type]
    assert str(raised.value).startswith(error)


def test_gpus_of_one_trial_are_not_shared() -> None:
    with pytest.raises(ConfigError, match="hydra.sweeper.workers_per_gpu: got 2; legal: 1 with 4 GPUs"):
        check_sweep(SweepConfig(workers_per_gpu=2, gpus_per_trial=4))
