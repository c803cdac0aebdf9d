"""A run's record says what it was made of and with, and what came out; stored records stay readable."""

import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from finesweep.provenance.fields import Code, Model
from finesweep.tracking import TrackedRun, open_store
from finesweep.training.run import run
from finesweep.training.trainer import LossNotFinite

Compose = Callable[..., RunConfig]
# A run of version 0.1 on the demo task, with a few of its packages and source files.
STORED = (Path(__file__).parent / "record_0_1.json").read_text(encoding="utf-8")
GPU = {"name": "NVIDIA H100", "compute_capability": "9.0", "cuda": "13.0", "cudnn": 91900}
HUB_MODEL = {"source": "hub", "id": "google/bert_uncased_L-2_H-128_A-2", "commit": "c" * 40}
CHANGE = {"section": "machine", "what": "threads, while interrupted", "then": 1, "now": 2, "may_matter": True}
PRUNED = {"pruned": True, "metrics_sha256": "a" * 64, "metrics": ["loss"]}


def only_run(config: RunConfig) -> Run:
    client = open_store(config.tracking)
    (run,) = client.search_runs([e.experiment_id for e in client.search_experiments()])
    return run


def edited(path: str, value: object) -> str:
    """Returns the stored record with the value at a dotted path replaced; `...` removes it."""
    stored: dict[str, Any] = json.loads(STORED)
    *parents, last = path.split(".")
    node = stored
    for key in parents:
        node = node[key]
    if value is ...:
        del node[last]
    else:
        node[last] = value
    return json.dumps(stored, indent=1) + "\n"


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
    assert record.machine.threads == 1
    assert record.machine.device == "cpu"
    assert record.machine.precision in ("fp32", "bf16")
    assert record.machine.cpu_capability == torch.backends.cpu.get_cpu_capability()
    assert record.packages["torch"] == torch.__version__
    assert record.model == Model("built here")
    assert {name: split.rows for name, split in record.data.items()} == {
        "train": 200,
        "eval": 1000,
        "test test": 1000,
    }
    assert all(split.encoded and split.encoded["input_ids"] for split in record.data.values())
    assert record.code.files["finesweep/training/run.py"] == sources()["finesweep/training/run.py"]
    assert set(record.results.predictions or {}) == {"eval", "test.tsv"}
    tags = only_run(settings).data.tags
    assert tags["finesweep.weights_sha256"] == record.results.weights_sha256
    assert tags["finesweep.torch"] == torch.__version__
    assert result.status == "FINISHED"


def test_the_constraints_are_requirements_of_the_installed_versions(config: Compose, tmp_path: Path) -> None:
    settings = config("predict=false")
    run(settings, tmp_path / "out")
    tracked = TrackedRun(open_store(settings.tracking), only_run(settings).info.run_id)
    lines = [line for line in tracked.read_text("constraints.txt").splitlines() if not line.startswith("#")]
    versions = {requirement.name: str(requirement.specifier) for requirement in map(Requirement, lines)}
    assert versions["torch"] == f"=={torch.__version__.partition('+')[0]}"
    assert "finesweep" not in versions
    assert len(versions) > 50


def test_a_run_that_fails_still_says_what_it_was_made_of(config: Compose, tmp_path: Path) -> None:
    settings = config("optimizer.learning_rate=1e30", "optimizer.max_grad_norm=0", "optimizer.warmup_steps=0")
    with pytest.raises(LossNotFinite):
        run(settings, tmp_path / "out")
    record = record_of(settings)
    assert record.data["train"].rows == 200
    assert not record.has_results
    assert json.loads(record.to_json())["results"] == {}


def test_a_record_of_another_version_is_refused() -> None:
    with pytest.raises(ConfigError, match="here: schema_version: got 2; legal: 1"):
        Provenance.from_json(json.dumps({"schema_version": 2}), "here")
    with pytest.raises(ConfigError, match="here: no provenance that can be read"):
        Provenance.from_json("{", "here")


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("schema_version", 1),
        ("results", {}),
        ("results", PRUNED),
        ("machine.gpu", GPU),
        ("machine.onednn", {"version": None, "isa": None}),
        ("model", HUB_MODEL),
        ("model", {"source": "folder", "files": {"config.json": "b" * 64}}),
        ("code", {"commit": None, "left_out": ["rows.csv"], "patch_sha256": "d" * 64, "files": {}}),
        ("mixed", [CHANGE]),
        ("machine.field_of_a_later_version", {"x": [1]}),
        ("field_of_a_later_version", 5),
    ],
)
def test_a_stored_record_is_written_again_byte_by_byte(path: str, value: object) -> None:
    stored = edited(path, value)
    assert Provenance.from_json(stored, "here").to_json() == stored


@pytest.mark.parametrize("field", ["config", "machine", "packages", "code", "model", "data", "results"])
def test_a_damaged_record_is_refused_by_the_field(field: str) -> None:
    for value in (None, [], {"x": 1} if field != "results" else 5):
        with pytest.raises(ConfigError, match=f"here: {field}.*the record is damaged"):
            Provenance.from_json(edited(field, value), "here")


@pytest.mark.parametrize(
    ("path", "value", "problem"),
    [
        ("machine.threads", ..., "machine.threads: got nothing"),
        ("machine.threads", "two", "machine.threads: got 'two'"),
        ("machine.gpu", {"name": "NVIDIA H100"}, "machine.gpu.compute_capability: got nothing"),
        ("code.commit", ..., "code.commit: got nothing"),
        ("data.eval", ..., "data.eval: got nothing"),
        ("data.test test.columns", {"sentence": 5}, "data.test test.columns.sentence: got '5'"),
        ("config.data", "qnli", "config.data: got 'qnli'"),
        ("config.data.metric", None, "config.data.metric: got nothing"),
        ("config.tracking.uri", ..., "config.tracking.uri: got nothing"),
        ("packages.torch", ..., "packages.torch: got nothing"),
        ("results.metrics", 10, "results.metrics: got '10'"),
        ("mixed", [{"what": "threads"}], "mixed.0.section: got nothing"),
    ],
)
def test_the_first_damaged_field_is_named(path: str, value: object, problem: str) -> None:
    with pytest.raises(ConfigError, match=f"^here: {re.escape(problem)}; the record is damaged"):
        Provenance.from_json(edited(path, value), "here")


def test_content_is_hashed_by_column_however_it_is_cut() -> None:
    rows = {"text": ["a", "bc", ""], "ids": [[1, 2], [], [3]], "label": [0, 1, 1]}
    whole = column_hashes(Dataset.from_dict(rows))
    longer = Dataset.from_dict({name: [*values, values[0]] for name, values in rows.items()})
    assert column_hashes(longer.select([0, 1, 2])) == whole
    assert column_hashes(longer.select([3, 1, 2])) == whole
    relabelled = column_hashes(Dataset.from_dict(rows | {"label": [0, 1, 0]}))
    assert {name for name in whole if whole[name] != relabelled[name]} == {"label"}
    moved = column_hashes(Dataset.from_dict(rows | {"text": ["ab", "c", ""], "ids": [[1], [2], [3]]}))
    assert {name for name in whole if whole[name] != moved[name]} == {"text", "ids"}


def test_a_folder_of_a_model_is_known_by_its_files(config: Compose, tmp_path: Path) -> None:
    trained = run(config("predict=false"), tmp_path / "out")
    folder = str(trained.checkpoint)
    settings = config(f"model.name_or_path={folder}", "model.architecture=null").model
    files = model_content(settings).files or {}
    assert {"model.safetensors", "config.json", "tokenizer.json"} <= files.keys()
    sizes = Path(folder) / "config.json"
    sizes.write_text(sizes.read_text() + "\n")
    changed = model_content(settings).files or {}
    assert {name for name in files if files[name] != changed[name]} == {"config.json"}


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git checkout with one commit and many uncommitted changes."""
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
    described = find_checkout()
    assert (checkout / ".git/index").read_bytes() == index
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "-q", str(checkout), str(clone))
    git(clone, "checkout", "-q", str(described.commit))
    (tmp_path / "patch").write_text(described.patch)
    git(clone, "apply", str(tmp_path / "patch"))
    assert (clone / "train.py").read_text() == "print(3)\n"
    assert (clone / "sub/new.py").read_text() == "print(4)\n"
    assert not (clone / "gone.py").exists()


def test_data_secrets_and_outputs_are_not_in_the_patch(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SOME_TOKEN", "abcdefgh12345678")
    (checkout / "train.py").write_text('login("abcdefgh12345678")\n')
    described = find_checkout()
    for text in (
        "secret-row",
        "ignored",
        "in-dot-env",
        "in-a-token-file",
        "xxxx",
        "in-outputs",
        "abcdefgh12345678",
        "in-a-literal",
        "abcd-in-yaml",
        "a row of data",
    ):
        assert text not in described.patch
    left_out = {"rows.csv", ".env.yaml", "hf_token.txt", "big.py", "rows.txt", ".#train.py"}
    assert set(described.left_out) == left_out | {"train.py", "settings.yaml", "keys.py"}


def test_a_package_whose_uninstall_was_interrupted_ends_no_run(
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


def test_a_metric_is_recorded_with_what_it_imports_from_the_project(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    files = {
        "told_metric.py": "import json\nfrom told import weights\ndef score(truth, predicted): return 1.0\n",
        "told/__init__.py": "",
        "told/weights.py": "def late():\n    from . import rare, told_metric\n    import told.rarer.rarest\n",
        "told/rare.py": "this is no Python",
        "told/rarer/rarest.py": "import told_metric",
        "told/unused.py": "",
        "unused.py": "import told_metric",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    metric_source.cache_clear()
    assert metric_source("told_metric:score").keys() == {name for name in files if "unused" not in name}
    assert metric_source("told_metric:score")["told/__init__.py"] == hashlib.sha256(b"").hexdigest()
    assert metric_source("sklearn.metrics:accuracy_score").keys() == {"sklearn/metrics/__init__.py"}


def test_an_older_record_without_these_modules_has_the_same_code() -> None:
    then = Code(None, [], None, {"finesweep/a.py": "1", "metric.py": "2"})
    now = Code(None, [], None, {"finesweep/a.py": "1", "metric.py": "2", "imported.py": "3"}, installed=False)
    old = replace(Provenance.from_json(STORED, "it"), code=then)
    assert [c for c in differences(old, replace(old, code=now)) if c.section == "code"] == []
    changed = replace(now, files=now.files | {"metric.py": "4"})
    assert [c.what for c in differences(old, replace(old, code=changed))] == ["code metric.py"]
