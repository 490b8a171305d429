"""How the line moved: when it stopped, for how long, and how fast orders came. The leading worker writes it down."""

from __future__ import annotations

from redis.asyncio import Redis

from antrean.orders import keys
from antrean.orders.asking import asked
from antrean.orders.eta import UNSTEADY_S, Course

#: Stops that are kept, and how far back they count, in ms.
STOPS_MAX = 100
MEMORY_MS = 24 * 3600 * 1000
#: The count of orders is noted this often, in ms, and this many notes are kept: the last minute.
NOTE_EVERY_MS = 10_000
NOTES_MAX = 6


class CourseLog:
    """The course in Redis. Every method raises StoreUnavailable."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def note(self, now_ms: int, *, held: bool, waiting: bool) -> None:
        """Note how things stand at `now_ms`. Only one process at a time may call this.

        `held`: no order in line may move. `waiting`: there is at least one order in line.
        """
        asking = self._redis.pipeline(transaction=False)
        asking.hmget(keys.COURSE, "since", "stopped", "busy")
        asking.lindex(keys.COURSE_CAME, 0)
        asking.get(keys.SEQUENCE)
        (since, stopped, busy), noted, came = await asked(asking.execute())
        pipe = self._redis.pipeline(transaction=True)
        if since is None or int(since) > now_ms:
            pipe.hset(keys.COURSE, "since", now_ms)
        if held and stopped is None:
            pipe.hset(keys.COURSE, "stopped", now_ms)
        if not held and stopped is not None:
            pipe.hdel(keys.COURSE, "stopped")
            pipe.lpush(keys.COURSE_STOPS, f"{min(int(stopped), now_ms)} {now_ms}")
            pipe.ltrim(keys.COURSE_STOPS, 0, STOPS_MAX - 1)
        if waiting and not held:
            if busy is None or int(busy) > now_ms:
                pipe.hset(keys.COURSE, "busy", now_ms)
        elif busy is not None:
            pipe.hdel(keys.COURSE, "busy")
        age_ms = NOTE_EVERY_MS if noted is None else now_ms - int(noted.split()[0])
        if age_ms < 0:
            # The server's clock was set back: notes from the future are of no use until it has caught up.
            pipe.delete(keys.COURSE_CAME)
        if not 0 <= age_ms < NOTE_EVERY_MS:
            pipe.lpush(keys.COURSE_CAME, f"{now_ms} {int(came or 0)}")
            pipe.ltrim(keys.COURSE_CAME, 0, NOTES_MAX - 1)
        if len(pipe):
            await asked(pipe.execute())

    async def read(self, now_ms: int) -> Course:
        """The course up to `now_ms`. A stop that has not ended yet is not in it."""
        asking = self._redis.pipeline(transaction=False)
        asking.hmget(keys.COURSE, "since", "busy")
        asking.lrange(keys.COURSE_STOPS, 0, -1)
        asking.lindex(keys.COURSE_CAME, -1)
        asking.get(keys.SEQUENCE)
        (since, busy), lines, noted, came = await asked(asking.execute())
        if since is None:
            return Course()
        seen_from_ms = max(min(int(since), now_ms), now_ms - MEMORY_MS)
        kept = [tuple(map(int, line.split())) for line in lines]
        stops = [(start, end) for start, end in kept if seen_from_ms < end <= now_ms]
        lengths_s = tuple((end - max(start, seen_from_ms)) / 1000 for start, end in stops)
        arrivals_per_s = 0.0
        if noted is not None:
            at_ms, before = map(int, noted.split())
            if at_ms <= now_ms:
                arrivals_per_s = max(int(came or 0) - before, 0) / max((now_ms - at_ms) / 1000, 1.0)
        return Course(
            arrivals_per_s,
            lengths_s,
            max((now_ms - seen_from_ms) / 1000 - sum(lengths_s), 0.0),
            sum(start > now_ms - UNSTEADY_S * 1000 for start, _ in stops),
            0.0 if busy is None else max(now_ms - int(busy), 0) / 1000,
        )
