"""Imports what workers need, once, in the server that they are forked from: importing this file does it.

Nothing is computed, opened or started, so that a forked worker is as good as a new process. Source for what
survives a fork: https://docs.python.org/3/library/multiprocessing.html#contexts-and-start-methods
"""

import os

from finesweep.machine.imports import import_all

# The slowest first: the other processes of the command wait for these.
MODULES = (
    "torch", "transformers", "transformers.trainer", "mlflow.store.tracking.sqlalchemy_store", "datasets",
    "optuna.storages", "sklearn.metrics", "scipy.stats", "accelerate",
    "transformers.models.auto.modeling_auto", "transformers.models.bert.modeling_bert",
    "finesweep.training.run", "finesweep.training.tryout", "finesweep.worker.finish",
    "finesweep.worker.worker",
)  # fmt: skip


def preload() -> None:
    """Imports everything. Ends the server if its command is over, which may be before the imports are."""
    command = os.getppid()
    for name in MODULES:
        if os.getppid() != command:
            os._exit(0)
        import_all(name)  # a collection in a worker visits, and so copies, none of it


preload()
