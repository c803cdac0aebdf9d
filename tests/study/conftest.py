"""Shared by the tests of a study on a server."""

from collections.abc import Iterator

import pytest
from serving import PostgresServer, postgres_server


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A PostgreSQL of the module's own."""
    if not PostgresServer.is_installed():
        pytest.skip("no PostgreSQL server on this machine")
    with postgres_server() as running:
        yield running
