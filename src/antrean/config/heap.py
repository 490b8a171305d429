"""Keeps the garbage collector from looking again and again at what a process has built at its start."""

from __future__ import annotations

import gc

#: Objects made before the youngest are looked at. A request makes hundreds, and frees nearly all of them at once.
YOUNG_OBJECTS = 20_000


def settle_heap() -> None:
    """To be called once, when all is built. A full collection after that looks at what came later only.

    With the modules of a gateway one takes 40 ms and more, in which nobody is answered.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 20)
