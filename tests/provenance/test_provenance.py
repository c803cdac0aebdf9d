"""What a run says it was made of and with."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from datasets import Dataset
from mlflow.entities import Run
from packaging.requirements import Requirement

from finesweep.config.run import RunConfig
from finesweep.errors import ConfigError
from finesweep.provenance import FILE, Provenance, collect
from finesweep.provenance.code import find_checkout, metric_source, sources
from finesweep.provenance.content import column_hashes, model_content
from finesweep.provenance.differences import cause, differences
from finesweep.provenance.environment import packages
from finesweep.tracking import TrackedRun, open_store
from finesweep.training.inputs import load_inputs
from finesweep.training.run import run
from finesweep.training.trainer import LossNotFinite

Compose = Callable[..., RunConfig]


def only_run(config: RunConfig) -> Run:
    client = open_store(config.tracking)
    (found,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    return found


def record_of(config: RunConfig) -> Provenance:
    tracked = TrackedRun(open_store(config.tracking), only_run(config).info.run_id)
    return Provenance.from_json(tracked.read_text(FILE), "the test's run")


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=t", "-c", "user.email=t@example.org"]
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_a_run_says_what_it_was_made_of_and_what_came_out(config: Compose, tmp_path: Path) -> None:
    settings = config("seed=7")
    result = run(settings, tmp_path / "out", ["seed=7"])
    record = record_of(settings)
    assert record.schema_version == 1
    assert record.config["seed"] == record.seeds["seed"] == 7
    assert record.overrides == ["seed=7"]
    assert record.machine["threads"] == 1
    assert record.machine["device"] == "cpu"
    assert record.machine["precision"] in ("fp32", "bf16")
    assert record.machine["cpu_capability"] == torch.backends.cpu.get_cpu_capability()
    assert record.packages["torch"] == torch.__version__
    assert record.model == {"source": "built here"}
    assert {name: split["rows"] for name, split in record.data.items()} == {
        "train": 200,
        "eval": 1000,
        "test test": 1000,
    }
    assert all(split["encoded"]["input_ids"] for split in record.data.values())
    assert record.code["files"]["finesweep/training/run.py"] == sources()["finesweep/training/run.py"]
    assert set(record.results["predictions"]) == {"eval", "test.tsv"}
    tags = only_run(settings).data.tags
    assert tags["finesweep.weights_sha256"] == record.results["weights_sha256"]
    assert tags["finesweep.torch"] == torch.__version__
    assert result.status == "FINISHED"


def test_the_constraints_are_requirements_of_the_installed_versions(config: Compose, tmp_path: Path) -> None:
    settings = config("predict=false")
    run(settings, tmp_path / "out")
    tracked = TrackedRun(open_store(settings.tracking), only_run(settings).info.run_id)
    lines = [line for line in tracked.read_text("constraints.txt").splitlines() if not line.startswith("#")]
    found = {requirement.name: str(requirement.specifier) for requirement in map(Requirement, lines)}
    assert found["torch"] == f"=={torch.__version__.partition('+')[0]}"
    assert "finesweep" not in found
    assert len(found) > 50


def test_a_run_that_fails_still_says_what_it_was_made_of(config: Compose, tmp_path: Path) -> None:
    settings = config("optimizer.learning_rate=1e30", "optimizer.max_grad_norm=0", "optimizer.warmup_steps=0")
    with pytest.raises(LossNotFinite):
        run(settings, tmp_path / "out")
    record = record_of(settings)
    assert record.data["train"]["rows"] == 200
    assert record.results == {}


def test_a_record_of_another_version_is_refused(config: Compose, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="here: schema_version: got 2; legal: 1"):
        Provenance.from_json(json.dumps({"schema_version": 2}), "here")
    with pytest.raises(ConfigError, match="here: no provenance that can be read"):
        Provenance.from_json("{", "here")


@pytest.mark.parametrize("field", ["config", "machine", "packages", "code", "model", "data", "results"])
def test_a_damaged_record_is_refused_by_the_field(config: Compose, tmp_path: Path, field: str) -> None:
    record = json.loads(collect(config(), [], load_inputs(config()).content).to_json())
    for value in (None, [], {"x": 1} if field != "results" else 5):
        with pytest.raises(ConfigError, match=f"here: {field}.*the record is damaged"):
            Provenance.from_json(json.dumps(record | {field: value}), "here")


def test_content_is_hashed_by_column_however_it_is_cut() -> None:
    rows = {"text": ["a", "bc", ""], "ids": [[1, 2], [], [3]], "label": [0, 1, 1]}
    whole = column_hashes(Dataset.from_dict(rows))
    longer = Dataset.from_dict({name: [*values, values[0]] for name, values in rows.items()})
    assert column_hashes(longer.select([0, 1, 2])) == whole
    assert column_hashes(longer.select([3, 1, 2])) == whole
    other = column_hashes(Dataset.from_dict(rows | {"label": [0, 1, 0]}))
    assert {name for name in whole if whole[name] != other[name]} == {"label"}
    moved = column_hashes(Dataset.from_dict(rows | {"text": ["ab", "c", ""], "ids": [[1], [2], [3]]}))
    assert {name for name in whole if whole[name] != moved[name]} == {"text", "ids"}


def test_a_folder_of_a_model_is_known_by_its_files(config: Compose, tmp_path: Path) -> None:
    trained = run(config("predict=false"), tmp_path / "out")
    folder = str(trained.checkpoint)
    settings = config(f"model.name_or_path={folder}", "model.architecture=null").model
    files = model_content(settings)["files"]
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= files.keys()
    sizes = Path(folder) / "config.json"
    sizes.write_text(sizes.read_text() + "\n")
    changed = model_content(settings)["files"]
    assert {name for name in files if files[name] != changed[name]} == {"config.json"}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project of somebody's, with a commit, and much that is not committed."""
    folder = tmp_path / "project"
    (folder / "sub").mkdir(parents=True)
    (folder / "train.py").write_text("print(1)\n")
    (folder / "gone.py").write_text("print(2)\n")
    (folder / "rows.csv").write_text("a,b\n")
    (folder / ".gitignore").write_text("ignored.py\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    (folder / "train.py").write_text("print(3)\n")
    (folder / "gone.py").unlink()
    (folder / "rows.csv").write_text("a,b\n1,secret-row\n")
    (folder / "sub/new.py").write_text("print(4)\n")
    (folder / "ignored.py").write_text("ignored\n")
    (folder / ".env.yaml").write_text("in-dot-env\n")
    (folder / "hf_token.txt").write_text("in-a-token-file\n")
    (folder / "big.py").write_text("x" * 200_000)
    (folder / "rows.txt").write_text("a row of data\n")
    (folder / ".#train.py").symlink_to("somebody@host.1")  # as Emacs locks a file
    (folder / "settings.yaml").write_text("lr: 1\ndb_password: abcd-in-yaml\nurl: ${oc.env:TOKEN}\n")
    (folder / "keys.py").write_text('API_KEY = "in-a-literal"\ntoken: SomeClass = make(hf_token)\n')
    (folder / "outputs").mkdir()
    (folder / "outputs/hydra.yaml").write_text("in-outputs\n")
    monkeypatch.chdir(folder)
    find_checkout.cache_clear()
    yield folder  # type: ignore[misc]
    find_checkout.cache_clear()


def test_the_patch_makes_the_commit_what_was_run(checkout: Path, tmp_path: Path) -> None:
    index = (checkout / ".git/index").read_bytes()
    found = find_checkout()
    assert (checkout / ".git/index").read_bytes() == index
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(checkout), str(clone))
    git(clone, "checkout", "-q", str(found.commit))
    (tmp_path / "patch").write_text(found.patch)
    git(clone, "apply", str(tmp_path / "patch"))
    assert (clone / "train.py").read_text() == "print(3)\n"
    assert (clone / "sub/new.py").read_text() == "print(4)\n"
    assert not (clone / "gone.py").exists()


def test_data_secrets_and_outputs_are_not_in_the_patch(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_TOKEN", "abcdefgh12345678")
    (checkout / "train.py").write_text('login("abcdefgh12345678")\n')
    found = find_checkout()
    for text in (
        "secret-row",
        "ignored",
        "in-dot-env",
        "in-a-token-file",
        "xxxx",
        "in-outputs",
        "abcdefgh12345678",
    ):
        assert text not in found.patch
    for text in ("in-a-literal", "abcd-in-yaml", "a row of data"):
        assert text not in found.patch
    left_out = {"rows.csv", ".env.yaml", "hf_token.txt", "big.py", "rows.txt", ".#train.py"}
    assert set(found.left_out) == left_out | {"train.py", "settings.yaml", "keys.py"}


def test_a_package_whose_uninstall_broke_off_ends_no_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken-1.0.dist-info").mkdir()
    monkeypatch.syspath_prepend(str(tmp_path))
    packages.cache_clear()
    assert packages()["torch"] == torch.__version__
    packages.cache_clear()


def test_an_edited_metric_of_the_users_own_is_named_as_the_cause(
    config: Compose, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def recorded(body: str) -> Provenance:
        (tmp_path / "edited_metric.py").write_text(f"def score(truth, predicted):\n    return {body}\n")
        monkeypatch.delitem(sys.modules, "edited_metric", raising=False)
        metric_source.cache_clear()
        return collect(settings, [], {})

    settings = config("data.metric=edited_metric:score", "data.direction=maximize")
    monkeypatch.syspath_prepend(str(tmp_path))
    then, now = recorded("0.25"), recorded("0.125 + 0.125")
    assert differences(then, recorded("0.125 + 0.125")) == differences(then, now)
    assert cause(differences(then, now)).startswith("code edited_metric.py (")
    assert metric_source("accuracy") == {}
