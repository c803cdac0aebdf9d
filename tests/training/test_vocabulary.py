"""The trained vocabulary: the same in every process, made once, and loadable by anybody."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from datasets import Dataset
from transformers import AutoTokenizer, BertTokenizer

from finesweep.config.run import DataConfig, DataSource
from finesweep.data import load_splits
from finesweep.errors import ConfigError
from finesweep.training.vocabulary import trained_tokenizer

COLUMNS = ["question", "sentence"]


def demo() -> Dataset:
    return load_splits(
        DataConfig(
            source=DataSource.demo, name="demo", text_columns=COLUMNS, metric="accuracy", demo_rows=300
        )
    ).train


SCRIPT = """
import hashlib, sys
sys.path.insert(0, sys.argv[1])
from finesweep.training.vocabulary import learn_vocabulary
from test_vocabulary import COLUMNS, demo
print(hashlib.sha256(repr(learn_vocabulary(demo(), COLUMNS, 400)).encode()).hexdigest())
"""


def test_vocabulary_is_the_same_in_every_process() -> None:
    # The trainer's own numbering differs between any two processes.
    command = [sys.executable, "-c", SCRIPT, str(Path(__file__).parent)]
    environment = os.environ | {"PYTHONPATH": ":".join(sys.path)}
    workers = [
        subprocess.Popen(command, env=environment | {"PYTHONHASHSEED": str(seed)}, stdout=subprocess.PIPE)
        for seed in range(2)
    ]
    answers = [worker.communicate()[0] for worker in workers]
    assert len(answers[0]) == 65 and len(set(answers)) == 1


def test_tokenizer_is_berts_and_loads_from_its_folder(tmp_path: Path) -> None:
    made = trained_tokenizer(demo(), COLUMNS, 400, tmp_path / "cache")
    made.save_pretrained(tmp_path / "saved")
    loaded = AutoTokenizer.from_pretrained(tmp_path / "saved")
    assert isinstance(made, BertTokenizer) and isinstance(loaded, BertTokenizer)
    assert made("Who OWNS it?", "Not me.")["input_ids"] == loaded("Who OWNS it?", "Not me.")["input_ids"]
    assert loaded.get_vocab() == made.get_vocab()


def test_vocabulary_is_learnt_from_the_rows(tmp_path: Path) -> None:
    made = trained_tokenizer(demo(), COLUMNS, 400, tmp_path)
    assert 300 < len(made) <= 400
    assert made.tokenize("Who founded") == ["who", "founded"]
    assert made.unk_token_id not in made("An unseen word")["input_ids"][1:-1]
    assert [made.pad_token_id, made.unk_token_id, made.cls_token_id, made.sep_token_id] == [0, 1, 2, 3]


def test_vocabulary_is_trained_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = trained_tokenizer(demo(), COLUMNS, 400, tmp_path)
    monkeypatch.setattr("finesweep.training.vocabulary.learn_vocabulary", None)
    assert trained_tokenizer(demo(), COLUMNS, 400, tmp_path).get_vocab() == first.get_vocab()


def test_other_rows_and_other_sizes_are_other_vocabularies(tmp_path: Path) -> None:
    sizes = {len(trained_tokenizer(demo(), COLUMNS, size, tmp_path)) for size in (200, 300)}
    other = trained_tokenizer(demo().select(range(50)), COLUMNS, 300, tmp_path)
    assert sizes == {200, 300}
    assert other.get_vocab() != trained_tokenizer(demo(), COLUMNS, 300, tmp_path).get_vocab()


def test_more_characters_than_the_limit_are_cut_to_the_frequent_ones(tmp_path: Path) -> None:
    rare = [chr(0x4E00 + i) for i in range(1500)]
    rows = Dataset.from_dict({"text": [*rare, *(["frequent words"] * 3)]})
    vocabulary = trained_tokenizer(rows, ["text"], 2100, tmp_path).get_vocab()
    assert "f" in vocabulary and rare[0] in vocabulary and rare[-1] not in vocabulary


def test_size_without_room_for_the_characters_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model.architecture.vocab_size: got 20; legal: at least \d+"):
        trained_tokenizer(demo(), COLUMNS, 20, tmp_path)
