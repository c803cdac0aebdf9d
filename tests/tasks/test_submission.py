import itertools
import stat
import zipfile
from pathlib import Path

import numpy as np
import pytest

from finesweep.errors import OutputError, SubmissionError
from finesweep.tasks.glue_submission import (
    GLUE_FILES,
    ValidSubmission,
    check_rows,
    file_for,
    fill_missing,
    validate_submission,
    write_submission,
    zip_submission,
)

BINARY = {"0", "1"}
PAIR = {"entailment", "not_entailment"}
NLI = {"entailment", "neutral", "contradiction"}
OFFICIAL = {  # file: task, split, rows, legal predictions; as gluebenchmark.com states them
    "CoLA": ("cola", "test", 1063, BINARY),
    "SST-2": ("sst2", "test", 1821, BINARY),
    "MRPC": ("mrpc", "test", 1725, BINARY),
    "STS-B": ("stsb", "test", 1379, None),
    "QQP": ("qqp", "test", 390965, BINARY),
    "MNLI-m": ("mnli", "test_matched", 9796, NLI),
    "MNLI-mm": ("mnli", "test_mismatched", 9847, NLI),
    "QNLI": ("qnli", "test", 5463, PAIR),
    "RTE": ("rte", "test", 3000, PAIR),
    "WNLI": ("wnli", "test", 146, BINARY),
    "AX": ("mnli", "ax", 1104, NLI),
}
WNLI = ["index\tprediction", *(f"{row}\t{row % 2}" for row in range(146))]


def wnli(tmp_path: Path, lines: list[str], end: str = "\n", name: str = "WNLI.tsv") -> Path:
    path = tmp_path / name
    path.write_bytes(("\n".join(lines) + end).encode())
    return path


def column(path: Path) -> list[str]:
    return [line.split("\t")[1] for line in path.read_text().splitlines()[1:]]


def test_the_table_is_the_official_one() -> None:
    table = {
        file.name: (file.task, file.split, file.rows, set(file.labels) if file.labels else None)
        for file in GLUE_FILES
    }
    assert table == OFFICIAL


@pytest.mark.parametrize("name", OFFICIAL)
def test_every_official_file_is_written_as_the_server_reads_it(name: str, tmp_path: Path) -> None:
    task, split, rows, legal = OFFICIAL[name]
    predictions = [row % len(legal) if legal else 5 * row / rows for row in range(rows)]
    path = write_submission(task, split, predictions, None, tmp_path / "new folder")
    lines = path.read_bytes().decode().split("\n")
    assert path == tmp_path / "new folder" / f"{name}.tsv"
    assert (lines[0], lines[-1], len(lines)) == ("index\tprediction", "", rows + 2)
    assert [line.split("\t")[0] for line in lines[1:-1]] == [str(row) for row in range(rows)]
    if legal:
        assert set(column(path)) == legal
    assert validate_submission(path) == ValidSubmission(name, task, rows)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "by_id"),
    [
        ("QNLI", ["entailment", "not_entailment"]),
        ("RTE", ["entailment", "not_entailment"]),
        ("WNLI", ["0", "1"]),
        ("MNLI-m", ["entailment", "neutral", "contradiction"]),
        ("AX", ["entailment", "neutral", "contradiction"]),
    ],
)
def test_label_ids_without_names_are_the_hubs(name: str, by_id: list[str], tmp_path: Path) -> None:
    task, split, rows, _ = OFFICIAL[name]
    ids = [row % len(by_id) for row in range(rows)]
    assert column(write_submission(task, split, ids, None, tmp_path))[: len(by_id)] == by_id


@pytest.mark.parametrize(
    ("name", "labels", "expected"),
    [
        ("QNLI", ["not_entailment", "entailment"], ["not_entailment", "entailment"]),
        ("MNLI-m", ["contradiction", "entailment", "neutral"], ["contradiction", "entailment", "neutral"]),
        ("MRPC", ["equivalent", "not_equivalent"], ["1", "0"]),
        ("WNLI", ["entailment", "not_entailment"], ["1", "0"]),
        ("CoLA", ["0", "1"], ["0", "1"]),
    ],
)
def test_labels_in_another_order_are_matched_by_name(
    name: str, labels: list[str], expected: list[str], tmp_path: Path
) -> None:
    task, split, rows, _ = OFFICIAL[name]
    ids = np.arange(rows) % len(labels)
    assert column(write_submission(task, split, ids, labels, tmp_path))[: len(labels)] == expected


def test_sts_b_is_clamped_and_has_three_decimals(tmp_path: Path) -> None:
    scores = [-0.2, -0.0, 0.0004, 1.23456, 5.0, 7, np.float32(4.9999)] + [2.5] * 1372
    written = column(write_submission("stsb", "test", scores, None, tmp_path))
    assert written[:8] == ["0.000", "0.000", "0.000", "1.235", "5.000", "5.000", "5.000", "2.500"]


@pytest.mark.parametrize(
    ("task", "split", "predictions", "labels", "message"),
    [
        (
            "wnli",
            "test[:100]",
            [0] * 100,
            None,
            r"'test\[:100\]' with 100 rows; .* whole split: test, 146 rows",
        ),
        ("qnli", "test", [0] * 5740, None, "5740 rows; .* 5463 rows"),
        ("wnli", "test", [0] * 145 + [2], None, "row 145: predicted 2; expected 0 to 1"),
        ("wnli", "test", [-1] * 146, None, "row 0: predicted -1"),
        ("wnli", "test", [0.5] * 146, None, "row 0: predicted 0.5"),
        (
            "wnli",
            "test",
            [0] * 146,
            ["yes", "no"],
            "data.labels: got yes, no; legal for WNLI: 0, 1 or not_en",
        ),
        ("stsb", "test", [1.0, float("nan")] + [1.0] * 1377, None, "row 1: predicted nan; expected a number"),
        ("wnli", "validation", [0] * 71, None, "data.test_split: got 'validation'; GLUE's wnli has: test$"),
        ("mnli", "test", [0], None, "has: test_matched, test_mismatched, ax$"),
        ("boolq", "test", [0], None, "data.glue_task: got 'boolq'; GLUE takes files for: cola, sst2, "),
    ],
)
def test_predictions_that_are_no_submission_are_refused_and_leave_no_file(
    task: str, split: str, predictions: list, labels: list[str] | None, message: str, tmp_path: Path
) -> None:
    with pytest.raises(SubmissionError, match=message):
        write_submission(task, split, predictions, labels, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_sliced_test_split_can_be_refused_before_training() -> None:
    check_rows("qnli", "test", 5463)
    with pytest.raises(SubmissionError, match="whole split"):
        check_rows("qnli", "test[:100]", 100)


@pytest.mark.parametrize(("task", "split"), [("mnli", "ax"), ("ax", "ax"), ("ax", "test")])
def test_ax_is_found_as_a_split_of_mnli_and_as_a_task(task: str, split: str) -> None:
    assert file_for(task, split).name == "AX"


def test_rewriting_replaces_the_whole_file_or_keeps_the_old_one(tmp_path: Path) -> None:
    path = write_submission("wnli", "test", [0] * 146, None, tmp_path)
    with pytest.raises(SubmissionError):
        write_submission("wnli", "test", [1] * 145 + [9], None, tmp_path)
    assert set(column(path)) == {"0"}
    write_submission("wnli", "test", [1] * 146, None, tmp_path)
    assert set(column(path)) == {"1"}


def test_a_folder_that_cannot_be_written_is_an_output_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    path = write_submission("wnli", "test", [0] * 146, None, tmp_path)
    for attempt in (
        lambda: write_submission("wnli", "test", [0] * 146, None, tmp_path / "file"),
        lambda: zip_submission([path], tmp_path / "file" / "glue.zip"),
    ):
        with pytest.raises(OutputError, match="cannot be written"):
            attempt()


def replaced(line: int, text: str) -> list[str]:
    return [*WNLI[: line - 1], text, *WNLI[line:]]


@pytest.mark.parametrize(
    ("lines", "end", "message"),
    [
        (replaced(1, "id\tlabel"), "\n", r"line 1: got 'id\\tlabel'; expected 'index\\tprediction'"),
        (replaced(1, "\ufeffindex\tprediction"), "\n", "line 1: got '.ufeffindex"),
        (WNLI[1:], "\n", "line 1: got"),
        ([], "", "line 1: got ''"),
        (WNLI[:-1], "\n", "has 145 rows; expected the 146 of"),
        ([*WNLI, "146\t0"], "\n", "has 147 rows; expected the 146 of"),
        (replaced(9, "8\t0"), "\n", r"line 9: got '8\\t0'; expected index 7"),
        ([*WNLI[:1], *(f"{row + 1}\t0" for row in range(146))], "\n", "line 2: .* expected index 0"),
        (replaced(3, "01\t0"), "\n", "line 3: .* expected index 1"),
        (replaced(3, "1\tentailment"), "\n", "line 3: got 'entailment'; expected 0, 1"),
        (replaced(3, "1\t1.0"), "\n", "line 3: got '1.0'; expected 0, 1"),
        (replaced(3, '1\t"0"'), "\n", "line 3: got '\"0\"'"),
        (replaced(3, "1 0"), "\n", "line 3: got '1 0'; expected index 1"),
        (replaced(3, "1\t0\t0"), "\n", r"line 3: got '0\\t0'"),
        (replaced(3, ""), "\n", "line 3: got ''; expected index 1"),
        (WNLI, "", "the last line has no line end"),
        (WNLI, "\n\n", "line 148: got ''; expected index 146"),
        ([f"{line}\r" for line in WNLI], "\n", "Windows line ends"),
    ],
)
def test_a_damaged_file_is_refused_with_the_line(
    lines: list[str], end: str, message: str, tmp_path: Path
) -> None:
    path = wnli(tmp_path, lines, end)
    with pytest.raises(SubmissionError, match=message) as refused:
        validate_submission(path)
    assert str(path) in str(refused.value)


@pytest.mark.parametrize("score", ["5.001", "-0.000", "2.5", "2.5000", "6.000", "nan", "", "1e0", "٣.000"])
def test_a_score_that_is_not_0_to_5_with_three_decimals_is_refused(score: str, tmp_path: Path) -> None:
    path = tmp_path / "STS-B.tsv"
    path.write_text("index\tprediction\n" + "".join(f"{row}\t{score}\n" for row in range(1379)))
    with pytest.raises(SubmissionError, match="line 2: .* expected 0.000 to 5.000, three decimals"):
        validate_submission(path)


@pytest.mark.parametrize("name", ["wnli.tsv", "WNLI.csv", "MNLI.tsv", "test.tsv"])
def test_a_file_of_another_name_is_refused_with_the_names(name: str, tmp_path: Path) -> None:
    with pytest.raises(SubmissionError, match="known: CoLA.tsv, SST-2.tsv, .*, AX.tsv$"):
        validate_submission(wnli(tmp_path, WNLI, name=name))


def test_a_missing_and_a_binary_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SubmissionError, match="cannot be read: No such file"):
        validate_submission(tmp_path / "WNLI.tsv")
    (tmp_path / "WNLI.tsv").write_bytes(b"\xff\xfe")
    with pytest.raises(SubmissionError, match="not UTF-8"):
        validate_submission(tmp_path / "WNLI.tsv")


def test_filling_up_makes_eleven_valid_files_and_keeps_the_predicted_ones(tmp_path: Path) -> None:
    predicted = write_submission("wnli", "test", [1] * 146, None, tmp_path)
    filled = fill_missing(tmp_path, {"WNLI"})
    assert {path.stem for path in filled} == set(OFFICIAL) - {"WNLI"}
    assert {validate_submission(path).name for path in tmp_path.iterdir()} == set(OFFICIAL)
    assert set(column(predicted)) == {"1"}
    majority = {path.stem: set(column(path)) for path in filled}
    assert majority["QQP"] == {"0"}
    assert majority["MRPC"] == majority["CoLA"] == majority["SST-2"] == {"1"}
    assert majority["RTE"] == {"entailment"}
    assert majority["STS-B"] == {"2.700"}
    assert fill_missing(tmp_path, {"WNLI"}) == filled


def test_filling_up_never_overwrites_predictions(tmp_path: Path) -> None:
    path = write_submission("wnli", "test", [1] * 146, None, tmp_path)
    with pytest.raises(SubmissionError, match="WNLI.tsv: holds other predictions"):
        fill_missing(tmp_path, set())
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(SubmissionError, match="not GLUE files: mnli; known: CoLA, "):
        fill_missing(tmp_path, {"mnli"})


def test_the_zip_is_flat_and_the_same_bytes_every_time(tmp_path: Path) -> None:
    paths = [
        write_submission("wnli", "test", [0] * 146, None, tmp_path / "a"),
        write_submission("ax", "test", [0] * 1104, None, tmp_path / "b"),
    ]
    archives = set()
    for number, order in enumerate(itertools.permutations(paths)):
        archives.add(zip_submission(order, tmp_path / f"{number}.zip").read_bytes())
        for path in paths:
            path.touch()
    assert len(archives) == 1
    with zipfile.ZipFile(tmp_path / "0.zip") as archive:
        assert archive.namelist() == ["AX.tsv", "WNLI.tsv"]
        assert archive.read("WNLI.tsv") == paths[0].read_bytes()
        assert {stat.S_IMODE(entry.external_attr >> 16) for entry in archive.infolist()} == {0o644}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["0.zip", "1.zip", "a", "b"]


def test_two_files_of_one_name_do_not_make_a_zip(tmp_path: Path) -> None:
    paths = [write_submission("wnli", "test", [0] * 146, None, tmp_path / folder) for folder in "ab"]
    with pytest.raises(SubmissionError, match="two files of one name"):
        zip_submission(paths, tmp_path / "glue.zip")
    assert not (tmp_path / "glue.zip").exists()
