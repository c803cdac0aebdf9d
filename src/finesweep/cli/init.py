"""`finesweep init`: makes a project, which depends on the installed package alone."""

import shutil
from pathlib import Path

import click

from finesweep.io.output import new_folder
from finesweep.io.terminal import argument, show

TEMPLATE = Path(__file__).parent / "template"


@click.command()
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
def init(folder: Path) -> None:
    """Make a project in DIR, a new folder.

    It gets a train.py, a data file to fill in, a sweep over that data, and a README. Configs and sweeps that
    it has none of come from the package.
    """
    with new_folder(folder) as staging:
        shutil.copytree(TEMPLATE, staging, dirs_exist_ok=True, ignore=shutil.ignore_patterns("__pycache__"))
    show(f"{folder}: fill in conf/data/mine.yaml, then:\n")
    show(f"cd {argument(str(folder))}\npython train.py data=mine\npython train.py -m sweep=mine")
