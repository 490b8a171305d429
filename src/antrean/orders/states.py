"""The order's state machine: every state, who moves it on, and every verb that may. One table, no I/O.

The Lua scripts get this table put in front of them by the loader, so a state's name and a legal move are
written down once, here. `tests/test_states.py` proves the table complete.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Where an order stands."""

    QUEUED = "queued"
    BUYING = "buying"
    UNKNOWN = "unknown"
    BOUGHT = "bought"
    STAMPING = "stamping"
    COMPLETED = "completed"
    REJECTED = "rejected"
    CANCELLED = "cancelled"
    ATTENTION = "attention"


class Mover(StrEnum):
    """Who moves an order out of a state."""

    WORKER = "worker"
    RESOLVER = "resolver"
    OPS = "ops"
    NOBODY = "nobody"


#: Who is bound to move an order on from each state. The sweeper and the terminal may help; these must.
NEXT_MOVER: dict[State, Mover] = {
    State.QUEUED: Mover.WORKER,
    State.BUYING: Mover.WORKER,
    State.UNKNOWN: Mover.RESOLVER,
    State.BOUGHT: Mover.WORKER,
    State.STAMPING: Mover.WORKER,
    State.COMPLETED: Mover.NOBODY,
    State.REJECTED: Mover.NOBODY,
    State.CANCELLED: Mover.NOBODY,
    State.ATTENTION: Mover.OPS,
}

TERMINAL = frozenset(s for s, mover in NEXT_MOVER.items() if mover is Mover.NOBODY)


@dataclass(frozen=True, slots=True)
class Move:
    """One legal step. `verb` names the script that does it; `fenced`: only the holder of the claim may."""

    verb: str
    source: State
    target: State
    fenced: bool
    why: str


_S = State

#: A claim itself moves no state: it makes a worker the only one who may take the fenced steps.
MOVES: tuple[Move, ...] = (
    Move("begin", _S.QUEUED, _S.BUYING, True, "the intent to generate is on disk before the request leaves"),
    Move("begin", _S.BUYING, _S.BUYING, True, "the same intent before a safe repetition"),
    Move("begin", _S.QUEUED, _S.STAMPING, True, "an affix that brought its own SN"),
    Move("begin", _S.BOUGHT, _S.STAMPING, True, "an affix whose SN is bought"),
    Move("begin", _S.STAMPING, _S.STAMPING, True, "stamping is repeatable"),
    Move("pool", _S.QUEUED, _S.BOUGHT, True, "an SN that is ours already is used before another is bought"),
    Move("bought", _S.BUYING, _S.BOUGHT, True, "generate answered with an SN"),
    Move("doubt", _S.BUYING, _S.UNKNOWN, True, "generate was sent and no answer could be read"),
    Move("reject", _S.BUYING, _S.REJECTED, True, "the upstream refused generate for good"),
    Move("reject", _S.STAMPING, _S.REJECTED, True, "it refused to stamp an SN that this order did not buy"),
    Move("complete", _S.BOUGHT, _S.COMPLETED, True, "SN and QR are there to fetch"),
    Move("complete", _S.STAMPING, _S.COMPLETED, True, "the stamped PDF is there to fetch"),
    Move("release", _S.QUEUED, _S.QUEUED, True, "nothing was sent"),
    Move("release", _S.BUYING, _S.QUEUED, True, "generate provably did not happen"),
    Move("release", _S.BOUGHT, _S.BOUGHT, True, "picture or stamp later, with the same SN"),
    Move("release", _S.STAMPING, _S.BOUGHT, True, "to be stamped later with the same SN"),
    Move("release", _S.STAMPING, _S.QUEUED, True, "the same for an affix that brought its own SN"),
    Move("attend", _S.QUEUED, _S.ATTENTION, True, "a person decides"),
    Move("attend", _S.BUYING, _S.ATTENTION, True, "a person decides"),
    Move("attend", _S.BOUGHT, _S.ATTENTION, True, "a person decides"),
    Move("attend", _S.STAMPING, _S.ATTENTION, True, "the SN is bought and can not be stamped"),
    Move("expire", _S.QUEUED, _S.QUEUED, False, "its worker is gone before anything was sent"),
    Move("expire", _S.BUYING, _S.UNKNOWN, False, "its worker is gone; generate may have been sent"),
    Move("expire", _S.BOUGHT, _S.BOUGHT, False, "its worker is gone between purchase and the next step"),
    Move("expire", _S.STAMPING, _S.BOUGHT, False, "its worker is gone; stamping is repeatable"),
    Move("expire", _S.STAMPING, _S.QUEUED, False, "the same for an affix that brought its own SN"),
    Move("found", _S.UNKNOWN, _S.BOUGHT, False, "the SN was found on the account, or the answer came late"),
    Move("found", _S.QUEUED, _S.BOUGHT, False, "the answer came after the order was put back"),
    Move("found", _S.ATTENTION, _S.BOUGHT, False, "the answer came after a person was called"),
    Move("absent", _S.UNKNOWN, _S.QUEUED, False, "provably not bought"),
    Move("escalate", _S.UNKNOWN, _S.ATTENTION, False, "it cannot be told whether it was bought"),
    Move("cancel", _S.QUEUED, _S.CANCELLED, False, "withdrawn before anything was bought"),
    Move("cancel", _S.ATTENTION, _S.CANCELLED, False, "an affix that brought its own SN is given up"),
    Move(
        "refund",
        _S.ATTENTION,
        _S.CANCELLED,
        False,
        "ops: the money is given back; an SN that it has stays its own",
    ),
    Move("replay", _S.ATTENTION, _S.QUEUED, False, "ops: nothing was bought, try again"),
    Move(
        "replay", _S.ATTENTION, _S.BOUGHT, False, "ops: go on with the SN it has, or with one from the pool"
    ),
    Move("replay", _S.ATTENTION, _S.UNKNOWN, False, "ops: ask the upstream once more"),
)


def allowed(verb: str, source: State, target: State) -> bool:
    """Whether the table has this step."""
    return any(m.verb == verb and m.source is source and m.target is target for m in MOVES)


def lua_names() -> dict[str, str]:
    """The states as the scripts write them (`S.QUEUED`), and what stands for each."""
    return {f"S.{s.name}": f'"{s}"' for s in State}


def lua_table(verbs: Collection[str]) -> str:
    """The moves of these verbs as Lua: `MOVES[verb][source][target] = fenced`; and `TERMINAL[state] = true`."""
    by_verb: dict[str, dict[str, dict[str, bool]]] = {}
    for m in MOVES:
        if m.verb in verbs:
            by_verb.setdefault(m.verb, {}).setdefault(m.source, {})[m.target] = m.fenced
    rows = ",".join(
        f"{verb}={{"
        + ",".join(
            f"{source}={{" + ",".join(f"{t}={str(f).lower()}" for t, f in targets.items()) + "}"
            for source, targets in sources.items()
        )
        + "}"
        for verb, sources in by_verb.items()
    )
    ends = ",".join(f"{s}=true" for s in sorted(TERMINAL))
    return f"local MOVES={{{rows}}}\nlocal TERMINAL={{{ends}}}\n"
