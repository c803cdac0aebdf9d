"""The page of a study: all of its content, whatever the study is like, and no code that a name holds."""

import logging
import re
import time
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import pytest
from optuna.trial import TrialState
from searching import RATE, add, confirm, study_of

from finesweep.monitor import description, summary
from finesweep.monitor.report import best
from finesweep.report.facts import Curves, gather
from finesweep.report.page import page
from finesweep.study.certainty import Certainty, Comparison
from finesweep.study.records import Conclusion, StudyRecord, TrialRecord
from finesweep.study.storage import open_storage

EVIL = "</text><script>alert(1)</script>"
CURVES: Curves = {0: [(50.0, 0.5), (100.0, 0.7)], 3: [(50.0, 0.6)]}


class Reader(HTMLParser):
    """Collects tags, ids, what would be loaded, and checks that all that is opened is closed."""

    VOID = {"meta", "link", "br"}

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags, self.ids, self.links, self.open = list[str](), list[str](), list[str](), list[str]()
        self.feed(markup)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        named = dict(attrs)
        self.ids += [str(named["id"])] if "id" in named else []
        self.links += [str(named[key]) for key in ("href", "src", "xlink:href") if key in named]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def headings(markup: str) -> list[str]:
    return re.findall("<h[34]>(.*?)</h[34]>", markup)


def finished() -> str:
    study = study_of(24)
    add(study, TrialState.FAIL, error="ArithmeticError: loss is nan")
    add(study, TrialState.FAIL)
    confirm(study, {study.best_trial.number: [0.85, 0.87, 0.86]})
    return page([gather(study, CURVES)])


@pytest.fixture(scope="module")
def markup() -> str:
    return finished()


def test_a_finished_study_has_everything(markup: str) -> None:
    assert headings(markup) == [
        "Search", "History", "Best of n trials", "Importance of the parameters", "Confirmation",
        "Confirmed with new seeds", "Parameters", "learning_rate × per_device_train_batch_size",
        "learning_rate × num_train_epochs", "num_train_epochs", *headings(markup)[10:14],
        "Training", "Learning curves", "Failed and pruned", "Cost", "Timeline of the workers", "All trials",
        "Commands",
    ]  # fmt: skip
    for words in (
        "<b>0.8600 ± 0.0100</b>", "24 of 24 trials finished", "trial 24: ArithmeticError: loss is nan",
        "pruned: the pruner &#x27;median&#x27; judged", "50% (6)", "1 handed on: interrupted",
        "device hours", "2,400 training steps", "finesweep reproduce --best a",
    ):  # fmt: skip
        assert words in markup, words
    assert markup.count("<tr id=t") == 24 + 2 + 3


def test_the_same_study_gives_the_same_bytes(markup: str) -> None:
    assert finished() == markup


def test_the_page_loads_nothing_and_its_ids_are_its_own() -> None:
    studies = [study_of(2, name) for name in "ab"]
    markup = page([gather(one, CURVES, prefix=f"s{place}-") for place, one in enumerate(studies)])
    read = Reader(markup)
    assert not {"script", "img", "iframe", "object", "embed"} & set(read.tags)
    assert {link for link in read.links if not link.startswith("#")} == {"data:,"}
    assert len(read.ids) == len(set(read.ids))
    assert "<h2 id=s1-study>b</h2>" in markup
    assert {link.removeprefix("#") for link in read.links if link.startswith("#")} <= set(read.ids)
    assert not re.search(r"url\((?!#)|@import", markup)


def test_names_and_values_from_outside_stay_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_API_TOKEN", "swordfish-42")
    study = study_of(8, choice=EVIL)
    study.set_user_attr("metric", EVIL)
    study.set_user_attr("objectives", {EVIL: "maximize"})
    study.set_user_attr("identity", {"data.name": EVIL, "model.name": "$x^2_$ \u202e 中 swordfish-42"})
    add(study, TrialState.FAIL, error=f"{EVIL} at https://user:hunter2@host swordfish-42")
    markup = page([gather(study, CURVES, f"no curves: {EVIL}")])
    assert "script" not in Reader(markup).tags
    assert "&lt;script&gt;" in markup
    assert "hunter2" not in markup and "swordfish-42" not in markup and "\u202e" not in markup


@pytest.mark.parametrize("state", ["empty", "one trial", "only failed", "running", "all equal"])
def test_a_study_of_any_state_has_a_page(state: str) -> None:
    study = study_of({"one trial": 1, "running": 5}.get(state, 0))
    if state == "only failed":
        add(study, TrialState.FAIL, error="ValueError: no")
    if state == "running":
        add(study, TrialState.RUNNING, owner="host|b|n|7|1", started=150.0, heartbeat=155.0)
        add(study, TrialState.WAITING)
    if state == "all equal":
        for _ in range(12):
            add(study, TrialState.COMPLETE, 0.5)
    markup = page([gather(study)])
    Reader(markup)
    expected = {
        "empty": "none yet", "one trial": "1 of 1 trials finished", "only failed": "trial 0: ValueError: no",
        "running": "unfinished", "all equal": "<b>0.5000</b>",
    }  # fmt: skip
    assert expected[state] in markup


def test_several_objectives_have_a_front_and_each_its_history() -> None:
    markup = page([gather(study_of(4, objectives=("accuracy", "train_runtime")))])
    charts = {"History of accuracy", "History of train_runtime", "train_runtime over accuracy"}
    assert charts <= set(headings(markup))


def test_a_thousand_trials_are_a_page_in_a_moment() -> None:
    study = study_of(1000)
    start = time.process_time()
    markup = page([gather(study)])
    assert time.process_time() - start < 30  # 5 s on an idle core
    assert markup.count("<tr id=t") == 1000
    assert len(markup) < 5_000_000


def test_a_conclusion_that_the_study_does_not_hold_yet_counts() -> None:
    study = study_of(3)
    winner = max(study.trials, key=lambda trial: trial.value)
    concluded = Conclusion([3, 0], winner.number, True, ["a.tsv"], {"final_accuracy": 0.9}, {RATE: 1.0})
    assert "finesweep submit" not in page([gather(study, conclusion=concluded)])  # it takes GLUE's tasks only
    study.set_user_attr("glue_task", "rte")
    markup = page([gather(study, conclusion=concluded)])
    assert "final_accuracy 0.9000" in markup and "<b>finished</b>" in markup
    assert "last step was not taken" not in markup and "finesweep submit a" in markup


def test_comparisons_of_a_study_that_went_on_are_not_shown() -> None:
    study = study_of(3)
    winner = max(study.trials, key=lambda trial: trial.value)
    known = Certainty(winner.number, comparisons=[Comparison(0, "runner-up", 0.05, 0.01)], chosen_of=3)
    StudyRecord(study).conclusion = Conclusion([3, 0], winner.number, certainty=known)
    assert "0.0500 better than trial 0, the runner-up" in page([gather(study)])
    add(study, TrialState.COMPLETE, winner.value - 0.01)
    markup = page([gather(study)])
    assert "better than trial 0" not in markup and "trials were added since the finish step" in markup


def test_commands_name_the_stores_that_are_not_the_usual_ones(tmp_path: Path) -> None:
    study = study_of(3, storage=open_storage(f"sqlite:///{tmp_path / 'a b.db'}"))
    TrialRecord(study.ask()).overrides = ["tracking.uri='http://127.0.0.1:5000'"]
    storage, runs = "--storage 'sqlite:///a b.db'", "--tracking-uri http://127.0.0.1:5000"
    markup = unescape(page([gather(study)]))
    assert f"finesweep predict {storage} {runs} a FILE --out predictions.csv" in markup
    assert f"finesweep reproduce {storage} {runs} --best a" in markup and f"finesweep ui {runs} a" in markup
    described = description.of_study(study, works=False)
    for command in (f"best {storage} a", f"predict {storage} {runs} a FILE"):
        assert f"finesweep {command}" in described
    shown = "\n".join(summary.lines(best(study)))
    assert f"{runs}\n" in shown and f" {storage} {runs} FILE --out predictions.csv" in shown


def test_a_broken_picture_does_not_cost_the_page(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("finesweep.report.charts._history", lambda *_: 1 / 0)
    with caplog.at_level(logging.WARNING):
        markup = page([gather(study_of(12))])
    assert "This chart could not be drawn: ZeroDivisionError" in markup
    assert "chart History left out" in caplog.text
    assert "Best of n trials" in headings(markup)
