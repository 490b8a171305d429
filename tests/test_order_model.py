"""A stateful model of one order: every verb at every state, by the holder and by a stale one, done once or repeated.

After each step the order stands where the table says, in exactly one waiting place, and the books add up.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
import uvloop
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from redis.asyncio import Redis

from antrean.orders import keys
from antrean.orders.books import PAID, PARTS
from antrean.orders.ledger import Ledger
from antrean.orders.model import ClaimLost, IllegalMove, Order, SubmitRefused
from antrean.orders.record import whole
from antrean.orders.scripts import Scripts
from antrean.orders.situation import Situation
from antrean.orders.states import MOVES, TERMINAL, State
from orders_support import World

#: Examples of 30 steps each in the test run.
EXAMPLES = int(os.environ.get("ANTREAN_TEST_MODEL_EXAMPLES", "300"))
SHARES = 4

WORKER_TARGETS = {(m.verb, m.source, m.target) for m in MOVES if m.fenced}


class OrderModel(RuleBasedStateMachine):
    """Runs verbs against one order and keeps what must be true of it beside them."""

    loop: asyncio.AbstractEventLoop
    redis: Redis
    examples = 0

    @initialize(affix=st.booleans())
    def accept(self, affix: bool) -> None:
        type(self).examples += 1
        self.do(self.redis.flushdb())
        self.world = World(self.redis)
        self.store = self.world.store
        self.do(self.world.beat("w1", "w2"))
        self.id = self.do(self.world.affix() if affix else self.world.submit()).id
        self.steps = 0
        self.bought: list[str] = []
        self.stale: list[Order] = []
        self.holder: Order | None = None
        #: As the last look after a step found it: nothing else moves it between two steps.
        self.seen = self.order()
        self.refunded = False
        self.places = [
            keys.LANE_BUY + self.seen.office, keys.LANE_FETCH, keys.LANE_STAMP, keys.LATER, keys.DISPATCHED,
            keys.CLAIMS, keys.UNKNOWN, keys.ATTENTION,
        ]  # fmt: skip

    def do(self, work: Any) -> Any:
        return self.loop.run_until_complete(work)

    def op(self) -> str:
        self.steps += 1
        return f"op{self.steps}"

    def order(self) -> Order:
        found: Order = self.do(self.world.order(self.id))
        return found

    def fenced(self, verb: str, target: State, call: Any) -> bool:
        """Run a fenced verb as the holder, twice under one name; it works just where the table allows it."""
        before = self.seen
        if self.holder is None:
            return False
        op = self.op()
        legal = (verb, before.state, target) in WORKER_TARGETS
        for _ in range(2):
            try:
                self.do(call(self.holder, op))
                assert legal, f"{verb} from {before.state} to {target} went through"
            except ClaimLost:
                assert not legal, f"{verb} from {before.state} to {target} was refused"
        after = self.order()
        assert after.state is (target if legal else before.state)
        assert after.version == before.version + legal
        return legal

    def dropped(self) -> None:
        """The holder's claim is gone; its token is stale from now on."""
        if self.holder is not None:
            self.stale.append(self.holder)
        self.holder = None

    # ---- a worker's verbs

    @rule()
    def claim(self) -> None:
        op = self.op()
        first, again = (self.do(self.store.claim(self.id, "w1", op)) for _ in range(2))
        order = self.seen
        waits = order.state in (State.QUEUED, State.BOUGHT)
        if first is None:
            assert self.holder is not None or not waits
            return
        assert self.holder is None
        assert again.order == first.order
        self.holder = first.order

    @rule()
    def begin_to_buy(self) -> None:
        if self.seen.serial_number is None:
            self.fenced("begin", State.BUYING, lambda o, op: self.store.begin(o, op, State.BUYING, "", 1))

    @rule()
    def begin_to_stamp(self) -> None:
        if self.seen.kind == "affix" and self.seen.serial_number:
            self.fenced("begin", State.STAMPING, lambda o, op: self.store.begin(o, op, State.STAMPING, "", 1))

    @rule()
    def buy(self) -> None:
        serial = f"SN{self.steps:06d}"
        if self.fenced("bought", State.BOUGHT, lambda o, op: self.store.bought(o, op, serial, 1)):
            self.bought.append(serial)
            if self.seen.kind == "affix":
                self.dropped()

    @rule()
    def doubt(self) -> None:
        if self.fenced("doubt", State.UNKNOWN, lambda o, op: self.store.doubt(o, op, "cut", 1)):
            self.dropped()

    @rule(verb=st.sampled_from(["reject", "attend"]))
    def refuse(self, verb: str) -> None:
        order = self.seen
        if verb == "reject" and order.owns_serial:
            return  # fulfil never rejects what is bought; only the table's step for given SNs exists
        target = State.REJECTED if verb == "reject" else State.ATTENTION
        if self.fenced(verb, target, lambda o, op: self.store.refuse(o, op, verb, "05", "no", 1)):
            self.dropped()

    @rule(wait_s=st.sampled_from([0.0, 2.0]))
    def release(self, wait_s: float) -> None:
        back = {State.BUYING: State.QUEUED, State.STAMPING: State.BOUGHT}
        target = back.get(self.seen.state, self.seen.state)
        if self.fenced("release", target, lambda o, op: self.store.release(o, op, "later", 1, wait_s)):
            self.dropped()

    @rule()
    def complete(self) -> None:
        order = self.seen
        if order.kind == "affix" and order.state is State.BOUGHT:
            return  # fulfil stamps an affix before it completes it
        if self.fenced("complete", State.COMPLETED, lambda o, op: self.store.complete(o, op, 1)):
            self.dropped()

    @rule(data=st.data())
    def a_stale_token_does_nothing(self, data: st.DataObject) -> None:
        if not self.stale:
            return
        old = data.draw(st.sampled_from(self.stale))
        before = self.seen
        op = self.op()
        calls = [
            lambda: self.store.begin(old, op, State.BUYING, "", 1),
            lambda: self.store.bought(old, op, "STALE", 1),
            lambda: self.store.doubt(old, op, "", 1),
            lambda: self.store.complete(old, op, 1),
            lambda: self.store.release(old, op, "x", 1),
            lambda: self.store.refuse(old, op, "attend", "1", "", 1),
        ]
        with pytest.raises(ClaimLost):
            self.do(data.draw(st.sampled_from(calls))())
        assert self.order() == before

    # ---- everybody else's verbs

    @rule(alive=st.booleans())
    def time_passes_and_the_sweeper_looks(self, alive: bool) -> None:
        before = self.seen
        self.world.now_ms += 10_000
        if alive:
            self.do(self.world.beat("w1"))
        self.do(self.world.sweep())
        after = self.order()
        if self.holder is None or alive:
            assert after.state is before.state
            return
        expected = {State.BUYING: State.UNKNOWN, State.STAMPING: State.BOUGHT}
        assert after.state is expected.get(before.state, before.state)
        self.dropped()
        self.do(self.world.beat("w1"))

    @rule()
    def found(self) -> None:
        before = self.seen
        serial = f"LATE{self.steps:06d}"
        self.steps += 1
        self.do(self.store.found(self.id, serial, "late"))
        after = self.order()
        wanted = before.serial_number is None and self.holder is None
        if wanted and before.state in (State.UNKNOWN, State.QUEUED, State.ATTENTION):
            assert (after.state, after.serial_number) == (State.BOUGHT, serial)
            self.bought.append(serial)
        else:
            assert after == before
            assert self.do(self.redis.hexists(keys.POOL, serial))
            self.do(self.redis.hdel(keys.POOL, serial))

    @rule(absent=st.booleans())
    def settle(self, absent: bool) -> None:
        before = self.seen
        since = int(self.do(self.redis.zscore(keys.UNKNOWN, self.id)) or 0)
        call = (
            self.store.absent(self.id, since, "no")
            if absent
            else self.store.escalate(self.id, since, "outcome-unknown", "?")
        )
        self.do(call)
        after = self.order()
        if before.state is State.UNKNOWN:
            assert after.state is (State.QUEUED if absent else State.ATTENTION)
        else:
            assert after == before

    @rule()
    def cancel(self) -> None:
        before = self.seen
        try:
            self.do(self.store.cancel(self.id))
            assert before.state in (State.QUEUED, State.CANCELLED)
            assert self.order().state is State.CANCELLED
            self.dropped()
        except IllegalMove:
            assert before.state not in (State.QUEUED, State.CANCELLED)

    @rule(decision=st.sampled_from(["auto", "ask", "not_bought", "new_serial"]))
    def replay(self, decision: str) -> None:
        before = self.seen
        fits = decision in ("auto", *before.decisions)
        try:
            state = self.do(self.store.replay(self.id, decision, "ops"))
            assert before.state is State.ATTENTION
            assert fits
            assert state in (State.QUEUED, State.BOUGHT, State.UNKNOWN)
            assert (state is State.BOUGHT) == (before.serial_number is not None)
        except (IllegalMove, SubmitRefused):
            assert before.state is not State.ATTENTION or not fits or before.serial_number or self.refunded

    @rule()
    def refund(self) -> None:
        before = self.seen
        try:
            self.do(Ledger(self.store).refund(self.id, "ops"))
            assert before.state in (State.ATTENTION, State.REJECTED)
            assert not self.refunded
        except IllegalMove:
            assert self.refunded or before.state not in (State.ATTENTION, State.REJECTED)

    # ---- what must hold after every step

    @invariant()
    def it_waits_in_exactly_one_place_and_the_books_and_the_counts_agree(self) -> None:
        if not hasattr(self, "id"):
            return
        peek, order, totals, *scores = self.do(
            self.world.scripts.run_many(
                "peek",
                [(0, 1, keys.WORKER_QUIET_MS, keys.WORKER_SILENT_MS)],
                ("HGETALL", keys.ORDER + self.id),
                ("HGETALL", keys.LEDGER_TOTALS),
                *(("ZSCORE", place, self.id) for place in self.places),
            )
        )
        self.seen, self.refunded = Order.from_hash(whole(order, self.id)), b"refunded" in order
        self.places_are_right([p for p, score in zip(self.places, scores, strict=True) if score is not None])
        self.books_agree({account.decode(): int(idr) for account, idr in totals.items()})
        situation = Situation.from_answer(peek)
        assert {s: n for s, n in situation.by_state.items() if n} == {self.seen.state: 1}
        assert situation.open == (self.seen.state not in TERMINAL)

    def places_are_right(self, found: list[str]) -> None:
        order = self.seen
        if order.state in TERMINAL:
            assert found == []
        elif self.holder is not None:
            assert found == [keys.CLAIMS]
            assert order.owner == "w1"
        elif order.state is State.UNKNOWN:
            assert found == [keys.UNKNOWN]
        elif order.state is State.ATTENTION:
            assert found == [keys.ATTENTION]
        else:
            assert order.state in (State.QUEUED, State.BOUGHT)
            assert len(found) == 1
            assert found[0] in self.places[:4]

    def books_agree(self, totals: dict[str, int]) -> None:
        order = self.seen
        assert totals[PAID] == 10_000 == sum(totals.get(part, 0) for part in PARTS)
        assert min(totals.values()) >= 0
        assert len(self.bought) <= 1 or order.state is State.ATTENTION
        if order.state is State.COMPLETED:
            assert totals["stamped" if order.kind == "affix" else "bought_unused"] == 10_000
        if order.owns_serial and not self.refunded and order.state is not State.COMPLETED:
            assert totals["bought_unused"] == 10_000


@pytest.mark.parametrize("share", range(SHARES))
def test_every_verb_at_every_state_does_what_the_table_says(quick_valkey_url: str, share: int) -> None:
    class Model(OrderModel):
        examples = 0

    if settings().derandomize:
        # In CI: the same examples each time, but each share its own.
        seed(share)(Model)
    Model.loop = uvloop.new_event_loop()
    Model.redis = Redis.from_url(quick_valkey_url, protocol=2)
    # What is asked in one write with other commands is asked by its digest alone.
    Model.loop.run_until_complete(Scripts(Model.redis).load())
    run_state_machine_as_test(
        Model,
        settings=settings(
            max_examples=EXAMPLES // SHARES,
            stateful_step_count=30,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    Model.loop.run_until_complete(Model.redis.aclose())
    Model.loop.close()
    assert Model.examples >= EXAMPLES // SHARES
