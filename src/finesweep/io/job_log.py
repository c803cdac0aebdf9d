"""Keeps a log that cannot be written any more, as on a read-only disk, from flooding the terminal."""

import logging
import sys


def complain_once(handler: logging.Handler) -> None:
    """Has a handler that cannot write say so once, in one line.

    Logging itself prints two tracebacks for each message, which would bury the error that ends the run.
    """
    original, told = handler.handleError, False

    def handle(record: logging.LogRecord) -> None:
        nonlocal told
        error = sys.exception()
        if not isinstance(error, OSError):
            return original(record)
        if not told:
            where = getattr(handler, "baseFilename", "the log")
            print(f"{where}: messages are lost: {error.strerror or error}", file=sys.stderr)
        told = True

    handler.handleError = handle  # type: ignore[method-assign]
