"""`finesweep ui`: MLflow's own."""

import argparse
import os
import sys
from pathlib import Path

from finesweep.config.run import TrackingConfig
from finesweep.errors import StudyError


def ui(arguments: argparse.Namespace) -> None:
    """Serves until interrupted; bound to 127.0.0.1, for MLflow's UI has no authentication."""
    from finesweep.tracking import open_store

    path = Path(arguments.tracking_uri.removeprefix("sqlite:///"))
    if arguments.tracking_uri.startswith("sqlite:///") and not path.exists():
        raise StudyError(f"{path}: not there; go to where train.py ran, or name it: --tracking-uri")
    open_store(TrackingConfig(uri=arguments.tracking_uri))  # fails here rather than in the UI
    print(f"http://127.0.0.1:{arguments.port}   (Ctrl-C ends it)", file=sys.stderr, flush=True)
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = (
        "false"  # a dozen processes that comparing runs needs not
    )
    server = ["mlflow", "server", "--backend-store-uri", arguments.tracking_uri, "--workers", "1"]
    address = ["--host", "127.0.0.1", "--port", str(arguments.port)]
    os.execv(sys.executable, [sys.executable, "-m", *server, *address])
