"""GLUE from the official layout: names, ids, quirks, and errors that say where."""

from dataclasses import replace
from pathlib import Path

import pytest

from finesweep.config.run import DataConfig, DataSource, ProblemType
from finesweep.data import load_splits
from finesweep.errors import ConfigError, DataError

MNLI_HEADER = "index\tpromptID\tpairID\tgenre\tx\ty\tz\tw\tsentence1\tsentence2\tlabel1\tgold_label\n"


def mnli_row(index: int, label: str, text: str = "p") -> str:
    return f"{index}\t1\t1a\tfiction\tx\ty\tz\tw\t{text}{index}\th{index}\tneutral\t{label}\n"


def mnli_test(text: str) -> str:
    header = "index\tpromptID\tpairID\tgenre\tx\ty\tz\tw\tsentence1\tsentence2\n"
    return header + f"0\t1\t1a\tfiction\tx\ty\tz\tw\t{text}\th\n"


QQP_HEADER = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate\n"
STSB_HEADER = "index\tgenre\tfilename\tyear\told_index\tsource1\tsource2\tsentence1\tsentence2\tscore\n"
RTE_HEADER = "index\tsentence1\tsentence2\tlabel\n"
# The files as GLUE lays them out, with the quirks that the real ones have.
FILES = {
    "RTE/train.tsv": RTE_HEADER + '0\t"a\tb\tnot_entailment\n1\tc\u2028d\te\tentailment\r\n',
    "RTE/dev.tsv": RTE_HEADER + "0\tf\tg\tentailment\n",
    "RTE/test.tsv": "index\tsentence1\tsentence2\n0\th\ti\n1\tj\tk\n",
    "WNLI/train.tsv": RTE_HEADER + "0\ta\tb\t1\n1\ta\tb\t0\n",
    "WNLI/dev.tsv": RTE_HEADER + "0\ta\tb\t1\n",
    "QNLI/dev.tsv": "index\tquestion\tsentence\tlabel\n"
    + "".join(f"{i}\tq{i}\ts{i}\t{'entailment' if i % 2 else 'not_entailment'}\n" for i in range(11)),
    "MRPC/train.tsv": "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t7\t8\ta\tb\n0\t7\t8\tc\td\n",
    "MRPC/dev.tsv": "\ufeffQuality\t#1 ID\t#2 ID\t#1 String\t#2 String\n1\t7\t8\te\tf\n",
    "MRPC/test.tsv": "index\t#1 ID\t#2 ID\t#1 String\t#2 String\n0\t7\t8\tg\th\n",
    "SST-2/train.tsv": "sentence\tlabel\ngood \t1\nbad \t0\n",
    "SST-2/dev.tsv": "sentence\tlabel\nfine\t1\n",
    "SST-2/test.tsv": "index\tsentence\n0\tmeh\n",
    "CoLA/train.tsv": "gj04\t1\t\tA b.\ngj04\t0\t*\tB a.\n",
    "CoLA/dev.tsv": "gj04\t1\t\tC d.\n",
    "CoLA/test.tsv": "index\tsentence\n0\tE f.\n",
    "STS-B/train.tsv": STSB_HEADER
    + "0\tg\tf\t2012\t1\ts\ts\ta\tb\t5.000\n1\tg\tf\t2012\t1\ts\ts\tc\td\t1.250\n",
    "STS-B/dev.tsv": STSB_HEADER + "0\tg\tf\t2012\t1\ts\ts\te\tf\t0\n",
    "QQP/train.tsv": QQP_HEADER + "1\t1\t2\ta\tb\t1\n2\t3\t4\tbroken\nrest\tc\t0\n3\t5\t6\td\te\t0\n",
    "QQP/dev.tsv": QQP_HEADER + "1\t1\t2\tf\tg\t0\n",
    "QQP/test.tsv": "id\tquestion1\tquestion2\n0\th\ti\n",
    "MNLI/train.tsv": MNLI_HEADER + mnli_row(0, "contradiction") + mnli_row(1, "neutral"),
    "MNLI/dev_matched.tsv": MNLI_HEADER + mnli_row(0, "entailment", "m"),
    "MNLI/dev_mismatched.tsv": MNLI_HEADER + mnli_row(0, "neutral", "mm"),
    "MNLI/test_matched.tsv": mnli_test("tm"),
    "MNLI/test_mismatched.tsv": mnli_test("tmm"),
    "diagnostic/diagnostic.tsv": "index\tsentence1\tsentence2\n0\tda\tdb\n",
}
COLUMNS = {
    "rte": ["sentence1", "sentence2"],
    "wnli": ["sentence1", "sentence2"],
    "mrpc": ["sentence1", "sentence2"],
    "stsb": ["sentence1", "sentence2"],
    "sst2": ["sentence"],
    "cola": ["sentence"],
    "qqp": ["question1", "question2"],
    "qnli": ["question", "sentence"],
    "mnli": ["premise", "hypothesis"],
    "ax": ["premise", "hypothesis"],
}


@pytest.fixture
def glue(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_bytes(text.encode())
    return tmp_path


def config(task: str, path: Path, **settings: object) -> DataConfig:
    values: dict[str, object] = {"problem_type": ProblemType.regression} if task == "stsb" else {}
    if task in ("mnli", "ax"):
        values["eval_split"] = "validation_matched"
    values |= settings
    base = DataConfig(
        source=DataSource.glue,
        name=task,
        glue_task=task,
        path=str(path),
        text_columns=COLUMNS[task],
        metric="accuracy",
    )
    return replace(base, **values)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("task", "texts", "labels"),
    [
        ("rte", [('"a', "b"), ("c\u2028d", "e")], [1, 0]),
        ("wnli", [("a", "b"), ("a", "b")], [1, 0]),
        ("mrpc", [("a", "b"), ("c", "d")], [1, 0]),
        ("sst2", [("good ",), ("bad ",)], [1, 0]),
        ("cola", [("A b.",), ("B a.",)], [1, 0]),
        ("stsb", [("a", "b"), ("c", "d")], [5.0, 1.25]),
        ("qqp", [("a", "b"), ("d", "e")], [1, 0]),
        ("mnli", [("p0", "h0"), ("p1", "h1")], [2, 1]),
        ("ax", [("p0", "h0"), ("p1", "h1")], [2, 1]),
    ],
)
def test_official_files_become_the_hubs_columns_and_ids(
    glue: Path, task: str, texts: list[tuple[str, ...]], labels: list[float]
) -> None:
    train = load_splits(config(task, glue)).train
    assert train.column_names == [*COLUMNS[task], "label"]
    assert list(zip(*(train[name] for name in COLUMNS[task]), strict=True)) == texts
    assert list(train["label"]) == labels
    assert train.features["label"].dtype == ("float32" if task == "stsb" else "int64")


@pytest.mark.parametrize(
    ("task", "expression", "expected"),
    [
        ("rte", "test", {"test": ["h", "j"]}),
        ("rte", "test[1:]", {"test": ["j"]}),
        ("mrpc", "test", {"test": ["g"]}),
        ("cola", "test", {"test": ["E f."]}),
        ("sst2", "test", {"test": ["meh"]}),
        ("qqp", "test", {"test": ["h"]}),
        ("mnli", "test_matched+test_mismatched", {"test_matched": ["tm"], "test_mismatched": ["tmm"]}),
        ("ax", "ax", {"ax": ["da"]}),
        ("mnli", "test_matched + ax", {"test_matched": ["tm"], "ax": ["da"]}),
    ],
)
def test_parts_of_the_test_split_stay_apart_and_unlabelled(
    glue: Path, task: str, expression: str, expected: dict[str, list[str]]
) -> None:
    test = load_splits(config(task, glue, test_split=expression)).test
    assert {name: list(rows[COLUMNS[task][0]]) for name, rows in test.items()} == expected
    assert list(test) == list(expected)
    assert all(rows.column_names == COLUMNS[task] for rows in test.values())


def test_mismatched_rows_of_mnli_are_the_final_evaluation(glue: Path) -> None:
    splits = load_splits(config("mnli", glue, final_eval_split="validation_mismatched"))
    assert splits.final_eval is not None
    assert (list(splits.eval["premise"]), list(splits.final_eval["premise"])) == (["m0"], ["mm0"])


@pytest.mark.parametrize(("folder", "path"), [("RTE", "RTE"), ("rte", "."), ("Rte", ".")])
def test_folder_may_be_the_tasks_own_and_of_any_case(glue: Path, folder: str, path: str) -> None:
    (glue / "RTE").rename(glue / "moved")
    (glue / "moved").rename(glue / folder)
    assert len(load_splits(config("rte", glue / path)).train) == 2


@pytest.mark.parametrize("name", ["AX/diagnostic.tsv", "ax/AX.tsv", "Diagnostic/diagnostic.tsv"])
def test_diagnostic_file_is_found_under_its_other_names(glue: Path, name: str) -> None:
    file = glue / name
    (glue / "diagnostic").rename(glue / "old")
    file.parent.mkdir()
    (glue / "old" / "diagnostic.tsv").rename(file)
    assert list(load_splits(config("ax", glue, test_split="ax")).test["ax"]["premise"]) == ["da"]


def test_only_the_files_of_named_splits_are_read(glue: Path) -> None:
    assert not (glue / "QNLI" / "train.tsv").exists()
    (glue / "QNLI" / "test.tsv").write_text("broken")
    settings = {"train_split": "validation[:80%]", "eval_split": "validation[80%:]"}
    splits = load_splits(config("qnli", glue, **settings, test_split="test"), test=False)
    assert list(splits.train["question"]) + list(splits.eval["question"]) == [f"q{i}" for i in range(11)]
    assert len(splits.eval) == 2  # round(8.8) = 9 rows train, as the library rounds


def test_one_sentence_of_a_pair_is_enough(glue: Path) -> None:
    settings = {"train_split": "validation[:5]", "eval_split": "validation[5:]", "text_columns": ["sentence"]}
    splits = load_splits(config("qnli", glue, **settings))
    assert splits.train.column_names == ["sentence", "label"]
    assert splits.train[0] == {"sentence": "s0", "label": 1}


@pytest.mark.parametrize(
    ("task", "file", "content", "message"),
    [
        (
            "rte",
            "RTE/train.tsv",
            None,
            r"the split 'train' of GLUE rte is not there; looked for .*RTE/train.tsv",
        ),
        ("rte", "RTE/dev.tsv", b"", r"dev.tsv: the file is empty"),
        ("rte", "RTE/dev.tsv", RTE_HEADER.encode(), r"dev.tsv: no rows, only a header"),
        (
            "rte",
            "RTE/dev.tsv",
            b"0\ta\tb\tentailment\n",
            r"dev.tsv, line 1: expected a header with .*'label'",
        ),
        (
            "rte",
            "RTE/dev.tsv",
            (RTE_HEADER + "0\ta\tentailment\n").encode(),
            r"line 2: 3 tab-sep.* expected 4",
        ),
        (
            "rte",
            "RTE/dev.tsv",
            (RTE_HEADER + "0\ta\tb\tentailment\n\n1\ta\tb\tentailment\n").encode(),
            r"line 3: 1 tab",
        ),
        (
            "rte",
            "RTE/dev.tsv",
            (RTE_HEADER + "0\ta\tb\tentailment\n1\ta\tb\tyes\n").encode(),
            r"line 3: unknown label 'yes' in 'label'; legal: entailment, not_entailment",
        ),
        ("rte", "RTE/dev.tsv", RTE_HEADER.encode() + b"0\ta\xff\tb\tentailment\n", r"line 2: not UTF-8"),
        ("rte", "RTE/dev.tsv", (RTE_HEADER + "0\ta\tb\tentailment\n").encode("utf-16"), r"line 1: not UTF-8"),
        (
            "mnli",
            "MNLI/dev_matched.tsv",
            (MNLI_HEADER + mnli_row(0, "-")).encode(),
            r"line 2: unknown label '-'",
        ),
        (
            "stsb",
            "STS-B/dev.tsv",
            (STSB_HEADER + "0\tg\tf\t1\t1\ts\ts\te\tf\thigh\n").encode(),
            r"line 2: score is 'high'; legal: a number from 0 to 5",
        ),
        (
            "stsb",
            "STS-B/dev.tsv",
            (STSB_HEADER + "0\tg\tf\t1\t1\ts\ts\te\tf\tnan\n").encode(),
            r"line 2: score is 'nan'",
        ),
        ("qqp", "QQP/dev.tsv", (QQP_HEADER + "1\t1\t2\ta\tb\t1\textra\n").encode(), r"line 2: 7 tab"),
        (
            "cola",
            "CoLA/dev.tsv",
            b"source\tlabel\tstar\tsentence\n",
            r"line 1: unknown label 'label' in 'label'",
        ),
    ],
)
def test_broken_file_is_named_with_line_and_expectation(
    glue: Path, task: str, file: str, content: bytes | None, message: str
) -> None:
    if content is None:
        (glue / file).unlink()
    else:
        (glue / file).write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_splits(config(task, glue))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"text_columns": ["question"]},
            r"data.text_columns: got \['question'\]; legal: .*sentence1, sentence2",
        ),
        ({"text_columns": []}, r"data.text_columns: got \[\]"),
        ({"text_columns": ["sentence1", "sentence1"]}, r"two different ones"),
        ({"text_columns": ["a", "b", "c"]}, r"two different ones"),
        ({"eval_split": None}, r"data.eval_split: got None; legal: .*holdout"),
        ({"eval_split": "dev"}, r"data.eval_split: got 'dev'.*legal: train, validation, test"),
        ({"eval_split": "validation[:x]"}, r"data.eval_split: .*\[:80%\]"),
        ({"train_split": "train[5:2]"}, r"data.train_split: .*no rows \(train has 2\)"),
        ({"test_split": "test[:1]+test[1:]"}, r"data.test_split: .*at most once"),
        ({"labels": ["not_entailment", "entailment"]}, r"data.labels: .*\['entailment', 'not_entailment'\]"),
        (
            {"problem_type": ProblemType.regression},
            r"data.problem_type: got 'regression'; legal: classification",
        ),
        ({"holdout": 1.0}, r"data.holdout: got 1.0; legal: a number between 0 and 1"),
        ({"glue_task": "snli"}, r"data.glue_task: got 'snli'; legal: cola, sst2"),
    ],
)
def test_config_that_cannot_be_met_is_refused_with_key_value_and_legal(
    glue: Path, settings: dict[str, object], message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        load_splits(config("rte", glue, **settings))


@pytest.mark.parametrize("key", ["train_split", "eval_split"])
def test_split_without_labels_cannot_be_learnt_from_or_scored(glue: Path, key: str) -> None:
    with pytest.raises(DataError, match="the split 'test' of GLUE rte has no labels"):
        load_splits(config("rte", glue, **{key: "test"}))
