"""MLflow stores that refuse, break in their own way, lose an answer or hang."""

import errno
import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from mlflow.entities import ViewType
from mlflow.exceptions import MlflowException
from mlflow.system_metrics.system_metrics_monitor import SystemMetricsMonitor

from finesweep.config.run import TrackingConfig
from finesweep.errors import ConfigError, StoreError
from finesweep.hooks import RunState
from finesweep.io import patience
from finesweep.study.storage import open_storage
from finesweep.tracking import TrackedRun, deliver_spooled, open_store, open_study_run, start_run
from finesweep.tracking import system_metrics as watching
from finesweep.tracking.spool import spooled_runs
from finesweep.tracking.store import PatientClient
from finesweep.tracking.system_metrics import system_metrics
from finesweep.tracking.writes import WRITES

EXPERIMENT = {"experiment_id": "1", "name": "demo", "lifecycle_stage": "active", "artifact_location": "/x"}
RUN = {"run_id": "a" * 32, "run_uuid": "a" * 32, "experiment_id": "1", "status": "RUNNING"}


@dataclass
class Server:
    """A tracking server that answers 500 to each request with the text `poison`, and notes the requests."""

    uri: str = ""
    drops_creation: bool = False  # once, after executing it
    requests: list[str] = field(default_factory=list)

    def answer(self, path: str, body: str) -> tuple[int, dict[str, object]] | None:
        name = "/".join(path.partition("?")[0].split("/")[-2:])
        self.requests.append(name)
        if name == "runs/create" and self.drops_creation:
            self.drops_creation = False
            return None
        if "poison" in body:
            return 500, {"error_code": "INTERNAL_ERROR"}
        return 200, {"experiments": [EXPERIMENT], "experiment": EXPERIMENT, "run": {"info": RUN, "data": {}}}


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    server = Server()
    monkeypatch.setattr(patience, "PAUSES_S", ())
    monkeypatch.setattr(patience, "LAST_PAUSE_S", 0.01)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode()
            answer = server.answer(self.path, body)
            self.close_connection = True
            if answer is None:
                return
            content = json.dumps(answer[1]).encode()
            self.send_response(answer[0])
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever, args=(0.01,))
        thread.start()
        server.uri = f"http://127.0.0.1:{listening.server_port}"
        yield server
        listening.shutdown()
        thread.join()


@pytest.fixture
def run() -> TrackedRun:
    return start_run(TrackingConfig(), "demo", "a", {})


def test_a_write_that_a_server_always_fails_at_holds_up_no_other(
    server: Server, caplog: pytest.LogCaptureFixture
) -> None:
    client = open_store(TrackingConfig(server.uri, patience_s=60))
    tracked = TrackedRun(client, "a" * 32)
    tracked.set_tags({"poison": "x"})
    tracked.log_metrics({"loss": 1.0}, 1)
    deliver_spooled(client)
    assert spooled_runs(client.spool) == []
    (refused,) = client.spool.glob("*.refused")
    assert [json.loads(line)["kind"] for line in refused.read_text().splitlines()] == ["tags"]
    assert "1 writes can never be delivered" in caplog.text
    assert client.may_be_tried


def test_a_creation_whose_answer_was_lost_is_looked_for_before_it_is_repeated(server: Server) -> None:
    config = TrackingConfig(server.uri, patience_s=60)
    open_store(config)
    server.drops_creation = True
    start_run(config, "demo", "a", {})
    which = [name for name in server.requests if name in ("runs/create", "runs/search")]
    assert which == ["runs/create", "runs/search", "runs/create"]


def test_a_run_that_a_person_deletes_while_it_is_written_is_restored(
    run: TrackedRun, caplog: pytest.LogCaptureFixture
) -> None:
    run.client.delete_run(run.run_id)
    run.log_metrics({"loss": 1.0}, 1)
    run.log_params({"a": 1})
    run.end(RunState.COMPLETE)
    assert caplog.text.count("was deleted; it is needed, so it is restored") == 1
    assert spooled_runs(run.client.spool) == []
    restored = run.client.get_run(run.run_id)
    assert (restored.info.status, restored.data.metrics) == ("FINISHED", {"loss": 1.0})


def test_a_write_that_is_wrong_is_the_runs_fault_and_not_the_stores(run: TrackedRun) -> None:
    with pytest.raises(MlflowException, match="acc@") as caught:
        run.log_metrics({"acc@{best}": 1.0}, 1)
    assert patience.store_error(caught.value) is None


def test_an_artifact_store_that_fails_in_its_own_way_interrupts_no_training(
    run: TrackedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setitem(WRITES, "text", fail_with(OSError(errno.ESTALE, "Stale file handle")))
        run.log_text("kept", "a.txt")
        run.end(RunState.COMPLETE)
        with pytest.raises(StoreError, match="cannot be used: .*Stale file handle.*are kept in"):
            deliver_spooled(run.client)
    deliver_spooled(run.client)
    assert run.read_text("a.txt") == "kept"
    assert run.client.get_run(run.run_id).info.status == "FINISHED"


def fail_with(*errors: Exception) -> object:
    """Fails with these errors, one after the other, the last one for good."""
    left = list(errors)

    def fail(*_: object, **__: object) -> None:
        raise left.pop(0) if len(left) > 1 else left[0]

    return fail


def test_a_deleted_parent_is_restored_by_a_store_that_was_away_and_has_no_twin(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(patience, "PAUSES_S", (0.0,))
    config = TrackingConfig()
    parent = open_study_run(config, "demo", "s", {})
    client = open_store(config)
    client.delete_run(parent.run_id)
    restore, times = client._tracking_client.restore_run, iter(range(2))

    def reset(run_id: str) -> None:
        if next(times) == 0:
            raise MlflowException("request failed") from requests.exceptions.ConnectionError("reset")
        restore(run_id)

    monkeypatch.setattr(client._tracking_client, "restore_run", reset)
    assert open_study_run(config, "demo", "s", {}).run_id == parent.run_id
    client.delete_run(parent.run_id)
    monkeypatch.setattr(client._tracking_client, "restore_run", fail_with(MlflowException("broken")))
    with pytest.raises(StoreError, match="cannot be used"):
        open_study_run(config, "demo", "s", {})
    assert len(client.search_runs(["1"], run_view_type=ViewType.ALL)) == 1


def test_a_monitor_whose_server_hangs_holds_up_no_run(
    run: TrackedRun, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    release = threading.Event()
    monkeypatch.setattr(SystemMetricsMonitor, "start", lambda _: None)
    monkeypatch.setattr(SystemMetricsMonitor, "finish", lambda _: release.wait())
    monkeypatch.setattr(watching, "LAST_WORD_S", 0.01)
    with system_metrics(run.run_id, "sqlite:///mlruns/mlflow.db"):
        pass
    release.set()
    assert "does not take its last system metrics" in caplog.text


def test_a_monitor_goes_on_after_a_request_that_failed(
    run: TrackedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    again = threading.Event()
    looks = iter(range(100))

    def look(monitor: SystemMetricsMonitor) -> None:
        if next(looks) == 1:
            again.set()
            monitor._shutdown_event.set()

    monkeypatch.setattr(SystemMetricsMonitor, "monitor", look)
    with system_metrics(run.run_id, "sqlite:///mlruns/mlflow.db"):
        assert again.wait(30)


def test_each_call_that_changes_a_store_is_made_under_its_patience() -> None:
    changing = ("create_run", "update_run", "restore_run", "set_terminated", "log_batch", "create_experiment")
    assert all(hasattr(getattr(PatientClient, name), "__wrapped__") for name in changing)


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="needs a folder where nobody can make a file")
def test_a_place_where_no_file_can_be_made_is_refused_and_not_waited_for() -> None:
    with pytest.raises(ConfigError, match="tracking.uri: cannot open 'sqlite:////proc/x.db': "):
        open_store(TrackingConfig(uri="sqlite:////proc/x.db"))
    with pytest.raises(ConfigError, match="study.storage: cannot open 'sqlite:////proc/x.db': "):
        open_storage("sqlite:////proc/x.db")
