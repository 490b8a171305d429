"""The simulated upstream: UpstreamModel with time, faults and the rule that matters watched at every sale."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import redis

from antrean.orders.intent import INTENT_MAX_S
from antrean.provider.errors import OutcomeUnknown, Unavailable
from antrean.provider.protocol import CallMeter, Generated, GenerateRequest, SerialPage, StampRequest
from upstream_model import Sold, UpstreamModel

from .faulty import Chance

#: The permits that were granted, and how often one is.
PERMITS, GRANTED = "permits", 0.7


class SimulatedUpstream(UpstreamModel):
    """Answers take virtual time; the account's list lags; every fault of a call is drawn from the history's seed."""

    def __init__(
        self, client: redis.Redis, chance: Chance, lag_s: float, state_of: Callable[[str], str | None]
    ) -> None:
        super().__init__()
        self._client = client
        self._permits = 0
        self._chance = chance
        self._lag_s = lag_s
        self._state_of = state_of
        self.doubled: list[str] = []
        self.without_intent: list[str] = []
        self._shown_at: dict[str, float] = {}

    async def _latency(self) -> None:
        await asyncio.sleep(self._chance.rng.uniform(0.05, 0.4))

    def sell(self, file: str) -> Sold:
        order_id = file.removesuffix(".pdf")
        if self.of(order_id):
            self.doubled.append(order_id)
        sale = super().sell(file)
        self._shown_at[sale.serial_number] = asyncio.get_running_loop().time() + self._lag_s
        return sale

    async def generate(self, request: GenerateRequest, meter: CallMeter) -> Generated:
        asked_at = await self._let_through(meter)
        if self._chance.strikes("refused"):
            raise Unavailable("refused", sent=False)
        await meter.sending()
        self.calls["generate"] += 1
        state = self._state_of(request.order_ref)
        # Its worker may be taken for dead between the note and the call; that is no harm while the note is young.
        if state != "buying" and (state != "unknown" or self._now() - asked_at > INTENT_MAX_S):
            self.without_intent.append(f"{request.order_ref} ({state})")
        await self._latency()
        if self._chance.strikes("unavailable"):
            raise Unavailable("503", sent=True)
        if self._chance.strikes("generate_lost_before"):
            raise OutcomeUnknown("cut before the sale")
        sale = self.sell(f"{request.order_ref}.pdf")
        await self._latency()
        answer = Generated(sale.serial_number, b"\x89PNG")
        if self._chance.strikes("generate_lost_after"):
            raise OutcomeUnknown("cut after the sale")
        if self._chance.strikes("generate_late"):
            late: asyncio.Future[Generated] = asyncio.get_running_loop().create_future()
            loop = asyncio.get_running_loop()
            loop.call_later(self._chance.rng.uniform(0.1, 200), _answer, late, answer)
            raise OutcomeUnknown("no answer in time", late=late)
        return answer

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()

    async def _let_through(self, meter: CallMeter) -> float:
        """Permits as the breaker gives them: asked for until one is granted, the intent beside each. Answers when."""
        assert meter.intent is not None
        while True:
            self._permits += 1
            permit, granted = str(self._permits), self._chance.rng.random() < GRANTED
            if granted:
                self._client.zadd(PERMITS, {permit: 1})
            asked_at = self._now()
            meter.intent.with_permit(PERMITS, permit)
            await asyncio.sleep(self._chance.rng.uniform(0.0001, 0.01))
            if granted:
                return asked_at
            if self._chance.strikes("refused"):
                raise Unavailable("no slot came free in time", sent=False)

    async def stamp(self, request: StampRequest, meter: CallMeter) -> bytes:
        await self._latency()
        answer = await super().stamp(request, meter)
        await self._latency()
        if self._chance.strikes("stamp_lost"):
            raise OutcomeUnknown("cut")
        return answer

    async def serial_page(self, page: int, size: int) -> SerialPage:
        await self._latency()
        if self._chance.strikes("ask_fails"):
            raise Unavailable("503", sent=True)
        now = asyncio.get_running_loop().time()
        for sale in self.sold:
            sale.visible = now >= self._shown_at.get(sale.serial_number, 0)
        return await super().serial_page(page, size)

    async def balance(self) -> int:
        await self._latency()
        if self._chance.strikes("ask_fails"):
            raise Unavailable("503", sent=True)
        return await super().balance()


def _answer(late: asyncio.Future[Generated], answer: Generated) -> None:
    if not late.done():
        late.set_result(answer)
