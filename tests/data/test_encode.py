"""Encoding: pairs stay pairs, the cache is right whatever happens to it, and any number may use it."""

import os
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from datasets import Dataset, Features, Value
from transformers import BertTokenizer

from finesweep.data import encode
from finesweep.errors import OutputError

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "b", "c", "d", "e", "##b"]
CLS, SEP = 2, 3


def tokenizer(words: list[str] = WORDS) -> BertTokenizer:
    return BertTokenizer(vocab={word: index for index, word in enumerate(words)})


def rows(count: int = 2, label: str | None = "int64") -> Dataset:
    columns: dict[str, list[object]] = {
        "q": ["a b", "c"] * (count // 2),
        "s": ["d", "a b c d e"] * (count // 2),
    }
    features = {"q": Value("string"), "s": Value("string")}
    if label is not None:
        columns["label"], features["label"] = [1, 0] * (count // 2), Value(label)
    return Dataset.from_dict(columns, features=Features(features))


def test_two_columns_are_encoded_as_a_pair(tmp_path: Path) -> None:
    encoded = encode(rows(), tokenizer(), ["q", "s"], 16, tmp_path)
    assert encoded[0] == {
        "input_ids": [CLS, 5, 6, SEP, 8, SEP],
        "token_type_ids": [0, 0, 0, 0, 1, 1],
        "attention_mask": [1] * 6,
        "length": 6,
        "labels": 1,
    }
    assert list(encoded["labels"]) == [1, 0]


def test_longer_text_is_cut_first_and_nothing_is_padded(tmp_path: Path) -> None:
    encoded = encode(rows(), tokenizer(), ["q", "s"], 6, tmp_path)
    assert encoded[1]["input_ids"] == [CLS, 7, SEP, 5, 6, SEP]
    assert list(encode(rows(), tokenizer(), ["q", "s"], 64, tmp_path)["length"]) == [6, 9]


def test_one_column_is_encoded_alone_and_rows_without_labels_have_none(tmp_path: Path) -> None:
    encoded = encode(rows(label=None), tokenizer(), ["s"], 16, tmp_path)
    assert encoded[0]["input_ids"] == [CLS, 8, SEP]
    assert "labels" not in encoded.column_names
    assert (
        encode(rows(label="float32"), tokenizer(), ["s"], 16, tmp_path).features["labels"].dtype == "float32"
    )


def test_rows_across_batches_keep_their_order(tmp_path: Path) -> None:
    encoded = encode(rows(2502), tokenizer(), ["q"], 16, tmp_path)
    assert list(encoded["length"]) == [4, 3] * 1251


def entries(cache_dir: Path) -> list[Path]:
    return sorted((cache_dir / "encoded").iterdir())


def forbid_writing(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("encoded again")

    # By its name in sys.modules, for `finesweep.data.encode` is the function.
    monkeypatch.setattr(sys.modules["finesweep.data.encode"], "_write", refuse)


def test_same_content_is_encoded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used = tokenizer()
    first = encode(rows(), used, ["q", "s"], 16, tmp_path)
    forbid_writing(monkeypatch)
    used(["a"] * 2, truncation=True, padding="max_length", max_length=3)  # leaves its mark on the tokenizer
    for again in (used, tokenizer()):
        assert encode(rows(), again, ["q", "s"], 16, tmp_path).to_dict() == first.to_dict()
    assert first.cache_files[0]["filename"].startswith(str(tmp_path))  # mapped, not held in memory


@pytest.mark.parametrize("change", ["rows", "labels", "words", "columns", "length"])
def test_other_content_is_another_entry(tmp_path: Path, change: str) -> None:
    encode(rows(), tokenizer(), ["q", "s"], 16, tmp_path)
    encode(
        {"rows": rows(4), "labels": rows(label=None)}.get(change, rows()),
        tokenizer([*WORDS, "f"] if change == "words" else WORDS),
        ["s", "q"] if change == "columns" else ["q", "s"],
        17 if change == "length" else 16,
        tmp_path,
    )
    assert len(entries(tmp_path)) == 2


def test_tokenizer_is_left_as_if_the_cache_had_been_hit(tmp_path: Path) -> None:
    miss, hit = tokenizer(), tokenizer()
    encode(rows(), miss, ["q"], 16, tmp_path)
    encode(rows(), hit, ["q"], 16, tmp_path)
    assert miss.backend_tokenizer.to_str() == hit.backend_tokenizer.to_str()


def truncate(entry: Path) -> None:
    file = entry / "encoded.arrow"
    file.write_bytes(file.read_bytes()[:-40])


def flip_a_bit(entry: Path) -> None:
    file = entry / "encoded.arrow"
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def empty(entry: Path) -> None:
    for file in entry.iterdir():
        file.unlink()


def garble_checksums(entry: Path) -> None:
    (entry / "checksums.json").write_text("{")


def put_a_named_pipe(entry: Path) -> None:
    (entry / "encoded.arrow").unlink()
    os.mkfifo(entry / "encoded.arrow")


@pytest.mark.parametrize("damage", [truncate, flip_a_bit, empty, garble_checksums, put_a_named_pipe])
def test_damaged_entry_is_built_again(tmp_path: Path, damage: object) -> None:
    first = encode(rows(), tokenizer(), ["q", "s"], 16, tmp_path).to_dict()
    damage(entries(tmp_path)[0])  # type: ignore[operator]
    assert encode(rows(), tokenizer(), ["q", "s"], 16, tmp_path).to_dict() == first
    assert len(entries(tmp_path)) == 1


def test_what_a_killed_builder_left_is_removed_in_time(tmp_path: Path) -> None:
    (tmp_path / "encoded").mkdir()
    old, fresh = tmp_path / "encoded" / ".old.x", tmp_path / "encoded" / ".fresh.x"
    old.mkdir()
    fresh.mkdir()
    os.utime(old, (time.time() - 86400,) * 2)
    encode(rows(), tokenizer(), ["q"], 16, tmp_path)
    assert not old.exists() and fresh.exists()


def test_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match=r"cache_dir: .*file/encoded cannot be written"):
        encode(rows(), tokenizer(), ["q"], 16, tmp_path / "file")


SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_encode import encode, rows, tokenizer
data, used = rows(2000), tokenizer()
print("ready", flush=True)
sys.stdin.readline()  # all start together
print(sum(encode(data, used, ["q", "s"], 16, Path(sys.argv[1]))["length"]))
"""


def test_processes_that_encode_at_once_all_get_the_whole(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path), str(Path(__file__).parent)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    environment = os.environ | {"PYTHONPATH": ":".join(sys.path)}
    with ExitStack() as started:
        workers = [
            started.enter_context(subprocess.Popen(command, env=environment, **pipes))  # type: ignore[call-overload]
            for _ in range(4)
        ]
        for worker in workers:
            assert worker.stdout.readline() == "ready\n"
        for worker in workers:
            worker.stdin.write("\n")
            worker.stdin.flush()
        answers = [worker.communicate()[0].strip() for worker in workers]
    assert answers == [str(1000 * (6 + 9))] * 4
    assert [entry.name[0] != "." for entry in entries(tmp_path)] == [True]
