"""One history: a few orders, two workers that die and are replaced, faults from a seed, then calm, then the verdict."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import redis

from antrean.orders import ids, keys
from antrean.orders.balance import BalanceWatch
from antrean.orders.commit import GroupCommit
from antrean.orders.entropy import ALPHABET
from antrean.orders.fulfil import Fulfiller
from antrean.orders.model import NewOrder, Order, Placement, StoreUnavailable
from antrean.orders.record import whole
from antrean.orders.resolve import Resolver
from antrean.orders.scripts import SOURCES, Scripts
from antrean.orders.states import State
from antrean.orders.store import OrderStore
from antrean.orders.submitting import Limits
from antrean.provider.errors import ProviderError
from antrean.workers.dispatcher import Capacity, Dispatcher, Room
from antrean.workers.sweeper import Sweeper
from orders_support import VAULT, new_order
from upstream_model import MemoryDocuments, verify

from . import clock
from .faulty import Chance, FaultyRedis, Killed
from .upstream import SimulatedUpstream

START_MS = 1_800_000_000_000
FAULTS_UNTIL_S = 15.0
CALM_UNTIL_S = 3000.0
SETTLE_S = 10.0


@dataclass
class Verdict:
    """What a history came to. `wrong` is empty where every promise held."""

    seed: int
    completed: int = 0
    attention: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)


class _Fixed:
    async def capacity(self) -> Capacity:
        return Capacity(Room(4), Room(2))


def load_scripts(client: redis.Redis) -> None:
    """Before the first history: loading one on the way would be a step that only the first history has."""
    for text in SOURCES.values():
        client.script_load(text)


class History:
    """Everything of one seed. `client` is a blocking client of a Valkey that is ours alone, with the scripts loaded."""

    def __init__(self, seed: int, client: redis.Redis) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        self.client = client
        client.flushdb()
        client.hset(keys.RING, VAULT.primary, b"")
        self.chance = Chance.draw(self.rng, FAULTS_UNTIL_S)
        self.upstream = SimulatedUpstream(
            client, self.chance, self.rng.choice((0.0, 2.0, SETTLE_S * 0.9)), self._state
        )
        self.documents = MemoryDocuments()
        self.rq: list[str] = []
        self.accepted: dict[str, NewOrder] = {}
        self.workers_started = 0
        #: How far the server's clock was set.
        self.set_by_ms = 0

    def _state(self, order_id: str) -> str | None:
        raw = self.client.hget(keys.ORDER + order_id, "state")
        return raw.decode() if isinstance(raw, bytes) else None

    def _store(self, actor: str) -> tuple[OrderStore, FaultyRedis]:
        faulty = FaultyRedis(self.client, self.chance, actor)
        scripts = Scripts(faulty, self._now_ms)  # type: ignore[arg-type] # of a client it has what scripts use
        commit = GroupCommit(scripts, "submit")
        return OrderStore(scripts, commit, Limits(), self._names, VAULT), faulty

    def _names(self) -> ids.Names:
        return ids.new_names(self._now_ms(), self._letters)

    def _letters(self, count: int) -> bytes:
        return "".join(self.rng.choices(ALPHABET, k=count)).encode()

    def _now_ms(self) -> int:
        return START_MS + self.set_by_ms + int(asyncio.get_running_loop().time() * 1000)

    # ---- actors

    async def _terminal(self, new: NewOrder, delay_s: float) -> None:
        """A counter: sends, and sends again with the same key until it gets an answer."""
        await asyncio.sleep(delay_s)
        store, _ = self._store("gateway")
        while True:
            try:
                order, *_ = await store.submit(new)
            except StoreUnavailable:
                await asyncio.sleep(self.rng.uniform(0.1, 2))
                continue
            known = self.accepted.setdefault(order.id, new)
            assert known.idempotency_key == new.idempotency_key
            return

    async def _worker(self) -> None:
        """A worker process and whatever replaces it when it dies."""
        while True:
            self.workers_started += 1
            life = asyncio.create_task(self._worker_life(f"w{self.workers_started}"))
            try:
                await life
            except Killed:
                await asyncio.sleep(self.rng.uniform(0.1, 3))

    async def _worker_life(self, name: str) -> None:
        store, faulty = self._store(name)
        fulfiller = Fulfiller(store, self.upstream, self.documents, verify, name, self.rng)
        turns: list[asyncio.Task[object]] = []  # a set's order is not the seed's

        async def beat() -> None:
            while True:
                with contextlib.suppress(StoreUnavailable):
                    await store.beat(name)
                await asyncio.sleep(1.5)

        beating = asyncio.create_task(beat())
        try:
            while True:
                await asyncio.sleep(0.2)
                for task in [t for t in (*turns, beating) if t.done()]:
                    if task in turns:
                        turns.remove(task)
                    task.result()  # a kill in one task is the death of the whole process
                if asyncio.get_running_loop().time() < faulty.paused_until_s:
                    continue
                while self.rq and len(turns) < 4:
                    turns.append(asyncio.create_task(self._turn(fulfiller, self.rq.pop(0))))
        finally:
            for task in (*turns, beating, *fulfiller._late):
                task.cancel()
            await asyncio.gather(*turns, beating, *fulfiller._late, return_exceptions=True)

    @staticmethod
    async def _turn(fulfiller: Fulfiller, order_id: str) -> object:
        try:
            return await fulfiller.run(order_id)
        except StoreUnavailable:
            return None

    async def _keeper(self) -> None:
        store, _ = self._store("keeper")
        resolver = Resolver(store, self.upstream, SETTLE_S, asyncio.get_running_loop().time)
        steps = [
            (Dispatcher(store, _Fixed(), self._enqueue).run_once, 0.4),
            (Sweeper(store, self._jobs, 300_000).run_once, 2.0),
            (resolver.run_once, 1.0),
            (BalanceWatch(store, self.upstream, resolver).run_once, 10.0),
        ]

        async def loop(step: Callable[[], Awaitable[bool]], every_s: float) -> None:
            while True:
                with contextlib.suppress(StoreUnavailable, ProviderError):
                    await step()
                await asyncio.sleep(every_s)

        await asyncio.gather(*(loop(step, every_s) for step, every_s in steps))

    async def _clock(self) -> None:
        """Somebody sets the server's clock, by up to an hour, either way."""
        while True:
            await asyncio.sleep(self.rng.uniform(1, 5))
            if self.chance.strikes("clock_set"):
                self.set_by_ms += int(self.rng.choice((-1, 1)) * self.rng.uniform(10_000, 3_600_000))

    async def _enqueue(self, order_ids: list[str]) -> None:
        for order_id in order_ids:
            if self.chance.strikes("job_lost"):
                continue
            self.rq.append(order_id)
            if self.chance.strikes("job_doubled"):
                self.rq.append(order_id)

    async def _jobs(self) -> list[str]:
        return [f"{order_id}-x" for order_id in self.rq]

    # ---- the run

    def _orders(self) -> list[NewOrder]:
        orders = []
        for n in range(self.rng.randint(2, 5)):
            office = f"OFC-{self.rng.randint(1, 2)}"
            new = new_order(office=office, idempotency_key=f"{self.seed}-{n}")
            if self.rng.random() < 0.4:
                document_id = f"doc{n}"
                self.client.hset(keys.DOCUMENT + document_id, "office", office)
                self.documents.kept[f"upload {document_id}"] = b"%PDF"
                new = new_order(
                    office=office,
                    idempotency_key=f"{self.seed}-{n}",
                    kind="affix",
                    document_id=document_id,
                    placement=Placement(1, 10, 10, 90, 90),
                )
            orders.append(new)
        return orders

    async def _run(self) -> Verdict:
        orders = self._orders()
        background = [
            asyncio.create_task(a) for a in (self._worker(), self._worker(), self._keeper(), self._clock())
        ]
        terminals = [asyncio.create_task(self._terminal(o, self.rng.uniform(0, 20))) for o in orders]
        await asyncio.gather(*terminals)
        loop = asyncio.get_running_loop()
        while loop.time() < CALM_UNTIL_S:
            await asyncio.sleep(2)
            for task in background:
                if task.done():
                    task.result()
            states = [self._state(o) for o in self.accepted]
            settled = all(s in ("completed", "attention") for s in states)
            if settled and loop.time() > FAULTS_UNTIL_S:
                break
        for task in background:
            task.cancel()
        await asyncio.gather(*background, return_exceptions=True)
        return self._judge(len(orders))

    def run(self) -> Verdict:
        """Play the history. The same seed plays the same history."""
        return clock.run(self._run())

    def _judge(self, submitted: int) -> Verdict:
        verdict = Verdict(self.seed, faults=self.chance.struck)
        records = {
            o: Order.from_hash(whole(self.client.hgetall(keys.ORDER + o), o))  # type: ignore[arg-type]
            for o in self.accepted
        }
        verdict.completed = sum(r.state is State.COMPLETED for r in records.values())
        verdict.attention = sum(r.state is State.ATTENTION for r in records.values())
        wrong = verdict.wrong
        if len(records) != submitted:
            wrong.append(f"{submitted} submitted, {len(records)} accepted")
        if self.client.zcard(keys.INDEX_ALL) != submitted:
            wrong.append("an order was accepted twice")
        for record in records.values():
            if record.state not in (State.COMPLETED, State.ATTENTION):
                wrong.append(f"{record.id} is stuck in {record.state}")
            if record.state is State.COMPLETED and not record.serial_number:
                wrong.append(f"{record.id} is completed without an SN")
        if self.upstream.doubled:
            wrong.append(f"bought twice: {self.upstream.doubled}")
        if self.upstream.without_intent:
            wrong.append(f"generate without intent: {self.upstream.without_intent}")
        books = {*self.client.hkeys(keys.SERIAL_OWNER), *self.client.hkeys(keys.POOL)}
        sold = {s.serial_number.encode() for s in self.upstream.sold}
        unsettled = {
            s.serial_number.encode()
            for s in self.upstream.sold
            if records[s.file.removesuffix(".pdf")].state is State.ATTENTION
        }
        if books - sold or (sold - books) - unsettled:
            wrong.append(f"SNs sold {len(sold)}, on the books {len(books)}")
        serials = [r.serial_number for r in records.values() if r.state is State.COMPLETED]
        if len(set(serials)) != len(serials):
            wrong.append("an SN was given to two orders")
        totals = {k.decode(): int(v) for k, v in self.client.hgetall(keys.LEDGER_TOTALS).items()}  # type: ignore[union-attr]
        parts = {a: totals.get(a, 0) for a in ("held", "bought_unused", "stamped", "refunded")}
        if totals.get("paid", 0) != sum(parts.values()) or min(parts.values()) < 0:
            wrong.append(f"ledger {totals}")
        if totals.get("paid", 0) != 10_000 * submitted:
            wrong.append(f"paid {totals.get('paid')} for {submitted} orders")
        done = [r for r in records.values() if r.state is State.COMPLETED]
        if parts["stamped"] != 10_000 * sum(r.kind == "affix" for r in done):
            wrong.append(f"stamped {parts['stamped']}")
        return verdict
