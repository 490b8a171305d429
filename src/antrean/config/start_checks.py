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
        _bind(host, port, socket.SOCK_STREAM).close()
    except (OSError, UnicodeError) as error:
        if _is_in_use(error) and may_be_in_use:
            return
        raise StartError(_port_advice(error, f"Port {port} on {host}", setting)) from error


def hold_port(host: str, port: int, setting: str) -> socket.socket:
    """Keep the port from another `up` whose gateways share one, until the socket is closed. Raises StartError.

    Of two that begin together neither sees the other listen, and then SO_REUSEPORT would let the gateways of both have
    the port: one counter's orders would go to two queues. So the same port of UDP is bound, which
    is shared with nobody.
    """
    try:
        return _bind(host, port, socket.SOCK_DGRAM)
    except (OSError, UnicodeError) as error:
        raise StartError(
            _port_advice(error, f"Port {port} on {host} (UDP: one `antrean up` holds it)", setting)
        ) from error


def _bind(host: str, port: int, kind: socket.SocketKind) -> socket.socket:
    """Raises OSError, and UnicodeError for a name that DNS could not even be asked for."""
    family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=kind, flags=socket.AI_PASSIVE)[0]
    bound = socket.socket(family, kind, protocol)
    try:
        # What ended a moment ago is no hindrance. With UDP two could have the port by this.
        if kind == socket.SOCK_STREAM:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except OSError:
        bound.close()
        raise
    return bound


def _is_in_use(error: OSError | UnicodeError) -> bool:
    return isinstance(error, OSError) and error.errno == errno.EADDRINUSE


def _port_advice(error: OSError | UnicodeError, port: str, setting: str) -> str:
    if _is_in_use(error):
        return f"{port} is in use. Stop what listens there, or set {setting} to another port."
    why = error.strerror if isinstance(error, OSError) else "no name of a host"
    return (
        f"{port} can not be listened on ({why}). Set ANTREAN_HTTP_HOST to an address "
        f"of this machine, or {setting} to another port."
    )
