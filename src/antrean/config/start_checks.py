"""What `antrean up` tries before it starts anything: a folder that can be written, ports that are free."""

from __future__ import annotations

import errno
import socket
import tempfile
from pathlib import Path

#: What is wrong with the disk and not with the choice of the folder, and what to do about it.
MENDED_IN_PLACE = {
    errno.ENOSPC: "Free space there.",
    errno.EDQUOT: "Free space there, or raise the quota.",
    errno.EROFS: "Mount it writable, or name it in ReadWritePaths= of the systemd unit.",
}
_STAY = (
    "Leave ANTREAN_DATA_DIR as it is where orders were accepted: they are in this folder, "
    "and with an empty one each that is repeated is bought a second time."
)


class StartError(Exception):
    """`up` can not start. The message is one line that says what to do."""


def make_writable(data_dir: Path) -> None:
    """Make the data dir and write a byte in it. Raises StartError where that does not work."""
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=data_dir) as probe:
            probe.write(b"\0")
    except OSError as error:
        advice = "Set ANTREAN_DATA_DIR to a folder of yours."
        if error.errno in MENDED_IN_PLACE:
            advice = f"{MENDED_IN_PLACE[error.errno]} {_STAY}"
        elif isinstance(error, PermissionError):
            # Another folder is right at a first start alone. Later the wrong user starts it: who is not the service's.
            advice = f"At a first start set ANTREAN_DATA_DIR to a folder of yours; later start as its owner. {_STAY}"
        raise StartError(
            f"The data folder {data_dir.absolute()} can not be written ({error.strerror}). {advice}"
        ) from error


def check_port_free(host: str, port: int, setting: str, *, may_be_in_use: bool = False) -> None:
    """Bind the port for a moment. Raises StartError naming the setting to change.

    `may_be_in_use`: only whether the host is one of ours, and the port one that we may have.
    """
    try:
        _bound(host, port, setting).close()
    except _InUse:
        if not may_be_in_use:
            raise


def hold_port(host: str, port: int, setting: str) -> socket.socket:
    """Take the port until the socket is closed: whoever shares it (SO_REUSEPORT, as the same user) may listen there.

    So no other `up` can, which would share it unasked and get a part of the orders. Raises StartError as above.
    """
    held = _bound(host, port, setting)
    try:
        # Only who listens keeps out another that has bound the port at the same moment.
        held.listen(1)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        held.shutdown(socket.SHUT_RD)  # it listens no more, and stays bound
    except OSError as error:
        held.close()
        raise _in_use(host, port, setting) from error
    return held


class _InUse(StartError):
    """Somebody else listens there."""


def _in_use(host: str, port: int, setting: str) -> _InUse:
    return _InUse(
        f"Port {port} on {host} is in use. Stop what listens there, or set {setting} to another port."
    )


def _bound(host: str, port: int, setting: str) -> socket.socket:
    bound = None
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except (OSError, UnicodeError) as error:  # the latter of a name that DNS could not even be asked for
        if bound is not None:
            bound.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            raise _in_use(host, port, setting) from error
        why = error.strerror if isinstance(error, OSError) else "no name of a host"
        raise StartError(
            f"Port {port} on {host} can not be listened on ({why}). Set ANTREAN_HTTP_HOST to an address "
            f"of this machine, or {setting} to another port."
        ) from error
    return bound
