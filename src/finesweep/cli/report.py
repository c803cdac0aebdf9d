"""`finesweep report`: writes the page of a study, or one that compares several."""

from pathlib import Path

import click

from finesweep.cli import completing, options
from finesweep.config.run import TrackingConfig
from finesweep.errors import ConfigError, OutputError


@click.command()
@click.argument("studies", nargs=-1, required=True, metavar="STUDY ...", shell_complete=completing.studies)
@click.option("--out", metavar="DIR", default=".", show_default=True, help="Folder to write the page into.")
@options.storage
@options.tracking
def report(studies: tuple[str, ...], out: str, storage: str, tracking: TrackingConfig) -> None:
    """Write the page of a study, or of several.

    It is one HTML file with charts, tables and commands, STUDY.html. Several studies become one page that
    compares them, comparison.html. An older page is replaced.
    """
    if twice := sorted({name for name in studies if studies.count(name) > 1}):
        raise ConfigError(f"STUDY: got {twice[0]!r} twice; legal: different studies")
    from finesweep.study.reading import read_study

    loaded = [read_study(name, storage) for name in studies]
    from finesweep.io.atomic import write_text
    from finesweep.io.terminal import show
    from finesweep.report.curves import read_curves
    from finesweep.report.facts import gather
    from finesweep.report.page import page

    facts = [
        gather(study, *read_curves(study, tracking), prefix=f"s{place}-" if len(loaded) > 1 else "")
        for place, study in enumerate(loaded)
    ]
    file = Path(out) / (f"{studies[0]}.html" if len(studies) == 1 else "comparison.html")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        write_text(file, page(facts))
    except OSError as error:
        raise OutputError(
            f"--out: cannot write {file}: {error.strerror}; legal: a folder to write into"
        ) from error
    show(file.resolve())
