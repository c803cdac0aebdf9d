"""The command line itself: help and usage errors come at once, in one form."""

import socket
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from serving import free_port

from finesweep.cli import main
from finesweep.cli.reproduce import reproduce
from finesweep.config.run import TrackingConfig
from finesweep.errors import ConfigError
from finesweep.tracking import open_store

HEAVY = ("torch", "mlflow", "optuna", "datasets", "transformers")


def test_help_and_the_options_of_every_verb_import_no_heavy_library() -> None:
    code = (
        "import sys; from finesweep.cli import main\n"
        "main._invoke(['--help'])\n"
        "for verb in main.VERBS:\n"
        "  if verb != 'train': main._invoke([verb, '--help'])  # whose help is Hydra's\n"
        f"print([name for name in {HEAVY} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert all(f"Usage: finesweep {verb}" in done.stdout for verb in main.VERBS if verb != "train")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "error: Missing command; see: finesweep --help"),
        (["statsu", "s"], "error: VERB: got 'statsu'; did you mean status? legal: init, train"),
        (["status"], "error: Missing argument 'STUDY'; see: finesweep status --help"),
        (["status", "s", "--nope"], "--nope"),
        (["reproduce", "RUN", "--seeds", "0"], "error: --seeds: got '0'; legal: a whole number, 1 or more"),
        (["reproduce", "RUN", "--tolerance", "-1"], "error: --tolerance: got '-1'; legal: a number, 0 or"),
        (["reproduce", "RUN", "--dry-run", "--seeds", "2"], "give one of the two"),
        (["reproduce", "RUN", "--json", "stray"], "RUN"),
        (["ui", "--port", "x"], "--port"),
    ],
)
def test_a_wrong_command_line_is_one_error_and_exit_code_2(
    arguments: list[str], message: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["finesweep", *arguments])
    monkeypatch.setattr("finesweep.cli.entry.signal.signal", lambda *_: None)
    monkeypatch.setattr("finesweep.cli.entry.logging.captureWarnings", lambda _: None)
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    assert main.main() == 2
    stdout, stderr = capfd.readouterr()
    assert stdout == ""
    assert message in stderr
    assert stderr.startswith("error: ") and stderr.count("\n") == 1


def test_overrides_may_stand_behind_options() -> None:
    given = reproduce.make_context("reproduce", ["RUN", "--json", "trainer.threads=2"]).params
    assert given["arguments"] == ("RUN", "trainer.threads=2") and given["as_json"]


def test_a_taken_port_is_refused() -> None:
    open_store(TrackingConfig())
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for wrong, reason in ((port, "already in use"), ("99999", "1 to 65535"), ("0", "1 to 65535")):
            with pytest.raises(ConfigError, match=f"--port: got {wrong}.*{reason}"):
                main._invoke(["ui", "--port", wrong])


@pytest.mark.parametrize("name", ["a'b", "a/b", "models:a", " "])
def test_a_name_that_the_registry_cannot_take_is_refused_first(name: str) -> None:
    with pytest.raises(ConfigError, match="NAME: got .*; legal: a text without / : and quotes"):
        main._invoke(["register", "quickstart", name])


def test_the_help_of_all_verbs_has_one_whole_sentence_each(capsys: pytest.CaptureFixture[str]) -> None:
    main._invoke(["--help"])
    lines = capsys.readouterr().out.partition("Commands:")[2].strip().splitlines()
    assert len(lines) == len(main.VERBS) and all(line[-1] == "." and line[-3:] != "..." for line in lines)


def test_the_address_of_the_store_is_no_argument_of_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    store = TrackingConfig(f"sqlite:///{Path.cwd()}/mlflow.db")
    open_store(store)
    started: list[tuple[list[str], dict[str, str]]] = []
    import_module("finesweep.cli.ui")

    def refuse(arguments: list[str], env: dict[str, str], **_: object) -> None:
        started.append((arguments, env))
        raise OSError("no more processes")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(OSError, match="no more processes"):
        main._invoke(["ui", "--port", str(free_port()), "--tracking-uri", store.uri])
    assert "mlflow.db" not in " ".join(started[0][0])
    assert started[0][1]["MLFLOW_BACKEND_STORE_URI"] == store.uri
