"""`finesweep ui`: serves MLflow's user interface."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import webbrowser
from pathlib import Path

import click

from finesweep.cli import completing, options
from finesweep.config.run import TrackingConfig
from finesweep.errors import ConfigError, StoreError, StudyError
from finesweep.io.redaction import redact_urls

HOST = "127.0.0.1"
POLL_S = 0.2


@click.command()
@click.argument("study", required=False, shell_complete=completing.studies)
@options.tracking
@click.option("--port", type=int, default=5000, show_default=True, help="Port on 127.0.0.1.")
@click.option("--browser/--no-browser", default=True, help="Open the page, where there is a screen.")
def ui(study: str | None, tracking: TrackingConfig, port: int, browser: bool) -> None:
    """Serve MLflow's user interface.

    It opens the page of STUDY, or the newest runs, and ends with Ctrl-C. It has no authentication, so it
    listens on 127.0.0.1 alone. A store on a server, http://..., has its page there, and nothing is started.
    """
    from finesweep.tracking import page_of

    path = Path(tracking.uri.removeprefix("sqlite:///"))
    if tracking.uri.startswith("sqlite:///") and not path.exists():
        raise StudyError(f"{path}: not there; go to where the runs were made, or name it: --tracking-uri")
    page = page_of(tracking, study)  # an unusable store is refused here, rather than in the UI
    if tracking.uri.startswith(("http://", "https://")):  # its server has the page
        _open(f"{tracking.uri.rstrip('/')}/{page}", browser)
        return
    _check_free(port)
    if hangup := getattr(signal, "SIGHUP", None):  # a terminal that is closed ends the server, too
        signal.signal(hangup, signal.default_int_handler)
    server = _start(tracking.uri, port)
    try:
        _await(server, f"http://{HOST}:{port}/health")
        _open(f"http://{HOST}:{port}/{page}", browser, "   (Ctrl-C ends it)")
        if code := server.wait():
            raise StoreError(f"MLflow's server has ended with exit code {code}")
    except KeyboardInterrupt:
        pass  # this is how it ends
    finally:
        os.killpg(server.pid, signal.SIGKILL)  # a gentler end prints tracebacks for pages that are open
        server.wait()


def _open(url: str, browser: bool, note: str = "") -> None:
    print(f"{redact_urls(url)}{note}", file=sys.stderr, flush=True)
    if browser and _has_screen():
        webbrowser.open(url)


def _start(uri: str, port: int) -> subprocess.Popen[bytes]:
    environ = os.environ | {
        # Without it MLflow starts a dozen processes for jobs, which comparing runs does not need.
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        "MLFLOW_BACKEND_STORE_URI": uri,  # arguments, with a password, are seen in `ps`
        "MLFLOW_LOGGING_LEVEL": "WARNING",
        "PYTHONWARNINGS": "ignore",
    }
    server = ["mlflow", "server", "--workers", "1", "--uvicorn-opts", "--log-level=warning"]
    address = ["--host", HOST, "--port", str(port)]
    command, quiet = [sys.executable, "-m", *server, *address], subprocess.DEVNULL  # errors go to stderr
    return subprocess.Popen(command, env=environ, stdout=quiet, process_group=0)  # Ctrl-C reaches it by us


def _await(server: subprocess.Popen[bytes], url: str) -> None:
    """Waits until the server answers. Raises: StoreError if it ends first; it has said why."""
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    while server.poll() is None:
        try:
            direct.open(url, timeout=5).close()
            return
        except OSError:
            time.sleep(POLL_S)
    raise StoreError(f"MLflow's server could not start (exit code {server.returncode})")


def _has_screen() -> bool:
    """Whether a browser would open in a window, and not take over this terminal."""
    return sys.platform == "darwin" or any(map(os.environ.get, ("DISPLAY", "WAYLAND_DISPLAY")))


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
