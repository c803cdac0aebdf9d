"""Says where configs and sweeps are: in a project's own folders first, then in those of the package."""

from pathlib import Path

# The package's; in a checkout these are links to the folders at its top.
CONF, SWEEPS = ((Path(__file__).parent.parent / name).resolve() for name in ("conf", "sweeps"))


def conf_of(project: Path) -> Path:
    """Returns the project's own `conf/` if it has one, else the package's."""
    own = project.absolute() / "conf"
    return own if own.is_dir() else CONF


def search_path(conf: Path) -> list[str]:
    """Lists what is searched after `conf`, the main folder of configs, as Hydra addresses it.

    The project's `sweeps/` is beside its `conf/`; a project without `conf/` is the working folder.
    """
    is_package = conf.resolve() == CONF
    own = (Path.cwd() if is_package else conf.absolute().parent) / "sweeps"
    is_own = own.is_dir() and own.resolve() != SWEEPS
    return [
        *([f"sweeps://{own}"] if is_own else []),
        *([] if is_package else [f"file://{CONF}"]),
        f"sweeps://{SWEEPS}",
    ]
