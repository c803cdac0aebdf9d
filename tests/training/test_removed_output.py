"""An output folder that is removed while a run writes there is one clear error, and not the trial's fault."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from finesweep.config.run import RunConfig, TrackingConfig
from finesweep.errors import OutputError
from finesweep.io import checkpoint
from finesweep.io.output import explaining_removal, is_output_error
from finesweep.tracking import open_store
from finesweep.training.run import run


def test_a_run_whose_folder_is_removed_says_so_and_is_closed(
    config: Callable[..., RunConfig], own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = own_folder / "out"
    write_manifest = checkpoint.write_manifest

    def removing(folder: Path) -> None:
        shutil.rmtree(out)
        write_manifest(folder)

    monkeypatch.setattr(checkpoint, "write_manifest", removing)
    with pytest.raises(
        OutputError, match=f"{out}: files of this run were removed .* let them stay until it ends"
    ):
        run(config(), out)
    result = json.loads((out / "result.json").read_text())
    assert result["status"] == "FAILED"
    assert open_store(TrackingConfig()).get_run(result["run_id"]).info.status == "FAILED"


@pytest.mark.parametrize("text", ["Parent directory {} does not exist.", "No such file or directory: {}/x"])
def test_the_errors_of_all_libraries_are_known(own_folder: Path, text: str) -> None:
    with pytest.raises(OutputError) as raised, explaining_removal(own_folder):
        raise RuntimeError(text.format(own_folder))
    assert is_output_error(raised.value)


def test_another_error_stays_as_it_is(own_folder: Path) -> None:
    with pytest.raises(FileNotFoundError), explaining_removal(own_folder / "a"):
        (own_folder / "a").mkdir()
        Path(own_folder / "b" / "c").read_text()


@pytest.mark.parametrize("lost", ["step-*", "step-*/manifest.json", "step-*/model.safetensors"])
def test_a_checkpoint_that_is_lost_while_the_run_trains_is_not_the_trainings_fault(
    lost: str, config: Callable[..., RunConfig], own_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep_only = checkpoint.keep_only

    def losing(folder: Path, kept: set[Path]) -> None:
        keep_only(folder, kept)
        for path in folder.glob(lost):
            shutil.rmtree(path) if path.is_dir() else path.unlink()

    monkeypatch.setattr(checkpoint, "keep_only", losing)
    with pytest.raises(OutputError, match="a checkpoint of this run was damaged or removed while it trained"):
        run(config(), own_folder / "out")
