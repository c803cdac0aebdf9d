"""The job that a sweep's worker runs for each trial."""

from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig

from finesweep.config.parse import parse_config
from finesweep.config.places import in_project, reachable
from finesweep.io.job_secrets import protect

if TYPE_CHECKING:
    from finesweep.training.run import RunResult


def train(cfg: object) -> "RunResult":
    """Trains a run of Hydra's config `cfg`, as the body of train.py does."""
    from finesweep.training.run import run

    job = HydraConfig.get()
    protect(Path(job.runtime.output_dir, job.output_subdir or "."))
    with in_project(Path(job.runtime.cwd)):
        config = reachable(parse_config(cfg))  # type: ignore[arg-type]
        return run(config, Path(job.runtime.output_dir), list(job.overrides.task))
