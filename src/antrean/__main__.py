"""The `antrean` command as a program, also by `python -m antrean`."""

from __future__ import annotations

import os

#: What a shell says of a process that SIGINT ended.
EXIT_INTERRUPTED = 130

try:
    import atexit
    import sys
    from typing import NoReturn

    from antrean.cli import main
except KeyboardInterrupt:
    # Nothing has begun, and click, which takes a Ctrl-C later on, is not here yet.
    os._exit(EXIT_INTERRUPTED)

#: What Python itself ends with where its last output can not be written.
EXIT_UNWRITTEN = 120


def run() -> NoReturn:
    """Do the command and leave. An error that nobody took comes with its traceback, as everywhere."""
    code: object = 0
    try:
        main(prog_name="antrean")
    except SystemExit as end:
        code = end.code
    except KeyboardInterrupt:
        code = EXIT_INTERRUPTED
    leave(code)


def leave(code: object) -> NoReturn:
    """End the process with this exit code, without taking the interpreter apart.

    A thread of the document store's library may be about to take the interpreter's lock, to throw away what it has
    handed over. Where the interpreter is gone by then the thread is ended, and with it, by an abort, the process: on
    a busy machine about one command in ten that had looked into the archive ended with 134.
    """
    if code is not None and not isinstance(code, int):
        print(code, file=sys.stderr)
        code = 1
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        if stream is None:  # it was closed when we were started
            continue
        try:
            stream.flush()
        except BrokenPipeError:
            continue
        except (OSError, ValueError):
            code = code or EXIT_UNWRITTEN
    os._exit(int(code or 0))


if __name__ == "__main__":
    run()
