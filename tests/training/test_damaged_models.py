"""Whatever a model's folder says of model and tokenizer: it is tried out, or refused with one error."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from damage import files, one_thing_wrong
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_models import save_model

from finesweep.config.run import RunConfig
from finesweep.errors import FinesweepError, ModelError
from finesweep.training import inputs
from finesweep.training.tryout import load_and_try_out

Compose = Callable[..., RunConfig]
NAMES = ("config.json", "tokenizer.json", "tokenizer_config.json")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(tmp_path_factory.mktemp("models") / "whole", "Bert")


@pytest.fixture
def folder(whole: Path, own_folder: Path) -> Path:
    return Path(shutil.copytree(whole, own_folder / "model"))


def of(folder: Path, config: Compose) -> RunConfig:
    model = f"model.name_or_path={folder}", "model.architecture=null", "model.init=pretrained"
    return config(*model, "model.max_length=24", "model.dropout=null", "predict=false")


def try_out(config: RunConfig) -> None:
    inputs._loaded.clear()
    shutil.rmtree(Path(config.cache_dir, "tried"), ignore_errors=True)
    load_and_try_out([config])


@pytest.mark.parametrize("name", NAMES)
def test_no_content_of_a_file_is_a_traceback(name: str, folder: Path, config: Compose) -> None:
    run_config, good = of(folder, config), json.loads((folder / name).read_text())
    try_out(run_config)

    @settings(max_examples=25)
    @given(content=st.one_of([one_thing_wrong(good)] * 4 + [files]))
    def tried(content: bytes) -> None:
        (folder / name).write_bytes(content)
        try:
            try_out(run_config)
        except FinesweepError as error:
            assert str(folder) in str(error) or "model." in str(error)

    tried()


@pytest.mark.parametrize("limit", ["32", [], {"a": 1}, True, 0, -1, float("nan")])
def test_a_limit_of_tokens_that_is_none_is_refused(limit: object, folder: Path, config: Compose) -> None:
    file = folder / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"model_max_length": limit}))
    with pytest.raises(ModelError, match="tokenizer_config.json says model_max_length"):
        try_out(of(folder, config))
