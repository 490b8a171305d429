"""Counts of gateways that share a port, in files that prometheus_client maps into memory.

Each gateway writes files of its own, named after its number among them and not after its process, so that a successor
goes on where it stopped; the gateway that is asked for `/metrics` reads the files of all.
"""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from prometheus_client import CollectorRegistry, values
from prometheus_client.multiprocess import MultiProcessCollector

#: The library's own name for the folder.
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
FOLDER_NAME = "counts"
#: A file's size, in bytes: some times what all routes with all their answers take.
FILE_BYTES = 1024 * 1024
_KINDS = ("counter", "histogram", "gauge_livesum")


def numbers_of(gateways: int) -> range:
    """The numbers of so many gateways on one port."""
    return range(1, gateways + 1)


def environment(data_dir: Path) -> dict[str, str]:
    """What tells a gateway where the files are."""
    return {FOLDER_VARIABLE: str(data_dir.resolve() / FOLDER_NAME)}


def make_room(data_dir: Path, numbers: range) -> None:
    """An empty folder for these gateways. Raises OSError.

    Its blocks are taken now: on a full disk, a page without one kills the process that writes to it (SIGBUS).
    """
    folder = data_dir / FOLDER_NAME
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    for number in numbers:
        for kind in _KINDS:
            with (folder / f"{kind}_{number}.db").open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, FILE_BYTES)


def count_as(number: int) -> None:
    """Count in the files of this number from now on; to be called before anything is counted. Raises OSError."""
    # Where somebody cleared the folder away, a successor begins its counts anew, but it does begin.
    Path(os.environ[FOLDER_VARIABLE]).mkdir(mode=0o700, exist_ok=True)
    values.ValueClass = values.MultiProcessValue(lambda: number)  # type: ignore[no-untyped-call]


def counts_of_all() -> CollectorRegistry | None:
    """What all of them have counted; None in a gateway that has its port for itself."""
    if FOLDER_VARIABLE not in os.environ:
        return None
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return registry
