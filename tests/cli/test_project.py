"""A project of a person's own: `finesweep init`, `finesweep train`, and configs of project and package."""

import subprocess
from pathlib import Path

import pytest
from processes import FINESWEEP, finesweep, start

from finesweep.cli import main
from finesweep.config import folders
from finesweep.errors import OutputError
from finesweep.io.output import new_folder

ROWS = "text,stars\n" + "".join(f"{'good' if i % 2 else 'bad'} film {i},{i % 2}\n" for i in range(40))
QUICK = (
    "trainer.num_train_epochs=1", "trainer.threads=1", "tracking.system_metrics=false",
    "data.path=reviews.csv", "data.text_columns=[text]", "data.label_column=stars",
)  # fmt: skip


def init(folder: Path) -> None:
    main._invoke(["init", str(folder)])


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "a project"
    init(folder)
    (folder / "reviews.csv").write_text(ROWS)
    return folder


def train_there(project: Path, *arguments: str) -> str:
    """`finesweep train ARGUMENTS` in the project. Returns what it prints."""
    done = finesweep("train", *arguments, cwd=project)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_init_makes_a_project_whose_rows_are_to_be_filled_in(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    files = {str(path.relative_to(project)) for path in project.rglob("*") if path.is_file()}
    assert files == {
        ".gitignore", "README.md", "train.py", "conf/data/mine.yaml", "sweeps/mine.yaml", "mlruns/.gitignore",
        "reviews.csv",
    }  # fmt: skip
    assert len((project / "README.md").read_text().splitlines()) <= 20
    done = start("data=mine", cwd=project, program=("train.py",))
    _, stderr = done.communicate(60)
    assert (done.returncode, stderr.count("\n")) == (2, 1)
    assert "data.text_columns: no value" in stderr or "data.label_column: no value" in stderr


@pytest.mark.parametrize("place", ["full", "file", ".", "full/train.py/x"])
def test_init_overwrites_nothing(tmp_path: Path, place: str) -> None:
    init(tmp_path / "full")
    (tmp_path / "file").write_text("mine")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    with pytest.raises(OutputError, match="legal: a new folder|cannot be written"):
        init(tmp_path / place)
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_of_two_that_make_one_folder_the_faster_wins(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="exists already"), new_folder(tmp_path / "both"):
        init(tmp_path / "both")
    assert (tmp_path / "both/train.py").is_file()
    assert [path.name for path in tmp_path.iterdir()] == ["both"]


def test_a_project_uses_the_packages_configs_and_replaces_single_files(project: Path) -> None:
    (project / "conf/trainer").mkdir()
    (project / "conf/trainer/default.yaml").write_text("num_train_epochs: 7\n")
    (project / "sweeps/qnli.yaml").write_text(
        "# @package _global_\nhydra: {sweeper: {params: {seed: '1,2'}}}\n"
    )
    config = train_there(project, "--cfg", "all", "data=rte", "model=bert-mini", "sweep=qnli")
    assert "num_train_epochs: 7" in config  # of the project
    assert "glue_task: rte" in config and "google/bert_uncased_L-4_H-256_A-4" in config  # of the package
    assert "seed: 1,2" in config and "optimizer.learning_rate: tag" not in config  # the project's sweep
    groups = train_there(project, "--help")
    assert "data: ax, cola, demo, mine, mnli" in groups
    assert "sweep: bert-miniatures, mine, optimizers, qnli, quickstart" in groups


def test_without_a_conf_the_packages_configs_and_the_folders_sweeps_are_used(tmp_path: Path) -> None:
    (tmp_path / "sweeps").mkdir()
    (tmp_path / "sweeps/own.yaml").write_text("# @package _global_\n")
    assert "sweep: bert-miniatures, optimizers, own, qnli, quickstart" in train_there(tmp_path, "--help")
    assert folders.conf_of(tmp_path) == folders.CONF


def test_finesweep_train_passes_all_of_hydras_options(project: Path, tmp_path: Path) -> None:
    (project / "conf/own.yaml").write_text("defaults: [config, _self_]\nseed: 77\n")
    other = tmp_path / "other"
    (other / "trainer").mkdir(parents=True)
    (other / "trainer/long.yaml").write_text("num_train_epochs: 99\n")
    assert "seed: 77" in train_there(project, "-cn", "own", "--cfg", "job")
    assert "seed: 77" in train_there(project, "-cp", "conf", "-cn", "own", "--cfg", "job")
    assert "num_train_epochs: 99" in train_there(
        project, "--config-dir", str(other), "trainer=long", "--cfg", "job", "--package", "trainer"
    )
    assert "--shell-completion" in train_there(project, "--hydra-help")


def test_other_programs_of_hydra_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/config.yaml").write_text("answer: 42\n")
    (tmp_path / "app.py").write_text(
        "import hydra\n@hydra.main(version_base=None, config_path='conf', config_name='config')\n"
        "def main(cfg): pass\nmain()\n"
    )
    program = start("--info", "searchpath", cwd=tmp_path, program=("app.py",))
    stdout, stderr = program.communicate(60)
    assert program.returncode == 0, stderr
    assert "finesweep" not in stdout


def test_a_tab_completes_the_projects_names_and_the_packages(project: Path) -> None:
    line = "train.py data=m"
    tab = start(
        "-sc", "query=bash", cwd=project, program=("train.py",),
        environ={"COMP_LINE": line, "COMP_POINT": str(len(line))},
    )  # fmt: skip
    assert tab.communicate(60)[0].split() == ["data=mine", "data=mnli", "data=mrpc"]


@pytest.mark.parametrize(
    ("words", "completed"),
    [
        (["train", "data=m"], ["data=mine", "data=mnli", "data=mrpc"]),  # zsh, fish
        (["train", "-m", "data", "=", "m"], ["mine", "mnli", "mrpc"]),  # bash breaks words at =
        (["train", "optimizer.learn"], ["optimizer.learning_rate="]),
    ],
    ids=lambda words: " ".join(words),
)
def test_a_tab_behind_finesweep_train_asks_hydra(
    project: Path, words: list[str], completed: list[str]
) -> None:
    shell = "bash" if "=" in words else "zsh"
    environ = {
        "_FINESWEEP_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": " ".join(["finesweep", *words]),
        "COMP_CWORD": str(len(words)),
    }
    stdout, stderr = start(cwd=project, program=FINESWEEP, environ=environ).communicate(60)
    found = stdout.split() if shell == "zsh" else [text.partition(",")[2] for text in stdout.split()]
    assert [text for text in found if text not in ("plain", "_")] == completed, stderr


def test_a_project_sweeps_reproduces_and_exports(project: Path) -> None:
    """One sweep of a project in git, its own metric, and everything that is done with it afterwards."""
    (project / "my_metrics.py").write_text("def share(y_true, y_pred):\n    return 0.5\n")
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "one"]):
        subprocess.run(["git", "-c", "user.name=a", "-c", "user.email=b", *command], cwd=project, check=True)
    done = finesweep(
        "train", "-m", "sweep=mine", *QUICK, "hydra.sweeper.study.n_trials=2", "hydra.sweeper.workers=1",
        "data.metric=my_metrics:share", "data.direction=maximize", cwd=project,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "run it again:\n  finesweep train sweep=mine " in done.stdout
    listed = finesweep("studies", cwd=project)
    assert "mine   2/2" in listed.stdout, listed.stderr
    run_id = finesweep("runs", "mine", cwd=project).stdout.splitlines()[1].split()[1]
    again = finesweep("reproduce", run_id, cwd=project)
    assert "EXACT" in again.stdout, again.stderr
    exported = finesweep("export", run_id, "given-away", cwd=project)
    assert exported.returncode == 0, exported.stderr
    record = (project / "given-away/provenance.json").read_text()
    assert '"my_metrics.py"' in record and '"program": "finesweep train"' in record
    assert "finesweep train " in (project / "given-away/README.md").read_text()
