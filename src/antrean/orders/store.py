"""The orders in Redis: one method a verb, each one atomic script. Codes become results or exceptions here."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from antrean.orders import ids, keys
from antrean.orders.account import AccountBooks
from antrean.orders.archive import Archive
from antrean.orders.asking import asked
from antrean.orders.codes import Code
from antrean.orders.commit import Durability, GroupCommit, run_on_disk
from antrean.orders.eta import SPAN_S
from antrean.orders.fairness import URGENT_MIN
from antrean.orders.lanes import Lanes
from antrean.orders.model import (
    ClaimLost,
    IllegalMove,
    NewOrder,
    Order,
    PurchasesHeld,
    StoreUnavailable,
    SubmitRefused,
)
from antrean.orders.personal import Personal
from antrean.orders.record import whole
from antrean.orders.score import AGE_BITS, EPOCH_MIN, score_minute
from antrean.orders.scripts import Arg, Scripts
from antrean.orders.situation import Situation
from antrean.orders.states import State
from antrean.orders.submitting import REFUSALS, Limits, submit_args
from antrean.orders.vault import Vault

#: Orders given a new deadline in one step.
POSTPONE_MAX = 500


class Accepted(NamedTuple):
    """A submission that was accepted. `replayed`: the order is that of an earlier, equal submission.

    `rank`: how many stood before it in its lane at that moment; None where it was replayed.
    """

    order: Order
    replayed: bool
    rank: int | None


@dataclass(frozen=True, slots=True)
class Swept:
    """What one sweep put back, as counts of orders."""

    expired: int
    restored: int
    due: int


@dataclass(frozen=True, slots=True)
class Claim:
    """An order that is ours to work on, with a fresh fencing token; `pool`: SNs that belong to no order."""

    order: Order
    pool: int


class OrderStore:
    """All reads and writes of orders.

    Every method raises StoreUnavailable when Redis does not answer; a write is then of unknown outcome, and
    is safe to call again with the same arguments: the scripts recognise a repetition by its `op`.
    """

    def __init__(
        self,
        scripts: Scripts,
        commit: GroupCommit,
        limits: Limits,
        new_names: Callable[[], ids.Names] | None = None,
        vault: Vault | None = None,
        archive: Archive | None = None,
        intents: Durability | None = None,
    ) -> None:
        """`vault` None: a store that neither accepts orders nor tells who pays, as the commands need it.

        `archive`: where orders that are not in Redis any more are looked up. `intents`: where the intent to buy must
        be before the request leaves. An intent that a failover forgets would be a stamp bought twice.
        """
        self.scripts = scripts
        self._redis = scripts.redis
        self._commit = commit
        self._limits = limits
        self._new_names = new_names or (lambda: ids.new_names(time.time_ns() // 1_000_000))
        self.personal = Personal(vault)
        self.lanes = Lanes(scripts)
        self.account = AccountBooks(scripts)
        self.archive = archive
        self._intents = intents or Durability()

    async def _run(self, name: str, *args: Arg) -> list[Any]:
        answer: list[Any] = await asked(self.scripts.run(name, *args))
        return answer

    async def _durably(self, name: str, *args: Arg) -> list[Any]:
        answer: list[Any] = await asked(run_on_disk(self.scripts, name, args, self._intents))
        return answer

    @property
    def durability(self) -> Durability:
        """How an accepted order is known to be on disk."""
        return self._commit.durability

    def sync_by(self, durability: Durability) -> None:
        """From now on the server syncs its file otherwise: orders accepted, and intents to buy, are waited for so."""
        self._commit.durability = self._intents = durability

    # ---- the terminal's side

    async def submit(self, new: NewOrder) -> Accepted:
        """Accept an order durably.

        Raises SubmitRefused where a rule forbids it, StoreUnavailable where durability cannot be had.
        """
        named = self._new_names()
        order_id, _, token = named
        masked, sealed = new.taxpayer.masked, self.personal.seal(order_id, new.taxpayer)
        digest = self.personal.vault.digest(new.fingerprint)
        args = submit_args(new, named, masked, sealed, digest, self.personal.vault.mark, self._limits)
        code, *rest = await self._commit.run((*args, ""))
        if code == Code.NO_PURCHASE and (serial := await self._archived_purchase(new)):
            code, *rest = await self._commit.run((*args, serial))
        if code in REFUSALS:
            raise SubmitRefused(*REFUSALS[Code(code)])
        if code == Code.REPLAYED:
            (first,) = rest
            replayed = await self.get(
                ids.unpacked(first) if len(first) == ids.PACKED_BYTES else first.decode()
            )
            if replayed is None:
                raise StoreUnavailable("the order of this key is neither here nor in the archive")
            return Accepted(replayed, True, None)
        *fresh, rank = rest
        return Accepted(Order.accepted(new, order_id, token, masked, sealed, fresh), False, rank)

    async def get(self, order_id: str) -> Order | None:
        """One order, or None."""
        raw = await asked(self._redis.hgetall(keys.ORDER + order_id))
        if raw:
            return Order.from_hash(whole(raw, order_id))
        return await self.archive.find(order_id) if self.archive else None

    async def _archived_purchase(self, new: NewOrder) -> str | None:
        """SN of the purchase that an affix names, where that is archived, completed and of the same office."""
        if self.archive is None or new.purchase_order_id is None:
            return None
        bought = await self.archive.find(new.purchase_order_id)
        if bought is None or bought.office != new.office or bought.kind != "purchase":
            return None
        return bought.serial_number if bought.state is State.COMPLETED else None

    async def by_ticket(self, token: str) -> Order | None:
        """The order that a ticket token stands for, or None where it is not in Redis."""
        order_id = await asked(self._redis.hget(keys.TICKETS, token))
        return await self.get(order_id.decode()) if order_id else None

    async def by_old_ticket(self, token: str) -> Order | None:
        """The archived order that a ticket token stands for, or None. This costs some ms, for any token."""
        return await self.archive.find_by_ticket(token) if self.archive else None

    async def cancel(self, order_id: str, note: str = "withdrawn", *, by_ops: bool = False) -> None:
        """Withdraw an order; `note` says who did. Raises IllegalMove once something was or may have been bought, or may
        be stamped: of that ops decide."""
        try:
            await self._step("cancel", order_id, note, int(by_ops))
        except IllegalMove as error:
            # One that was withdrawn before is in the archive: a repeat gets the answer that it got while it was here.
            if error.state is not State.CANCELLED:
                raise

    async def replay(self, order_id: str, decision: str, note: str) -> State:
        """Put an order that waits for a person back, as `replay.lua` says. Raises IllegalMove, SubmitRefused."""
        code, *rest = await self._run("replay", order_id, decision, note)
        if code == Code.POOL_EMPTY:
            raise SubmitRefused("pool-empty", "There is no serial number in the pool.")
        if code == Code.REFUNDED:
            raise IllegalMove("its money was given back", State.ATTENTION)
        if code == Code.UNFIT:
            raise IllegalMove(f"`{decision}` is no decision for this order", State.ATTENTION)
        if code == Code.SERIAL_TAKEN:
            raise IllegalMove("its serial number is used by another order", State.ATTENTION)
        if code != Code.OK:
            raise IllegalMove("only an order that waits for a person can be put back", None)
        return State(rest[0].decode())

    async def postpone(self, from_ms: int, until_ms: int, to_ms: int, office: str | None, note: str) -> int:
        """Move every open order due in [from_ms, until_ms) to the deadline `to_ms`; answers how many.

        Done in steps of POSTPONE_MAX, each atomic: a line of a million orders is not stopped for it.
        """
        offices = [office] if office else list((await self.situation()).offices)
        lanes = [keys.LANE_BUY + o for o in offices] + [keys.LANE_STAMP, keys.LANE_FETCH]
        others = [keys.DISPATCHED, keys.CLAIMS, keys.LATER, keys.UNKNOWN, keys.ATTENTION]
        low, high = score_minute(from_ms) << AGE_BITS, ((score_minute(until_ms - 1) + 1) << AGE_BITS) - 1
        moved = 0
        for place in lanes + others:
            # In a lane what was moved leaves its place, for one out of the range or for one where it is passed over.
            leaves = place in lanes
            passed, seen = 0, POSTPONE_MAX
            while seen == POSTPONE_MAX:
                _, step, seen = await self._run(
                    "postpone", place, from_ms, until_ms, to_ms, score_minute(to_ms), office or "", low, high,
                    passed, POSTPONE_MAX, note,
                )  # fmt: skip
                moved += step
                passed += seen - step if leaves else seen
        return moved

    async def completions(self, now_ms: int, buckets: int) -> list[int]:
        """Orders completed in each of the last `buckets` spans of SPAN_S seconds; the first span is still running."""
        span = now_ms // (SPAN_S * 1000)
        names = [f"{keys.DONE}{span - back}" for back in range(buckets)]
        return [int(n or 0) for n in await asked(self._redis.mget(names))]

    async def at_rank(self, office: str, rank: int) -> Order | None:
        """The order that is `rank`-th (from 0) of those of an office that wait to be bought, or None."""
        found = await asked(self._redis.zrange(keys.LANE_BUY + office, rank, rank))
        return await self.get(found[0].decode()) if found else None

    async def situation(self, *, offices: bool = True) -> Situation:
        """One look at lanes, counts and holds.

        Without the lanes of offices, weights and fairness it costs the same however many offices there are.
        """
        quiet = keys.WORKER_QUIET_MS, keys.WORKER_SILENT_MS
        return Situation.from_answer(await self._run("peek", URGENT_MIN - EPOCH_MIN, int(offices), *quiet))

    # ---- the worker's side

    async def claim(self, order_id: str, worker: str, op: str) -> Claim | None:
        """Try to become the only one who works on an order; None where it is not to be had just now."""
        code, *rest = await self._run("claim", order_id, worker, op)
        return Claim(_record(order_id, rest[1:]), rest[0]) if code == Code.OK else None

    async def begin(
        self,
        order: Order,
        op: str,
        target: State,
        note: str,
        calls: int,
        permit: tuple[str, str] | None = None,
    ) -> bool:
        """Note the intent to generate or to stamp. Raises ClaimLost, or PurchasesHeld: then nothing may be sent.

        `permit`: a sorted set and its member without which nothing is noted; False then.
        """
        args = (order.id, order.fence, op, target, note, calls, *(permit or ("", "")))
        code = (await self._durably("begin", *args))[0]
        if code == Code.NO_PERMIT:
            return False
        if code == Code.HELD:
            raise PurchasesHeld
        self._judge(code, "begin", order.id)
        return True

    @property
    def intents_wait(self) -> bool:
        """Whether an intent waits for the disk, or a replica, beyond the script's own answer."""
        return bool(self._intents.tail)

    async def take_from_pool(self, order: Order, op: str) -> str | None:
        """Give the order an SN that is ours already; None where the pool is empty."""
        code, *rest = await self._durably("pool", order.id, order.fence, op)
        if code == Code.POOL_EMPTY:
            return None
        self._judge(code, "pool", order.id)
        return str(rest[0].decode())

    async def bought(
        self, order: Order, op: str, serial_number: str, calls: int, picture: bytes = b""
    ) -> bool:
        """Record an SN that generate answered with, book it, and keep its picture (PNG) where there is one.

        False where it is the SN of another order: nothing is kept then.
        """
        args = (order.id, order.fence, op, serial_number, calls, "bought", picture)
        code = (await self._run("bought", *args))[0]
        if code == Code.SERIAL_TAKEN:
            return False
        self._judge(code, "bought", order.id)
        return True

    async def complete(self, order: Order, op: str, calls: int, sha256: str = "") -> None:
        """The results are stored: the order is done."""
        await self._fenced("complete", order, op, calls, sha256)

    async def release(
        self,
        order: Order,
        op: str,
        note: str,
        calls: int,
        wait_s: float = 0,
        forgiven: int = 0,
        stamped_perhaps: bool = True,
    ) -> None:
        """Give the claim up; the order takes its place in line again, not before `wait_s` seconds.

        `forgiven`: of the calls, those that do not count against the order; 0 leaves that number as it is.
        `stamped_perhaps`: False where the stamping that was begun, if any, was certainly not done.
        """
        wait_ms = int(wait_s * 1000)
        await self._fenced("release", order, op, note, calls, wait_ms, forgiven, int(stamped_perhaps))

    async def doubt(self, order: Order, op: str, note: str, calls: int) -> None:
        """Generate's outcome is not known: over to the resolver."""
        await self._fenced("doubt", order, op, note, calls)

    async def refuse(self, order: Order, op: str, verb: str, code: str, message: str, calls: int) -> None:
        """`reject` for good or `attend` by a person, with the reason."""
        await self._fenced("refuse", order, op, verb, code, message, calls)

    async def hold(self, reason: str, text: str, actor: str) -> bool:
        """Stop a kind of work and say why; False where that hold is on already."""
        return bool((await self._run("hold", reason, text, actor))[0] == Code.OK)

    async def unhold(self, reason: str, actor: str) -> bool:
        """Lift a hold; False where it was not on."""
        return bool((await self._run("unhold", reason, actor))[0] == Code.OK)

    async def found(
        self, order_id: str, serial_number: str, note: str, *, walk: bool = False, used: bool = False
    ) -> Code:
        """Take in an SN that is on the account: for its order, else for the pool.

        `walk`: it was seen in the account's list, where an order being bought just now may show early; STATE
        is then answered and nothing done. `used`: it was stamped already. MISSING: it is good for no other order. So is
        one whose order nobody knows, as after a restored backup: its citizen may have it in hand.
        """
        (code,) = await self._run("found", order_id, serial_number, note, int(walk), int(used), 0)
        if code != Code.MISSING or used or self.archive is None:
            return Code(code)
        try:
            archived = await self.archive.find(order_id)
        except StoreUnavailable:
            # To be asked again by a later walk; what else is on the list does not wait for it.
            return Code.STATE
        if archived is not None and (archived.serial_number or "").upper() != serial_number.upper():
            (code,) = await self._run("found", order_id, serial_number, note, int(walk), 0, 1)
        return Code(code)

    async def absent(self, order_id: str, unknown_ms: int, note: str) -> Code:
        """It is proven that nothing was bought for an order unknown since then: it takes its place in line again.

        STATE where it is not, or is unknown anew: then that was not what was judged, and nothing is done.
        """
        return Code((await self._run("settle_unknown", order_id, "absent", "", note, unknown_ms))[0])

    async def escalate(self, order_id: str, unknown_ms: int, code: str, evidence: str) -> Code:
        """It cannot be told whether it was bought: a person decides, by the evidence. STATE as for `absent`."""
        return Code((await self._run("settle_unknown", order_id, "escalate", code, evidence, unknown_ms))[0])

    async def unknowns(self, most: int) -> list[tuple[str, int]]:
        """Orders of unknown outcome, the longest known first, with the time (ms) since when."""
        rows = await asked(self._redis.zrange(keys.UNKNOWN, 0, most - 1, withscores=True))
        return [(order_id.decode(), int(since)) for order_id, since in rows]

    async def waiting_for_a_person(self, most: int) -> list[Order]:
        """Orders in attention, the longest first."""
        found = await asked(self._redis.zrange(keys.ATTENTION, 0, most - 1))
        orders = [await self.get(order_id.decode()) for order_id in found]
        return [order for order in orders if order is not None]

    # ---- the keeper's side

    async def lead(self, worker: str, lease_ms: int) -> bool:
        """Become or stay the one that runs the keeper loops."""
        return bool((await self._run("lead", worker, lease_ms))[0] == Code.OK)

    async def beat(self, worker: str) -> int:
        """A worker's sign of life; answers the server's time in ms."""
        return int((await self._run("beat", worker))[1])

    async def alive(self, now_ms: int) -> int:
        """How many workers gave a sign of life lately, at the server's time `now_ms`."""
        since_ms = now_ms - keys.WORKER_SILENT_MS
        return int(await asked(self._redis.zcount(keys.WORKERS, since_ms, "+inf")))

    async def dispatch(
        self, plan: Iterable[tuple[str, int]], fairness: dict[str, str] | None = None
    ) -> list[str]:
        """Take orders out of the lanes for their turn. `fairness`: its new state, None where that stays."""
        args: list[Arg] = [x for pair in plan for x in pair]
        if fairness is not None:
            args.append("state")
            args.extend(x for pair in fairness.items() for x in pair)
        _, *taken = await self._run("dispatch", *args)
        return [t.decode() for t in taken]

    async def sweep(
        self, *, lease_ms: int, claim_max_ms: int, dispatch_max_ms: int, most: int, jobs: Iterable[str]
    ) -> Swept:
        """Put back what lost its job, its worker or its claim."""
        _, expired, restored, due = await self._run(
            "sweep", lease_ms, claim_max_ms, dispatch_max_ms, most, *jobs
        )
        return Swept(expired, restored, due)

    # ----

    async def _fenced(self, name: str, order: Order, op: str, *args: Arg) -> list[Any]:
        answer = await self._run(name, order.id, order.fence, op, *args)
        self._judge(answer[0], name, order.id)
        return answer

    async def _step(self, name: str, order_id: str, *args: Arg) -> list[Any]:
        answer = await self._run(name, order_id, *args)
        if answer[0] in (Code.STATE, Code.MISSING):
            order = await self.get(order_id)
            raise IllegalMove(f"{name} is not possible now", order.state if order else None)
        self._judge(answer[0], name, order_id)
        return answer

    @staticmethod
    def _judge(code: int, name: str, order_id: str) -> None:
        if code not in (Code.OK, Code.ALREADY):
            raise ClaimLost(f"{name} of {order_id}: {Code(code).name.lower()}")


def _record(order_id: str, flat: list[bytes]) -> Order:
    return Order.from_hash(whole(dict(zip(flat[::2], flat[1::2], strict=True)), order_id))
