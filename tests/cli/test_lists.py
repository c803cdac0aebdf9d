"""`finesweep studies`, `finesweep runs`, and runs named by the beginning of their ids."""

import json

import pytest
from sweeping import STORAGE, evaluate, runs, sweep

from finesweep.cli import main
from finesweep.config.run import RunConfig, TrackingConfig
from finesweep.errors import RunError, StudyError
from finesweep.hooks import RunHooks, TrialPruned
from finesweep.tracking import find_run, open_store, start_run


def three(_: RunConfig, trial: RunHooks) -> float:
    """Completes, fails and is pruned."""
    if trial.run_name.endswith("1"):
        raise RuntimeError("no luck")
    if trial.run_name.endswith("2"):
        raise TrialPruned
    return evaluate(trial, [0.75])


@pytest.fixture
def study(no_finish: None) -> None:
    sweep(three, "hydra.sweeper.study.n_trials=2", "hydra.sweeper.study.name=quickstart")


def printed(capfd: pytest.CaptureFixture[str], *arguments: str) -> str:
    capfd.readouterr()
    main._invoke([*arguments, "--storage", STORAGE])
    return capfd.readouterr().out


@pytest.mark.usefixtures("study")
def test_studies_and_runs_are_listed(capfd: pytest.CaptureFixture[str]) -> None:
    ids = {name: run.info.run_id for name, run in runs().items()}
    (row,) = json.loads(printed(capfd, "studies", "--json"))
    assert (row["study"], row["finished"], row["n_trials"], row["failed"]) == ("quickstart", 2, 2, 1)
    assert (row["value"], row["run_id"]) == (0.75, ids["trial-0000"])
    heading, line = printed(capfd, "studies").splitlines()
    assert heading.split()[:3] == ["study", "trials", "running"]
    assert line.split()[:6] == ["quickstart", "2/2", "-", "1", "accuracy", "0.7500"]

    rows = json.loads(printed(capfd, "runs", "quickstart", "--json"))
    assert [row["state"] for row in rows] == ["COMPLETE", "FAIL", "PRUNED"]
    assert [row["run_id"] for row in rows] == [ids[f"trial-000{number}"] for number in range(3)]
    assert "optimizer.learning_rate" in rows[0]["params"] and "no luck" in rows[1]["note"]
    lines = printed(capfd, "runs", "quickstart").splitlines()
    assert lines[1].split()[:4] == ["0", ids["trial-0000"][:8], "COMPLETE", "0.7500"]
    assert " lr=" in lines[1] and "no luck" in lines[2]

    with pytest.raises(
        StudyError, match=r"study 'quikstart': .*did you mean quickstart\? there: quickstart;"
    ):
        main._invoke(["runs", "quikstart", "--storage", STORAGE])


def test_without_a_database_there_are_no_studies() -> None:
    with pytest.raises(StudyError, match="no studies: there is no sqlite:///.* here; start a study with"):
        main._invoke(["studies", "--storage", STORAGE])


def test_the_beginning_of_an_id_names_a_run_if_it_is_unique() -> None:
    tracking = TrackingConfig()
    ids = sorted(start_run(tracking, "demo", f"run-{number}", {}).run_id for number in range(17))
    shared = next(a[0] for a, b in zip(ids, ids[1:], strict=False) if a[0] == b[0])  # 17 ids, 16 digits
    unique = next(a[:k] for a in ids for k in range(1, 9) if sum(i.startswith(a[:k]) for i in ids) == 1)
    (whole,) = [one for one in ids if one.startswith(unique)]
    assert find_run(tracking, unique).info.run_id == whole
    with pytest.raises(
        RunError, match=rf"run '{shared}': begins several ids; legal: one of {shared}.* \(run-"
    ):
        find_run(tracking, shared)
    for unknown in ("0" * 31, "0" * 32, "nothing", "x%'"):
        with pytest.raises(RunError, match=r"not in sqlite.*the newest are [0-9a-f]{12} \(run-"):
            find_run(tracking, unknown)
    assert open_store(tracking)
