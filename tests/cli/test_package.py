"""The wheel and the sdist: built, installed without the checkout, and used for a first project."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
import zipfile
from pathlib import Path

import pytest
from processes import ROOT

SOURCES = ("pyproject.toml", "MANIFEST.in", "README.md", "LICENSE", "conf", "sweeps", "src")
TINY = (
    "data.demo_rows=200", "optimizer.learning_rate=1e-3,1e-2", "trainer.num_train_epochs=1",
    "trainer.per_device_train_batch_size=32", "tracking.system_metrics=false",
    "hydra.sweeper.study.n_trials=2", "hydra.sweeper.workers=1",
)  # fmt: skip


def run(*command: str | Path, cwd: Path) -> str:
    """Runs a command in an environment that knows nothing of the checkout. Returns what it prints."""
    environ = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        [*map(str, command)], cwd=cwd, env=environ, capture_output=True, text=True, timeout=250
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def built(what: str, source: Path, target: Path) -> Path:
    """Builds a `wheel` or an `sdist` with the backend alone: no network, no isolated environment."""
    code = f"import sys, setuptools.build_meta as b; print(b.build_{what}(sys.argv[1]))"
    return target / run(sys.executable, "-c", code, target, cwd=source).splitlines()[-1]


def copied_sources(folder: Path) -> Path:
    """Copies what a build needs, for it writes beside its sources."""
    (source := folder / "source").mkdir()
    unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info")
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=unwanted)
        else:
            shutil.copy(ROOT / name, source / name)
    return source


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The wheel built from the sdist, as pip builds it, and the wheel built from the sources."""
    folder = tmp_path_factory.mktemp("build")
    source = copied_sources(folder)
    sdist = built("sdist", source, folder)
    shutil.unpack_archive(sdist, folder / "unpacked", filter="data")
    (unpacked,) = (folder / "unpacked").iterdir()
    for name in ("from-sdist", "direct"):
        (folder / name).mkdir()
    return built("wheel", unpacked, folder / "from-sdist"), built("wheel", source, folder / "direct")


def test_sdist_and_wheel_carry_all_configs_and_sweeps(archives: tuple[Path, Path]) -> None:
    contents = []
    for wheel in archives:
        with zipfile.ZipFile(wheel) as archive:
            contents.append({name for name in archive.namelist() if not name.startswith("finesweep-")})
    yaml = {
        f"finesweep/{p.relative_to(ROOT)}" for f in ("conf", "sweeps") for p in (ROOT / f).rglob("*.yaml")
    }
    source = {str(path.relative_to(ROOT / "src")) for path in (ROOT / "src").rglob("*.py")}
    assert len(yaml) > 20
    assert yaml | source <= contents[0]
    assert contents[0] == contents[1]


def test_an_editable_install_uses_the_checkouts_own_folders(tmp_path: Path) -> None:
    source = copied_sources(tmp_path)
    with zipfile.ZipFile(built("editable", source, tmp_path)) as archive:
        (path,) = [archive.read(name).decode() for name in archive.namelist() if name.endswith(".pth")]
    assert Path(path.strip()) == source / "src"  # a path, and no import hook, which Hydra would not see
    for folder in ("conf", "sweeps"):
        assert (source / "src/finesweep" / folder).resolve() == source / folder


@pytest.mark.long
def test_an_installed_package_makes_a_project_and_sweeps_in_it(
    archives: tuple[Path, Path], tmp_path: Path
) -> None:
    """In a virtual environment of its own, which sees this one's libraries, but not its finesweep."""
    venv.create(tmp_path / "venv", symlinks=True)
    python = tmp_path / "venv/bin/python"
    site = Path(
        run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))", cwd=tmp_path).strip()
    )
    pip = (sys.executable, "-m", "pip", "-q", "--python", python, "install", "--no-deps", "--no-index")
    run(*pip, archives[0], cwd=tmp_path)
    # Added at the end of the path, without its own .pth files, one of which names the checkout.
    (site / "libraries.pth").write_text(sysconfig.get_path("purelib") + "\n")
    command = tmp_path / "venv/bin/finesweep"
    assert run(python, "-m", "finesweep", "--version", cwd=tmp_path) == run(
        command, "--version", cwd=tmp_path
    )
    run(command, "init", "project", cwd=tmp_path)
    project = tmp_path / "project"
    where = run(python, "-c", "import finesweep; print(finesweep.__file__)", cwd=project)
    assert where.startswith(str(site))
    printed = run(python, "train.py", "-m", *TINY, cwd=project)
    assert "2 of 2 trials finished (COMPLETE 2)" in printed
    assert "run it again:\n  python train.py " in printed
    assert "quickstart  2/2" in run(command, "studies", cwd=project)
    record = next((project / "mlruns").rglob("provenance.json")).read_text()
    assert '"installed": true' in record and '"commit": null' in record
    assert '"finesweep/training/run.py"' in record  # as in a checkout
