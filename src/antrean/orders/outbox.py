"""Notices on their way: written by the script that ends an order, taken by the sender, replayed by ops."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Literal

import orjson

from antrean.orders import keys
from antrean.orders.asking import asked
from antrean.orders.codes import Code
from antrean.orders.notices import DISABLE_MS, Endpoint, Notice, Secrets
from antrean.orders.scripts import Scripts
from antrean.orders.vault import Unreadable, Vault, sealing_key

#: Notices that were given up and are kept for a replay; the oldest give way.
DEAD_MAX = 10_000
#: Failing addresses watched at one time; more than any one installation has.
ENDPOINTS_MAX = 10_000
#: Given-up notices and addresses shown at a time, and notices replayed in one step.
SHOWN_MAX = 500
#: Tries to change secrets that others change at the same moment.
_CHANGES_MAX = 5

Result = Literal["sent", "failed", "put_off", "dropped"]


@dataclass(frozen=True, slots=True)
class Taken:
    """A notice that is this sender's for a time; `endpoint` None: the last try there was well."""

    notice: Notice
    endpoint_name: str
    endpoint: Endpoint | None


@dataclass(frozen=True, slots=True)
class OutboxView:
    """What ops see. `dead`: given up with the time (ms), the latest first."""

    pending: int
    given_up: int
    oldest_due_ms: int | None
    dead: tuple[tuple[Notice, int], ...]
    endpoints: tuple[Endpoint, ...]


@dataclass(frozen=True, slots=True)
class OutboxCounts:
    """How many notices wait and were given up, how many addresses fail and how many of them are disabled."""

    pending: int
    given_up: int
    failing: int
    disabled: int


class Outbox:
    """Every method raises StoreUnavailable. `vault` seals the offices' secrets."""

    def __init__(self, scripts: Scripts, vault: Vault) -> None:
        self._scripts = scripts
        self._redis = scripts.redis
        self._vault = vault

    # ---- the sender's side

    async def take(self, most: int, lease_ms: int) -> tuple[int, list[Taken]]:
        """The time in ms, and notices that are due; nobody else gets them until `lease_ms` is over."""
        _, now, *flat = await asked(self._scripts.run("notices_take", most, lease_ms))
        taken = []
        for i in range(0, len(flat), 4):
            notice_id, text, name, known = flat[i : i + 4]
            endpoint = Endpoint.from_json(name.decode(), known) if known else None
            taken.append(Taken(Notice.from_json(notice_id.decode(), text), name.decode(), endpoint))
        return int(now), taken

    async def settle(
        self, taken: Taken, result: Result, *, next_ms: int | None, why: str, disable_now: bool = False
    ) -> bool:
        """Note what became of it; True where its address is disabled by that. `next_ms` None: no further try."""
        answer = await asked(
            self._scripts.run(
                "notice_settle",
                taken.notice.id,
                result,
                "" if next_ms is None else next_ms,
                why,
                taken.endpoint_name,
                0 if disable_now else DISABLE_MS,
                DEAD_MAX,
                ENDPOINTS_MAX,
            )
        )
        return len(answer) > 1 and answer[1] == 1

    # ---- secrets

    async def secrets(self, office: str) -> Secrets:
        """The office's; made where there is none yet."""
        return (await self._read_secrets(office))[1]

    async def rotate(self, office: str, overlap_ms: int, now_ms: int) -> Secrets:
        """A new secret; the one of now goes on beside it for `overlap_ms`."""
        for _ in range(_CHANGES_MAX):
            old, secrets = await self._read_secrets(office)
            fresh = secrets.rotated(now_ms + overlap_ms)
            if await self._swap(office, old, fresh):
                return fresh
        raise RuntimeError("the secret is changed by others all the time")

    async def reseal_secrets(self) -> int:
        """Seal with the key that encrypts now what another one has sealed; answers how many. Raises Unreadable."""
        changed = 0
        for office, sealed in (await asked(self._redis.hgetall(keys.WEBHOOK_SECRETS))).items():
            if sealing_key(sealed) != self._vault.primary:
                name = office.decode()
                changed += await self._swap(name, sealed, self._open(name, sealed))
        return changed

    async def _read_secrets(self, office: str) -> tuple[bytes, Secrets]:
        for _ in range(_CHANGES_MAX):
            sealed = await asked(self._redis.hget(keys.WEBHOOK_SECRETS, office))
            if sealed is not None:
                return sealed, self._open(office, sealed)
            await self._swap(office, b"", Secrets.new())
        raise RuntimeError("the secret is deleted by others all the time")

    async def _swap(self, office: str, old: bytes, fresh: Secrets) -> bool:
        sealed = self._vault.seal(orjson.dumps(asdict(fresh)), _place(office))
        (code,) = await asked(self._scripts.run("swap", keys.WEBHOOK_SECRETS, office, old, sealed))
        if code == Code.RETIRED:
            raise Unreadable(
                f"key {self._vault.primary} is not in use in this Redis: "
                "it was retired, or no gateway has begun with it yet"
            )
        return bool(code == Code.OK)

    def _open(self, office: str, sealed: bytes) -> Secrets:
        return Secrets(**orjson.loads(self._vault.open(sealed, _place(office))))

    # ---- ops

    async def view(self) -> OutboxView:
        """What waits, what was given up, where it fails."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.zcard(keys.NOTICES_DUE)
        pipe.zcard(keys.NOTICES_DEAD)
        pipe.zrange(keys.NOTICES_DUE, 0, 0, withscores=True)
        pipe.zrevrange(keys.NOTICES_DEAD, 0, SHOWN_MAX - 1, withscores=True)
        pipe.hgetall(keys.ENDPOINTS)
        pending, given_up, first, dead, endpoints = await asked(pipe.execute())
        texts = await asked(self._redis.hmget(keys.NOTICES, [row for row, _ in dead])) if dead else []
        return OutboxView(
            pending=pending,
            given_up=given_up,
            oldest_due_ms=int(first[0][1]) if first else None,
            dead=tuple(
                (Notice.from_json(notice_id.decode(), text), int(at))
                for (notice_id, at), text in zip(dead, texts, strict=True)
                if text is not None
            ),
            endpoints=tuple(
                sorted(
                    (Endpoint.from_json(name.decode(), text) for name, text in endpoints.items()),
                    key=lambda e: (e.disabled_ms is None, e.since_ms),
                )
            ),
        )

    async def counts(self) -> OutboxCounts:
        """The same in numbers."""
        pipe = self._redis.pipeline(transaction=False)
        pipe.zcard(keys.NOTICES_DUE)
        pipe.zcard(keys.NOTICES_DEAD)
        pipe.hvals(keys.ENDPOINTS)
        pending, given_up, endpoints = await asked(pipe.execute())
        disabled = sum("disabled" in orjson.loads(text) for text in endpoints)
        return OutboxCounts(pending, given_up, len(endpoints) - disabled, disabled)

    async def replay(self, notice_ids: list[str]) -> int:
        """Send again what was given up; answers how many of these were."""
        return int((await asked(self._scripts.run("notices_replay", *notice_ids)))[1])

    async def replay_all(self, office: str | None) -> int:
        """Send again all that was given up, or all of one office."""
        ids = [i.decode() for i in await asked(self._redis.zrange(keys.NOTICES_DEAD, 0, -1))]
        replayed = 0
        for start in range(0, len(ids), SHOWN_MAX):
            batch = ids[start : start + SHOWN_MAX]
            texts = await asked(self._redis.hmget(keys.NOTICES, batch))
            found = [
                Notice.from_json(i, text) for i, text in zip(batch, texts, strict=True) if text is not None
            ]
            wanted = [n.id for n in found if office is None or n.office == office]
            replayed += await self.replay(wanted) if wanted else 0
        return replayed

    async def enable(self, office: str, host: str) -> bool:
        """Ask an address again that failed; False where it does not fail. What was given up stays so until a replay."""
        return bool(await asked(self._redis.hdel(keys.ENDPOINTS, f"{office}|{host.lower()}")))


def _place(office: str) -> str:
    return f"webhook secret of {office}"
