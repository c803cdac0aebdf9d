"""Fine-tune once, or sweep.

python train.py data=qnli model=bert-tiny optimizer.learning_rate=1e-4
python train.py -m                      # the quickstart sweep: sweeps/quickstart.yaml
python train.py -m sweep=qnli           # any other: sweeps/NAME.yaml
"""

import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from finesweep.cli.entry import exit_on_error, guarded
from finesweep.config.parse import parse_config, register_schema
from finesweep.config.places import in_project, reachable
from finesweep.io.job_secrets import protect

register_schema()


@hydra.main(version_base="1.3", config_path="conf", config_name="config")
def main(cfg: DictConfig) -> object:
    job = HydraConfig.get()
    protect(Path(job.runtime.output_dir, job.output_subdir or "."))
    with exit_on_error(job), in_project(Path(job.runtime.cwd)):
        config = reachable(parse_config(cfg))
        # Imported where they are used: --help, --cfg and a TAB need none of it.
        from finesweep.training import preflight

        preflight.check(config)  # before torch is imported: what cannot work answers at once
        from finesweep.cli.single_run import run_shown

        return run_shown(config, Path(job.runtime.output_dir), list(job.overrides.task))


if __name__ == "__main__":
    sys.exit(guarded(main))
