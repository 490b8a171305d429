"""The pictures of docs/concepts.md, made from the state table. Run this file to write them anew."""

from __future__ import annotations

import re
from pathlib import Path

from antrean.orders.states import MOVES, NEXT_MOVER, TERMINAL, Move, State

PAGE = Path(__file__).parent.parent / "docs" / "concepts.md"
_BLOCK = re.compile(r"<!-- (states|sequence: [a-z ]+) -->\n.*?<!-- /(states|sequence) -->", re.DOTALL)
#: Who does what, and at whom it is aimed, for verbs that speak to the upstream on their way.
_ASKS = {
    "begin": "generate",
    "found": "list of serial numbers",
    "absent": "list of serial numbers",
    "escalate": "list and balance",
}
_ACTORS = {
    "expire": "sweeper",
    "found": "resolver",
    "absent": "resolver",
    "escalate": "resolver",
    "replay": "ops",
}


def state_diagram() -> str:
    """All states and moves, as Mermaid."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.QUEUED}"]
    verbs: dict[tuple[State, State], list[str]] = {}
    for move in MOVES:
        if move.source is not move.target:
            verbs.setdefault((move.source, move.target), []).append(move.verb)
    lines += [f"    {source} --> {target}: {', '.join(names)}" for (source, target), names in verbs.items()]
    lines += [f"    {state} --> [*]" for state in State if state in TERMINAL]
    lines += [
        f"    note right of {state}: {mover}" for state, mover in NEXT_MOVER.items() if state not in TERMINAL
    ]
    return "\n".join(lines)


def path(verbs: list[str], start: State = State.QUEUED) -> list[Move]:
    """The moves of these verbs, one after the other. Raises StopIteration where the table has no such way."""
    state, moves = start, []
    for verb in verbs:
        moves.append(next(m for m in MOVES if m.verb == verb and m.source is state and m.target is not state))
        state = moves[-1].target
    return moves


def sequence(verbs: list[str]) -> str:
    """A way through the table, as Mermaid."""
    lines = [
        "sequenceDiagram",
        "    participant who as worker, resolver, ops",
        "    participant R as Redis",
        "    participant U as upstream",
    ]
    for move in path(verbs):
        actor = _ACTORS.get(move.verb, "worker")
        answered = move.verb in ("found", "absent", "escalate")
        if answered:
            lines.append(f"    who->>U: {actor}: {_ASKS[move.verb]}")
            lines.append("    U-->>who: answer")
        lines.append(f"    who->>R: {actor}: {move.verb} ({move.why})")
        lines.append(f"    Note over R: {move.source} → {move.target}")
        if move.verb in _ASKS and not answered:
            lines.append(f"    who->>U: {_ASKS[move.verb]}")
    return "\n".join(lines)


def page(text: str) -> str:
    """The page with its pictures as the table has them now."""

    def block(found: re.Match[str]) -> str:
        kind, _, verbs = found[1].partition(": ")
        picture = state_diagram() if kind == "states" else sequence(verbs.split())
        return f"<!-- {found[1]} -->\n```mermaid\n{picture}\n```\n<!-- /{kind} -->"

    return _BLOCK.sub(block, text)


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
