"""Fulfils one order: claim, buy, fetch the picture, stamp, complete. Decides by the provider's five errors alone.

    claim ─▶ begin (intent on disk) ─▶ generate ─▶ bought ─▶ picture ─▶ complete
                                  └─▶ stamp ─▶ verify ─▶ complete

Writing a result of the upstream is repeated until Redis has it (`turn_ends.py`). What the worker can not write any
more, the resolver finds.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import Protocol

import structlog

from antrean.orders.holding import QUOTA
from antrean.orders.insist import insist
from antrean.orders.intent import Intent
from antrean.orders.model import ClaimLost, Order, Placement, PurchasesHeld, StoreUnavailable, Taxpayer
from antrean.orders.pictures import PictureFiles, Pictures, beside
from antrean.orders.states import State
from antrean.orders.store import OrderStore
from antrean.orders.turn import Turn
from antrean.orders.turn_ends import RETRY_WAIT_S, Outcome, TurnEnds
from antrean.orders.vault import Unreadable
from antrean.provider.errors import (
    OutcomeUnknown,
    ProviderError,
    QuotaExhausted,
    Rejected,
    SerialUnusable,
    Unavailable,
)
from antrean.provider.protocol import Generated, GenerateRequest, Provider, StampRequest

log = structlog.get_logger(__name__)

#: How long a stamped PDF is held while the document store is away, in seconds. Then it is given up, and after a wait
#: the order is stamped again.
KEEP_MAX_S = 60.0
#: After this many stampings of unknown or unsound outcome an order is given to a person. Stampings that did not happen,
#: and trials of a half-open breaker, do not count: an outage must send no order to a person. Well above the number of
#: failures that opens a breaker (`ANTREAN_BREAKER_MIN_CALLS`), since a single order may have to produce them all.
STAMP_CALLS_MAX = 40
#: After this many calls for a picture that the upstream does not give, a person is called; and the longest wait between
#: two of them, in seconds. Together that is about five minutes.
PICTURE_CALLS_MAX = 10
PICTURE_WAIT_MAX_S = 60.0
#: A worker that can not decrypt an order puts it back for this long, in seconds: another worker may have the right
#: keys.
UNREADABLE_WAIT_S = 15.0


class Documents(PictureFiles, Protocol):
    """The document store, as far as fulfilling needs it. Raises OSError where it cannot be reached."""

    async def get_upload(self, document_id: str) -> bytes | None: ...
    async def put_stamped(self, order_id: str, pdf: bytes) -> None: ...


#: Checks a stamped PDF against the original; answers its SHA-256, raises ValueError where it is not in order.
Verify = Callable[[bytes, bytes, int], Awaitable[str]]


class Fulfiller:
    """Does the turns of orders for one worker. `worker` names it in claims and must be unique to this process."""

    def __init__(
        self,
        store: OrderStore,
        provider: Provider,
        documents: Documents,
        verify: Verify,
        worker: str,
        rng: random.Random | None = None,
    ) -> None:
        self._store = store
        self._provider = provider
        self._documents = documents
        self._pictures = Pictures(store.scripts, documents)
        self._verify = verify
        self._worker = worker
        self._rng = rng or random.Random()  # noqa: S311 - jitter, no secret
        self._ends = TurnEnds(store, worker, self._rng)
        self._late: set[asyncio.Task[None]] = set()
        #: How many stamped PDFs are in memory because the document store does not take them.
        self._unkept = 0

    async def run(self, order_id: str) -> Outcome:
        """One turn. Raises StoreUnavailable only where Redis stays away; the sweeper then takes over."""
        with structlog.contextvars.bound_contextvars(order_id=order_id):
            op = self._ends.op()
            claim = await self._ends.record(lambda: self._store.claim(order_id, self._worker, op))
            if claim is None:
                return Outcome.SKIPPED
            turn = Turn(claim.order)
            try:
                outcome = await self._go_on(turn, claim.pool)
            except ClaimLost as lost:
                log.warning("claim lost", why=str(lost))
                await self._ends.let_go(turn)
                outcome = Outcome.LOST
            log.debug("turn ended", outcome=outcome.value, calls=turn.meter.calls)
            return outcome

    async def _go_on(self, turn: Turn, pool: int) -> Outcome:
        try:
            if turn.order.needs_purchase:
                return await self._buy(turn, pool)
            if turn.order.kind == "purchase":
                return await self._finish(turn, None)
            return await self._stamp(turn)
        except StoreUnavailable:
            if turn.sent:
                raise
            return await self._ends.release(turn, "")

    # ---- buying

    async def _buy(self, turn: Turn, pool: int) -> Outcome:
        order = turn.order
        if pool:
            op = self._ends.op()
            serial = await self._ends.record(lambda: self._store.take_from_pool(order, op))
            if serial is not None:
                return await self._after_purchase(turn, Generated(serial, None))
        try:
            taxpayer = self._store.personal.taxpayer_of(order)
        except Unreadable as error:
            log.error("who pays can not be read", why=str(error))
            return await self._ends.release(turn, "its personal data can not be decrypted", UNREADABLE_WAIT_S)
        self._intend(turn, State.BUYING, "asking for a serial number")
        try:
            generated = await self._provider.generate(_generate_request(order, taxpayer), turn.meter)
        except PurchasesHeld:
            return await self._ends.release(turn, "")
        except QuotaExhausted:
            if await self._ends.record(lambda: self._store.hold(QUOTA, "", "upstream")):
                turn.forgive()
            else:
                turn.unsay()  # the hold was on before: this call was the fleet's question whether it still must be
            return await self._ends.release(turn, "the upstream's quota is used up")
        except Rejected as error:
            return await self._ends.refuse(turn, "reject", error.code, error.message)
        except SerialUnusable as error:
            return await self._ends.refuse(turn, "attend", error.code, error.message)
        except Unavailable as error:
            return await self._ends.unavailable(turn, error)
        except OutcomeUnknown as error:
            return await self._doubt(turn, error)
        return await self._record_purchase(turn, generated)

    async def _record_purchase(self, turn: Turn, generated: Generated) -> Outcome:
        """Write down the SN that generate answered with. It is paid for, so it is never dropped."""
        order, op = turn.order, self._ends.op()
        if order.kind == "purchase" and beside(generated.qr_png):
            # Nothing else is left to do: `complete` leaves in one write with `bought`, and only succeeds after it.
            self._ends.complete_ahead(turn)
        try:
            ours = await self._ends.record(
                lambda: self._store.bought(
                    order, op, generated.serial_number, turn.meter.calls, beside(generated.qr_png)
                )
            )
        except ClaimLost:
            if await self._ends.has_ended(turn):
                return Outcome.COMPLETED
            log.warning("bought under a claim that is lost", serial_number=generated.serial_number)
            await self._found(order.id, generated)
            raise
        except (StoreUnavailable, asyncio.CancelledError):
            log.error(
                "bought, but not recorded: the account's list will show it",
                serial_number=generated.serial_number,
            )
            raise
        if not ours:  # the answer belongs to another call: it does not tell what became of this one
            return await self._doubt(turn, OutcomeUnknown("the upstream answered with another order's SN"))
        return await self._after_purchase(turn, generated)

    async def _after_purchase(self, turn: Turn, generated: Generated) -> Outcome:
        if turn.order.kind == "purchase":
            return await self._finish(turn, generated)
        if not beside(generated.qr_png):
            await self._keep_picture(turn.order.id, generated)
        return Outcome.BOUGHT

    async def _keep_picture(self, order_id: str, generated: Generated) -> None:
        """Keep it for the next turn; where that fails, that turn asks upstream for the picture."""
        if generated.qr_png is None:
            return
        serial, png = generated.serial_number, generated.qr_png
        try:
            await self._ends.record(lambda: self._pictures.keep(order_id, serial, png))
        except (OSError, StoreUnavailable) as error:
            log.error("picture not stored", order_id=order_id, error=type(error).__name__)

    async def _doubt(self, turn: Turn, error: OutcomeUnknown) -> Outcome:
        op = self._ends.op()
        try:
            await self._ends.record(
                lambda: self._store.doubt(turn.order, op, error.message, turn.meter.calls)
            )
        finally:
            # Not before: an SN that came for an order which is not in doubt yet would go to the pool.
            if error.late is not None:
                self._watch(turn.order.id, error.late)
        log.warning("outcome unknown", why=error.message)
        return Outcome.UNKNOWN

    def _watch(self, order_id: str, late: Awaitable[object]) -> None:
        """Take in the answer of a call that was given up, if it still comes."""

        async def take_in() -> None:
            try:
                generated = await late
            except ProviderError as error:
                log.info("late answer is no", order_id=order_id, kind=type(error).__name__)
                return
            assert isinstance(generated, Generated)
            log.info("late answer", order_id=order_id, serial_number=generated.serial_number)
            await self._found(order_id, generated)

        task = asyncio.create_task(take_in())
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _found(self, order_id: str, generated: Generated) -> None:
        await self._ends.record(lambda: self._store.found(order_id, generated.serial_number, "answered late"))
        order = await self._ends.record(lambda: self._store.get(order_id))
        if order is not None and order.serial_number == generated.serial_number and order.erased_ms is None:
            await self._keep_picture(order_id, generated)

    # ---- the picture

    async def _picture(self, turn: Turn, serial_number: str, generated: Generated | None) -> bytes:
        order = turn.order
        if generated is not None and generated.qr_png is not None:
            png = generated.qr_png
            if beside(png):  # `bought` has kept it
                return png
        else:
            if (stored := await self._ends.record(lambda: self._pictures.get(order))) is not None:
                return stored
            turn.meter.intent = None
            png = await self._provider.qr_image(serial_number, turn.meter)
        await self._ends.record(lambda: self._pictures.keep(order.id, serial_number, png))
        return png

    async def _finish(self, turn: Turn, generated: Generated | None) -> Outcome:
        serial = generated.serial_number if generated else turn.order.serial_number
        assert serial is not None
        try:
            await self._picture(turn, serial, generated)
        except (Unavailable, OutcomeUnknown, QuotaExhausted) as error:
            return await self._ends.unavailable(turn, error)
        except (Rejected, SerialUnusable) as error:
            return await self._no_picture(turn, error)
        except OSError as error:
            return await self._ends.store_trouble(turn, error)
        return await self._ends.complete(turn, "")

    async def _no_picture(self, turn: Turn, error: Rejected | SerialUnusable) -> Outcome:
        """Ask again, with a longer pause each time, and then let a person decide.

        The call is free, and the picture may just not be there yet. But an SN that came with its order was bought long
        ago: if the upstream does not know it now, it will not know it later.
        """
        hopeless = turn.order.serial_given and isinstance(error, SerialUnusable)
        if hopeless or turn.tries >= PICTURE_CALLS_MAX:
            return await self._ends.refuse(turn, "attend", error.code, error.message)
        return await self._ends.release(turn, error.message, min(2.0**turn.tries, PICTURE_WAIT_MAX_S))

    # ---- stamping

    async def _stamp(self, turn: Turn) -> Outcome:
        order = turn.order
        assert order.serial_number is not None
        assert order.placement is not None
        assert order.document_id is not None
        try:
            pdf = await self._documents.get_upload(order.document_id)
            if pdf is None:
                return await self._ends.refuse(
                    turn, "attend", "document-missing", "The uploaded PDF is gone."
                )
            if self._unkept:
                raise OSError("stamped PDFs wait for the document store already")
            try:
                qr = await self._picture(turn, order.serial_number, None)
            except (Rejected, SerialUnusable) as error:
                return await self._no_picture(turn, error)
            except Unavailable as error:
                return await self._ends.unavailable(turn, error, dispatcher_waits=False)
            self._intend(turn, State.STAMPING, "being stamped")
            at = order.placement
            stamped = await self._provider.stamp(
                _stamp_request(order, order.serial_number, at, qr, pdf), turn.meter
            )
            sha256 = await self._verify(pdf, stamped, at.page)
            await self._keep_stamped(order.id, stamped)
        except SerialUnusable as error:
            return await self._ends.refuse(turn, "attend", error.code, error.message)
        except Rejected as error:
            # An earlier call whose answer was lost may have stamped it: then this no does not set its SN free.
            ended = order.serial_given and turn.sent and not order.stamped_perhaps
            verb = "reject" if ended else "attend"
            return await self._ends.refuse(turn, verb, error.code, error.message)
        except (Unavailable, OutcomeUnknown, QuotaExhausted) as error:
            if (
                isinstance(error, OutcomeUnknown)
                and not error.trial_every_s
                and turn.tries >= STAMP_CALLS_MAX
            ):
                return await self._ends.refuse(turn, "attend", "stamping-failed", error.message)
            return await self._ends.unavailable(turn, error)
        except ValueError as error:
            if turn.tries >= STAMP_CALLS_MAX:
                return await self._ends.refuse(turn, "attend", "stamped-pdf-unsound", str(error))
            log.warning("stamped PDF is not in order", why=str(error))
            return await self._ends.release(turn, "the stamped PDF was not in order", RETRY_WAIT_S)
        except OSError as error:
            return await self._ends.store_trouble(turn, error)
        return await self._ends.complete(turn, sha256)

    def _intend(self, turn: Turn, target: State, note: str) -> None:
        """From now on every call of this turn writes its intent down before it leaves."""
        turn.intent = turn.meter.intent = Intent(
            self._store, turn.order, self._ends.op, target, note, lambda: turn.meter.calls + 1
        )

    async def _keep_stamped(self, order_id: str, pdf: bytes) -> None:
        """Keep a stamped PDF. To give it up means to stamp again, so it is held for a while. Raises OSError.

        While one is held no other order is stamped.
        """
        try:
            return await self._documents.put_stamped(order_id, pdf)
        except OSError as error:
            log.warning("a stamped PDF waits for the document store", error=type(error).__name__)
        self._unkept += 1
        try:
            await insist(
                lambda: self._documents.put_stamped(order_id, pdf),
                KEEP_MAX_S,
                lambda error: isinstance(error, OSError),
                self._rng,
                pause_first_s=0.5,
                pause_max_s=5.0,
            )
        finally:
            self._unkept -= 1

    async def aclose(self) -> None:
        """Give up on late answers."""
        for task in list(self._late):
            task.cancel()
        await asyncio.gather(*self._late, return_exceptions=True)


def _generate_request(order: Order, taxpayer: Taxpayer) -> GenerateRequest:
    return GenerateRequest(
        order_ref=order.id,
        type_code=order.document.type_code,
        document_number=order.document.number,
        document_date=order.document.date,
        identity_type=taxpayer.identity_type,
        identity_number=taxpayer.identity_number,
        name=taxpayer.name,
    )


def _stamp_request(order: Order, serial_number: str, at: Placement, qr: bytes, pdf: bytes) -> StampRequest:
    return StampRequest(
        order_ref=order.id,
        attempt_ref=f"{order.id}-{order.fence}",
        serial_number=serial_number,
        qr_png=qr,
        pdf=pdf,
        page=at.page,
        llx=at.x,
        lly=at.y,
        urx=at.x + at.width,
        ury=at.y + at.height,
        retry=order.stamp_tried,
    )
