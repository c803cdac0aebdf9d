"""Words with tags: CoNLL's columns are read, and each word's first piece carries its tag."""

from pathlib import Path

import pytest
from datasets import Dataset, Features, List, Value
from test_encode import CLS, SEP, tokenizer

from finesweep.config.run import DataConfig, DataSource, ProblemType
from finesweep.data import encode, load_splits
from finesweep.data.readers import read_table
from finesweep.data.table_file import Request, TableFile
from finesweep.errors import DataError
from finesweep.tasks.tokens import IGNORED

CONLL = """-DOCSTART- -X- O

EU NNP B-ORG
rejects VBZ O

Peter NNP B-PER
Blackburn NNP I-PER

"""


def rows(words: list[list[str]], tags: list[list[int]] | None = None) -> Dataset:
    columns: dict[str, list[list[str]] | list[list[int]]] = {"tokens": words}
    features: dict[str, object] = {"tokens": List(Value("string"))}
    if tags is not None:
        columns["label"], features["label"] = tags, List(Value("int64"))
    return Dataset.from_dict(columns, features=Features(features))


def test_the_first_piece_of_a_word_carries_its_tag(tmp_path: Path) -> None:
    data = rows([["ab", "c", "abb"], ["d"]], [[7, 8, 9], [6]])
    encoded = encode(data, tokenizer(), ["tokens"], 16, tmp_path, pretokenized=True)
    assert encoded[0]["input_ids"] == [CLS, 5, 10, 7, 5, 10, 10, SEP]
    assert encoded[0]["labels"] == [IGNORED, 7, IGNORED, 8, 9, IGNORED, IGNORED, IGNORED]
    assert encoded[0]["words"] == [-1, 0, -1, 1, 2, -1, -1, -1]
    assert list(encoded["word_count"]) == [3, 1]
    assert list(encoded["length"]) == [8, 3]


def test_words_that_are_cut_off_have_no_tag_but_are_counted(tmp_path: Path) -> None:
    encoded = encode(rows([["a", "ab", "c"]]), tokenizer(), ["tokens"], 4, tmp_path, pretokenized=True)
    assert encoded[0]["words"] == [-1, 0, 1, -1]
    assert encoded[0]["word_count"] == 3
    assert "labels" not in encoded.column_names


def test_words_and_texts_do_not_share_a_cache_entry(tmp_path: Path) -> None:
    texts = Dataset.from_dict({"tokens": ["a b"]})
    encode(texts, tokenizer(), ["tokens"], 8, tmp_path)
    encode(rows([["a", "b"]]), tokenizer(), ["tokens"], 8, tmp_path, pretokenized=True)
    assert len(list((tmp_path / "encoded").iterdir())) == 2


def read(path: Path) -> TableFile:
    return read_table(path, Request(["tokens", "column_2", "tags"], DataConfig()))


def test_conll_columns_are_sentences_of_tokens_and_tags(tmp_path: Path) -> None:
    (tmp_path / "train.conll").write_text(CONLL)
    table = read(tmp_path / "train.conll")
    assert table.columns == {
        "tokens": [["EU", "rejects"], ["Peter", "Blackburn"]],
        "column_2": [["NNP", "VBZ"], ["NNP", "NNP"]],
        "tags": [["B-ORG", "O"], ["B-PER", "I-PER"]],
    }
    assert table.place(1) == f"{tmp_path}/train.conll, row 2, line 6"


def test_only_spaces_and_tabs_separate_conll_columns(tmp_path: Path) -> None:
    (tmp_path / "train.conll").write_text("10\u00a0000 O\nNew\u2003York\tB-LOC\n\n\u3000  O \n")
    table = read(tmp_path / "train.conll")
    assert table.columns == {
        "tokens": [["10\u00a0000", "New\u2003York"], ["\u3000"]],
        "tags": [["O", "B-LOC"], ["O"]],
    }


def test_a_conll_folder_is_read_like_any_table(tmp_path: Path) -> None:
    (tmp_path / "train.conll").write_text(CONLL)
    (tmp_path / "dev.conll").write_text("EU B-ORG\n")
    (tmp_path / "test.conll").write_text("Peter\nsleeps\n")
    config = DataConfig(
        "ner", DataSource.table, path=str(tmp_path), text_columns=["tokens"], label_column="tags",
        problem_type=ProblemType.token_classification, metric="span_f1", test_split="test",
    )  # fmt: skip
    splits = load_splits(config)
    assert splits.labels == ["B-ORG", "B-PER", "I-PER", "O"]
    assert list(splits.train["label"]) == [[0, 3], [1, 2]]
    assert list(splits.test["test"]["tokens"]) == [["Peter", "sleeps"]]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("t.conll", "a B-X\nb\n", "t.conll, line 2: 1 columns, expected 2: 'b'"),
        ("t.conll", "a O\n\nb x O\n", "t.conll, line 3: 3 columns, expected 2"),
        ("t.conll", "-DOCSTART- O\n\n", "t.conll: no rows"),
        (
            "t.jsonl",
            '{"tokens": ["a"], "tags": ["O", "O"]}',
            "row 1, line 1: 1 words and 2 tags; expected a tag",
        ),
        ("t.jsonl", '{"tokens": "a b", "tags": ["O"]}', "column 'tokens' is 'a b', expected a list of words"),
        ("t.jsonl", '{"tokens": [], "tags": []}', "column 'tokens' is empty, expected a list of words"),
        (
            "t.jsonl",
            '{"tokens": ["a"], "tags": ["B X"]}',
            "has the tag 'B X'; legal: a tag without white space",
        ),
    ],
)
def test_words_without_their_tags_are_refused_with_the_place(
    name: str, text: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(text)
    config = DataConfig(
        "ner", DataSource.table, path=str(tmp_path / name), text_columns=["tokens"], label_column="tags",
        problem_type=ProblemType.token_classification, metric="span_f1", eval_split="train",
    )  # fmt: skip
    with pytest.raises(DataError, match=message.replace("[", r"\[")):
        load_splits(config)
