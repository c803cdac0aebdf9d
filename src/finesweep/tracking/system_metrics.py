"""Logs CPU, memory and GPU load of a run while it is open, with MLflow's own monitor."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

log = logging.getLogger(__name__)
LAST_WORD_S = 5.0  # that the end of a run waits for the monitor, whose requests may take minutes


class _Monitor(SystemMetricsMonitor):
    """MLflow's monitor, which goes on after a request that failed."""

    def monitor(self) -> None:
        while not self._shutdown_event.is_set():
            # It returns when it could not ask whether the run is still open.
            super().monitor()  # type: ignore[no-untyped-call]


@contextmanager
def system_metrics(run_id: str, uri: str) -> Iterator[None]:
    """Logs system metrics while the body runs. A server that hangs does not hold up its end."""
    monitor: Any = _Monitor(run_id, tracking_uri=uri)  # type: ignore[no-untyped-call]
    monitor.start()
    try:
        yield
    finally:
        ending = threading.Thread(target=monitor.finish, daemon=True)
        ending.start()
        ending.join(LAST_WORD_S)
        if ending.is_alive():
            log.warning("run %s: MLflow does not take its last system metrics", run_id)
