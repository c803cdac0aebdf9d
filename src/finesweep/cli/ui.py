"""`finesweep ui`: serves MLflow's user interface."""

import os
import sys
from pathlib import Path

import click

from finesweep.cli import options
from finesweep.config.run import TrackingConfig
from finesweep.errors import StudyError


@click.command()
@options.tracking
@click.option("--port", type=int, default=5000, show_default=True, help="Port on 127.0.0.1.")
def ui(tracking: TrackingConfig, port: int) -> None:
    """Serve MLflow's user interface.

    It shows the store of the runs until Ctrl-C. It has no authentication, so it listens on 127.0.0.1 alone.
    """
    from finesweep.tracking import open_store

    path = Path(tracking.uri.removeprefix("sqlite:///"))
    if tracking.uri.startswith("sqlite:///") and not path.exists():
        raise StudyError(f"{path}: not there; go to where train.py ran, or name it: --tracking-uri")
    open_store(tracking)  # an unusable store is refused here, with a clear error, rather than in the UI
    print(f"http://127.0.0.1:{port}   (Ctrl-C ends it)", file=sys.stderr, flush=True)
    # Without it MLflow starts a dozen processes for jobs, which comparing runs does not need.
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    server = ["mlflow", "server", "--backend-store-uri", tracking.uri, "--workers", "1"]
    address = ["--host", "127.0.0.1", "--port", str(port)]
    os.execv(sys.executable, [sys.executable, "-m", *server, *address])
