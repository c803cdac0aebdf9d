"""The number of GPUs is torch's own; a build of torch that knows none is not imported for it."""

import subprocess
import sys

COUNT = """
import gc, sys
from finesweep.config.run import TrainerConfig
from finesweep.machine import gpus
from finesweep.machine.imports import import_all
counted, early = gpus.count(TrainerConfig(device="auto")), "torch" in sys.modules
gc.disable()
import_all("torch")
import torch
assert gc.isenabled() and gc.get_freeze_count() > 10_000
assert counted == (torch.cuda.device_count() if torch.cuda.is_available() else 0)
assert early == (torch.version.cuda is not None or torch.version.hip is not None), early
gpus._is_built_for_cpus.cache_clear()
assert gpus.count(TrainerConfig(device="auto")) == counted
assert gpus.count(TrainerConfig(device="cpu")) == 0
"""


def test_gpus_are_counted_without_torch_where_torch_is_built_for_cpus() -> None:
    subprocess.run([sys.executable, "-c", COUNT], check=True)
