"""`antrean` as a next release that writes another layout: `python tests/next_release.py READS WRITES worker …`."""

from __future__ import annotations

import sys

from antrean.cli import main
from antrean.orders import layout

if __name__ == "__main__":
    # Before the scripts are read, as if it stood in the source.
    layout.READS, layout.WRITES = map(int, sys.argv[1:3])
    main(sys.argv[3:])
