"""A real PgBouncer on loopback, in front of a test's PostgreSQL."""

import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psycopg
from serving import PostgresServer, free_port


def is_installed() -> bool:
    return _program() is not None


def _program() -> str | None:
    return shutil.which("pgbouncer") or shutil.which("pgbouncer", path="/usr/sbin")


@contextmanager
def bouncer(server: PostgresServer, pool: int) -> Iterator[str]:
    """The address of a PgBouncer that shares `pool` connections to the server, a transaction at a time."""
    folder, port = server.folder / f"bouncer-{pool}", free_port()
    folder.mkdir()
    (folder / "users").write_text('"sweeper" ""\n')
    (folder / "pgbouncer.ini").write_text(
        "[databases]\n"
        f"postgres = host=127.0.0.1 port={server.port} dbname=postgres user=sweeper\n"
        "[pgbouncer]\n"
        f"listen_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\nauth_type = any\n"
        f"auth_file = {folder}/users\npool_mode = transaction\ndefault_pool_size = {pool}\n"
        "max_client_conn = 2000\n"
    )
    if server.user:
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, server.user["user"])
    with (folder / "log").open("w") as log:
        command = [str(_program()), str(folder / "pgbouncer.ini")]
        process = subprocess.Popen(command, stdout=log, stderr=log, **server.user)  # type: ignore[call-overload]
    try:
        url = f"postgresql://sweeper@127.0.0.1:{port}/postgres"
        _await(url)
        yield url
    finally:
        process.kill()
        process.wait()


def _await(url: str) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(url, prepare_threshold=None).close()
            return
        except psycopg.OperationalError:
            assert time.monotonic() < deadline, "PgBouncer never answered"
            time.sleep(0.1)
