"""`make bench` prints one table and writes one JSON file."""

import json
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest
from processes import ROOT


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    before = set(sys.modules)
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import bench

    yield bench
    for name in set(sys.modules) - before:  # names such as `rows` are nobody else's business
        if Path(getattr(sys.modules[name], "__file__", None) or "").parent == ROOT / "benchmarks":
            del sys.modules[name]


def sections(bench: ModuleType, others: float = 0.0) -> list[object]:
    """Returns two sections; the second one is not for --quick. Rounds differ: the figures count up."""
    import measure

    figures = iter(range(2, 100))

    def named() -> dict[str, measure.Sample]:
        one = measure.Sample(next(figures), 1.0, 0.5, others)
        return {"whole": one, "half": replace(one, value=one.value / 2)}

    work = {"plain": lambda: measure.sample(lambda: 1.0), "several": named}
    return [
        measure.Section("short", "things/s", lambda folder, quick: work, "plain"),
        measure.Section("long", "seconds", lambda folder, quick: work, "plain", in_quick=False),
    ]


def test_bench_prints_a_table_and_writes_all_samples(
    bench: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.main(sections(bench), ["short", "--rounds", "3", "--json", "all.json"])
    lines = capsys.readouterr().out.splitlines()
    assert "3 rounds" in lines[0]
    at = lines.index("short: things/s")
    assert lines[at + 1].split()[:2] == ["plain", "1.00"]
    assert lines[at + 2].split()[:8] == ["whole", "3.00", "(2.00", "to", "4.00)", "3.00", "(2.00", "to"]
    assert lines[at + 3].split()[:2] == ["half", "1.50"]
    written = json.loads(Path("all.json").read_text())
    assert written["rounds"] == 3 and not written["quick"]
    (section,) = written["sections"].values()
    assert section["baseline"] == "plain" and section["figure"] == "things/s"
    assert section["ratios"] == {"plain": [1, 1, 1], "whole": [2, 3, 4], "half": [1, 1.5, 2]}
    assert [one["value"] for one in section["samples"]["whole"]] == [2, 3, 4]
    assert set(section["samples"]["whole"][0]) == {"value", "wall_s", "cpu_s", "others"}


def test_bench_names_what_was_measured_while_the_machine_was_busy(
    bench: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.main(sections(bench, others=0.2), ["short", "--rounds", "1"])
    said = capsys.readouterr().out
    assert "Measure again: " in said and "short: whole; short: half" in said


def test_quick_bench_says_so_and_leaves_long_sections_out(
    bench: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    bench.main(sections(bench), ["--quick"])
    said = capsys.readouterr().out
    assert "2 rounds, quick" in said
    assert "short: things/s" in said and "long: seconds" not in said


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        (["shrot"], "got shrot; legal: short, long"),
        (["--rounds", "0"], "--rounds: got 0"),
        (["--json", "none/all.json"], "--json: none: there is no such folder"),
    ],
    ids=["section", "rounds", "json"],
)
def test_bench_refuses_bad_arguments_before_it_measures(
    bench: ModuleType, arguments: list[str], answer: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        bench.main(sections(bench), arguments)
    assert ended.value.code == 2
    assert answer in capsys.readouterr().err


def test_all_sections_have_names_of_their_own(bench: ModuleType) -> None:
    names = [section.name for section in bench.all_sections()]
    assert len(names) == len(set(names))
    assert {"training", "evaluation", "prediction", "search", "trial", "startup", "memory"} < set(names)


def test_a_study_is_measured_beside_optuna_alone(
    bench: ModuleType, capsys: pytest.CaptureFixture[str]
) -> None:
    import bench_study

    bench.main(bench_study.SECTIONS, ["study-100", "--quick", "--rounds", "1"])
    said = capsys.readouterr().out
    assert all(row in said for row in ("Optuna alone, first read", "  first read", "  ask and tell"))
