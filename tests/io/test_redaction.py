"""Passwords and tokens stay out of everything that is written."""

import json
import logging
import uuid
from pathlib import Path

import pytest
import yaml
from processes import SMALL, finesweep, train
from serving import mlflow_server

from finesweep.errors import ConfigError
from finesweep.io.job_secrets import EXCLUDE_KEYS, Redact, hide, protect
from finesweep.io.redaction import holds_secret, redact, redact_urls

CANARIES = [f"canary-{uuid.uuid4().hex}" for _ in range(4)]


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("at http://bot:hunter2@mlflow:5000/x", "at http://***@mlflow:5000/x"),
        ("postgresql+psycopg://u:p%40w@h/db", "postgresql+psycopg://u:***@h/db"),
        ("https://glpat-123@git.example/x", "https://***@git.example/x"),
        ("https://a-token:@git.example/x", "https://***@git.example/x"),
        ("https://a-token:x-oauth-basic@git.example/x", "https://***@git.example/x"),
        ("postgresql://bob:ab/cd==@h/db", "postgresql://bob:***@h/db"),
        ("outputs/uri=http:/bob:pw@h:5/x", "outputs/uri=http:/***@h:5/x"),
        ("https://h/x?user=a&access_token=abc&b=1", "https://h/x?user=a&access_token=***&b=1"),
        ("https://h/x?X-Amz-Signature=abc&b=1", "https://h/x?X-Amz-Signature=***&b=1"),
        ("https://h/x?sv=2&sig=a%2Fb", "https://h/x?sv=2&sig=***"),
        ("https://h/x?Signature=abc&signal=1", "https://h/x?Signature=***&signal=1"),
        ("postgresql://user@host/db", "postgresql://user@host/db"),
        ("sqlite:///mlruns/mlflow.db", "sqlite:///mlruns/mlflow.db"),
        ("http://u:pa'ss@h and postgresql://u:p@ss@h/db", "http://***@h and postgresql://u:***@h/db"),
        ("a ratio of 3:4 @ noon", "a ratio of 3:4 @ noon"),
    ],
)
def test_urls_lose_their_passwords_and_nothing_else(text: str, clean: str) -> None:
    assert redact_urls(text) == clean


def test_values_of_secret_variables_are_left_out_wherever_they_stand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_KEY", "abcdefgh12345678")
    monkeypatch.setenv("SHORT_TOKEN", "abc")
    monkeypatch.setenv("TOKENIZERS_PARALLELISM", "false-false")
    assert redact("x abcdefgh12345678 abc false-false") == "x *** abc false-false"


@pytest.mark.parametrize(
    ("argument", "variable", "value"),
    [
        ("tracking.uri=http://u:pw@h:5000", "FINESWEEP_SECRET_TRACKING_URI", "http://u:pw@h:5000"),
        ('tracking.uri="http://u:pw@h"', "FINESWEEP_SECRET_TRACKING_URI", "http://u:pw@h"),
        ("+hydra.job.env_set.HF_TOKEN=abc", "FINESWEEP_SECRET_HYDRA_JOB_ENV_SET_HF_TOKEN", "abc"),
    ],
)
def test_a_secret_argument_becomes_the_name_of_a_variable(
    argument: str, variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.environ", {})
    from os import environ

    key = argument.partition("=")[0]
    left_out = f"{EXCLUDE_KEYS}=[{key.lstrip('+')}]"
    assert hide([argument]) == [f"{key}=${{oc.env:{variable}}}", left_out]
    assert environ[variable] == value


@pytest.mark.parametrize(
    "argument", ["trainer.threads=2", "model=bert-tiny", "-m", "tracking.uri=${oc.env:MINE}", "data.path=a@b"]
)
def test_other_arguments_stay_as_they_are(argument: str) -> None:
    assert hide([argument]) == [argument]


def test_folders_are_not_named_after_secrets_and_options_may_stand_behind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.environ", {})
    given = f"{EXCLUDE_KEYS}=[seed]"
    assert hide([given, "tracking.uri=http://u:p@h", "seed=4", "-m"]) == [
        "tracking.uri=${oc.env:FINESWEEP_SECRET_TRACKING_URI}",
        f"{EXCLUDE_KEYS}=[tracking.uri,seed]",
        "seed=4",
        "-m",
    ]


def test_hydras_escapes_are_undone_and_a_secret_inside_of_braces_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("os.environ", {})
    from os import environ

    with pytest.raises(ConfigError, match="start_from: holds a password or a token, which .* in a list"):
        hide(["hydra.sweeper.study.start_from=['postgresql://u:p@h/db::s']"])
    hide(["tracking.uri=postgresql://u:p@h/db?sslmode\\=require"])
    assert environ["FINESWEEP_SECRET_TRACKING_URI"] == "postgresql://u:p@h/db?sslmode=require"
    hide(["hydra.job.env_set={}"])
    for argument in (
        'tracking={uri: "http://u:pw@h"}',
        "hydra.job.env_set={A_TOKEN: abcdefgh}",
        "hydra.job.env_set={A: abcdefgh}",
        "+hydra.job={env_set: {A: abcdefgh}}",
    ):
        with pytest.raises(ConfigError, match="give it by itself"):
            hide([argument])


@pytest.mark.parametrize(
    ("source", "settings", "holds"),
    [
        ('+API_KEY = "abcdefgh"\n', False, True),
        ('+{"auth_token": "abcdefgh"}\n', False, True),
        ("+db_password: abcdefgh\n", True, True),
        ('+x = "hf_abcdefghijklmnop"\n', False, True),
        ("+token: SomeClass = make(hf_token)\n", False, False),
        ('+job_dir_key="hydra.sweep.dir", pad_token="[PAD]", sort_key="name"\n', False, False),
        ("+max_tokens: 5120000000\n+url: ${oc.env:TOKEN}\n", True, False),
        ('+B = "' + "a1-_." * 40_000 + '"\n' + "+token_" * 10_000, True, False),
    ],
    ids=["literal", "key", "yaml", "looks", "annotation", "names", "settings", "long lines in no time"],
)
def test_source_that_holds_a_secret_is_known(source: str, settings: bool, holds: bool) -> None:
    assert holds_secret(source, settings) is holds


def test_logs_hold_no_secret_not_even_in_a_traceback(tmp_path: Path) -> None:
    handler = logging.FileHandler(tmp_path / "log")
    handler.addFilter(Redact())
    logger = logging.getLogger("test_redaction")
    logger.addHandler(handler)
    try:
        raise ValueError("http://u:hunter2@h")
    except ValueError:
        logger.exception("of %s", "http://u:hunter2@h")
    finally:
        logger.removeHandler(handler)
        handler.close()
    text = (tmp_path / "log").read_text()
    assert "hunter2" not in text
    assert text.count("http://***@h") == 3  # the message, the line that raised, the exception


def test_a_message_whose_arguments_do_not_fit_is_still_logged() -> None:
    record = logging.LogRecord("lib", logging.WARNING, "file", 1, "deprecated", (FutureWarning,), None)
    assert Redact().filter(record)
    assert record.getMessage() == "deprecated"


def test_what_hydra_wrote_of_a_job_is_cleaned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "abcdefgh12345678")
    text = "hydra:\n  job:\n    env_set:\n      HF_TOKEN: abcdefgh12345678\n      INNOCENT: abcd\n"
    (tmp_path / "hydra.yaml").write_text(text)
    protect(tmp_path)
    clean = {"hydra": {"job": {"env_set": {"HF_TOKEN": "***", "INNOCENT": "***"}}}}
    assert yaml.safe_load((tmp_path / "hydra.yaml").read_text()) == clean


def leaked(text: str) -> list[str]:
    return [canary for canary in CANARIES if canary in text]


def run_result(folder: Path) -> str:
    return next(path.read_text() for path in folder.glob("outputs/demo/*/result.json"))


@pytest.mark.long
def test_canaries_of_environment_and_command_line_are_in_no_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run, a sweep with a trial that fails, and a store that cannot be reached; then every byte is read."""
    hf, uri, env_set, user = CANARIES
    monkeypatch.setenv("HF_TOKEN", hf)
    with mlflow_server(tmp_path / "server") as server:
        secret = (
            f"tracking.uri=http://bot:{uri}@{server}",
            f"+hydra.job.env_set.SOME_API_KEY={env_set}",
            "hydra.job.env_copy=[HF_TOKEN]",
        )
        small = (*SMALL, "predict=false")
        named = "hydra.run.dir=outputs/demo/${hydra.job.override_dirname}"
        run = train(*small, *secret, named, cwd=tmp_path)
        assert run.returncode == 0, run.stderr
        failing = (
            "optimizer.learning_rate=choice(1e-3,1e30)",
            "optimizer.max_grad_norm=0",
            "optimizer.warmup_steps=0",
            "trainer.per_device_train_batch_size=32",
            "hydra.sweeper.enqueue=[]",
        )
        sampler = ("hydra.sweeper.study.sampler=grid", "hydra/launcher=basic")
        sweep = train("-m", *small, *secret, *failing, *sampler, cwd=tmp_path)
        assert "trial 1 FAIL" in sweep.stderr
        again = json.loads(run_result(tmp_path))["run_id"]
        uri_again = ("--tracking-uri", f"http://bot:{uri}@{server}")
        reproduced = finesweep("reproduce", again, *uri_again, "--json", cwd=tmp_path)
        assert json.loads(reproduced.stdout)["verdict"] == "EXACT"  # and nothing else stands there
        assert leaked(reproduced.stdout + reproduced.stderr + run.stdout + run.stderr) == []
        gone = train(*small, f"tracking.uri=http://{user}@127.0.0.1:9", *secret[1:], cwd=tmp_path)
        assert gone.returncode == 2, gone.stderr
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert any(path.name == "hydra.yaml" for path in written) and any(
        path.suffix == ".db" for path in written
    )
    leaks = [path for path in written if any(canary.encode() in path.read_bytes() for canary in CANARIES)]
    assert not leaks
    assert not [path for path in tmp_path.rglob("*") if any(canary in path.name for canary in CANARIES)]
