"""`finesweep ui`: serves MLflow's user interface."""

import os
import socket
import sys
from pathlib import Path

import click

from finesweep.cli import options
from finesweep.config.run import TrackingConfig
from finesweep.errors import ConfigError, StudyError

HOST = "127.0.0.1"


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
        raise StudyError(f"{path}: not there; go to where the runs were made, or name it: --tracking-uri")
    open_store(tracking)  # an unusable store is refused here, with a clear error, rather than in the UI
    _check_free(port)
    print(f"http://127.0.0.1:{port}   (Ctrl-C ends it)", file=sys.stderr, flush=True)
    # Without it MLflow starts a dozen processes for jobs, which comparing runs does not need.
    os.environ["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] = "false"
    os.environ["MLFLOW_BACKEND_STORE_URI"] = tracking.uri  # arguments, with a password, are seen in `ps`
    server = ["mlflow", "server", "--workers", "1"]
    address = ["--host", HOST, "--port", str(port)]
    os.execv(sys.executable, [sys.executable, "-m", *server, *address])


def _check_free(port: int) -> None:
    """Raises: ConfigError for a port that the server cannot listen on: MLflow would end without a word."""
    legal = "a free port, 1 to 65535: --port N"
    if port == 0:  # the system would choose one, and nobody would know which
        raise ConfigError.at("--port", port, legal)
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as the server does
        try:
            probe.bind((HOST, port))
        except OverflowError as error:
            raise ConfigError.at("--port", port, legal) from error
        except OSError as error:
            raise ConfigError(
                f"--port: got {port}, which cannot be used ({error.strerror}); legal: {legal}"
            ) from error
