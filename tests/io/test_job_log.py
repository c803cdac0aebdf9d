"""A log that cannot be written any more says so in one line, and ends nothing."""

import logging

import pytest

from finesweep.io.job_log import complain_once


class Full(logging.StreamHandler):  # type: ignore[type-arg]
    baseFilename = "train.log"

    def flush(self) -> None:
        raise OSError(30, "Read-only file system")


def test_a_log_that_cannot_be_written_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    with open("/dev/null", "w") as stream:
        handler = Full(stream)
        complain_once(handler)
        for _ in range(3):
            handler.handle(logging.LogRecord("a", logging.INFO, "a.py", 1, "message", (), None))
    assert capfd.readouterr().err == "train.log: messages are lost: Read-only file system\n"


def test_a_message_that_does_not_fit_its_arguments_is_reported_as_ever(
    capfd: pytest.CaptureFixture[str],
) -> None:
    handler = logging.StreamHandler()
    complain_once(handler)
    handler.handle(logging.LogRecord("a", logging.INFO, "a.py", 1, "%d", ("x",), None))
    assert "--- Logging error ---" in capfd.readouterr().err
