"""`-m --cfg job`: a sweep shows its config, and starts nothing. Hydra itself refuses the two together."""

from contextvars import ContextVar

from finesweep.errors import ConfigError

FLAGS = ("--cfg", "-c")
only_show: ContextVar[bool] = ContextVar("only_show", default=False)


def take_request(arguments: list[str]) -> list[str]:
    """Takes `--cfg job` out of a sweep's arguments. Side effect: sets `only_show`, for the Sweeper.

    Raises: ConfigError for another part of the config than `job`.
    """
    only_show.set(False)
    if not {"-m", "--multirun"} & set(arguments):
        return arguments
    kept, rest = list[str](), iter(arguments)
    for argument in rest:
        flag, equals, part = argument.partition("=")
        if flag not in FLAGS:
            kept.append(argument)
            continue
        part = part if equals else next(rest, "")
        if part != "job":
            raise ConfigError.at(f"-m {flag}", part, "job: what all trials share, and what is searched")
        only_show.set(True)
    return kept
