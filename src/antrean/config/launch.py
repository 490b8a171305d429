"""What `antrean up` runs on one machine, in which order it starts and in which it stops.

    start   Valkey ‖ simulator ‖ gateways, which wait for Redis  →  first keys ‖ workers
    stop    gateways  →  workers  →  simulator  →  Valkey

Valkey only where no ANTREAN_REDIS_URL is set, the simulator only where no upstream is.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import redis.asyncio
from redis.exceptions import RedisError

from antrean.config.durability import check_durability, fails
from antrean.config.embedded_valkey import (
    READY_TIMEOUT_S,
    EmbeddedValkey,
    ValkeyMissing,
    note_restored,
)
from antrean.config.instance_lock import AlreadyRunning, InstanceLock
from antrean.config.redis_client import connect, wait_for_ping
from antrean.config.settings import Settings
from antrean.config.shared_counts import environment, make_room, numbers_of
from antrean.config.start_checks import StartError, check_port_free, hold_port, make_writable
from antrean.config.supervisor import READY_FD, ChildFailed, ChildSpec, Supervisor
from antrean.config.urls import origin, url_parts
from antrean.orders.holding import PAUSED
from antrean.orders.keys import SEQUENCE
from antrean.orders.layout import NewerLayout, require_known_layout
from antrean.orders.model import StoreUnavailable
from antrean.orders.scripts import Scripts
from antrean.simulator.addresses import SIMULATOR_PASSWORD, SIMULATOR_USER, base_urls

#: A process drains within `drain_s`; this much longer before SIGKILL, so that it can say goodbye itself.
STOP_GRACE_S = 2.0
#: Valkey has everything on disk already; it only has to close its file.
VALKEY_STOP_S = 10.0
PORT_MAX = 65_535
#: How long a child may take to get ready once Redis answers.
CHILD_READY_S = 60.0
#: How long a Redis that is not ours may take to answer at the start.
REDIS_WAIT_S = 10.0
#: Signals that come within this time are one order: `make` passes on what its whole group was sent anyway.
ONE_ORDER_S = 0.5

#: Role, office and key of each key made at a first start.
FirstKeys = list[tuple[str, str, str]]


@dataclass(frozen=True)
class Plan:
    """The children to start. None: not needed with these settings."""

    gateways: Sequence[ChildSpec]
    workers: Sequence[ChildSpec]
    valkey: ChildSpec | None = None
    simulator: ChildSpec | None = None
    #: Where each listens, in words, by name.
    places: Mapping[str, str] = field(default_factory=dict)


def antrean_command() -> list[str]:
    """How to start a command of ours, with this very interpreter, so that `ps` shows `antrean …`."""
    script = Path(sys.executable).parent / "antrean"
    return [sys.executable, str(script)] if script.is_file() else [sys.executable, "-P", "-m", "antrean"]


def make_plan(settings: Settings) -> Plan:
    """The children of these settings. Raises ValkeyMissing."""
    env: dict[str, str] = {}
    places: dict[str, str] = {}
    stop_timeout_s = settings.drain_s + STOP_GRACE_S
    valkey = simulator = None
    if not settings.redis_url:
        embedded = EmbeddedValkey.of(settings)
        places["valkey"] = f"{embedded.binary.title} ({embedded.binary.origin}), {embedded.socket}"
        valkey = ChildSpec(
            "valkey",
            embedded.argv,
            prepare=embedded.prepare,
            wait_ready=lambda: embedded.wait_ready(settings),
            output_path=embedded.log_path,
            ready_timeout_s=READY_TIMEOUT_S,
            stop_timeout_s=VALKEY_STOP_S,
            spared=True,
        )
    if settings.uses_simulator:
        port = settings.effective_simulator_port
        simulated = origin("127.0.0.1", port)
        places["simulator"] = f"{simulated}  (no upstream is set: nothing real is bought)"
        env = _simulator_env(simulated)
        argv = [*antrean_command(), "simulator", "--port", str(port), "--ready-fd", READY_FD]
        simulator = ChildSpec("simulator", argv, env=env, stop_timeout_s=stop_timeout_s)

    def child(name: str, *argv: str, again: Sequence[str] = (), **more: str) -> ChildSpec:
        return ChildSpec(
            name,
            # A gateway loads its code while Valkey reads its file; one begun again while Redis is away waits for it.
            [*antrean_command(), *argv, "--ready-fd", READY_FD, "--redis-wait-s", f"{READY_TIMEOUT_S:g}"],
            again=again,
            env=env | more,
            ready_timeout_s=READY_TIMEOUT_S + CHILD_READY_S,
            stop_timeout_s=stop_timeout_s,
        )

    gateways = [child("gateway", "gateway", again=["--again"])]
    if settings.gateways > 1:
        counts = environment(settings.data_dir)
        gateways = [
            child(f"gateway-{n}", "gateway", "--number", str(n), again=["--again"], **counts)
            for n in numbers_of(settings.gateways)
        ]
    places |= {spec.name: origin(settings.http_host, settings.http_port) for spec in gateways}
    workers = [child(f"worker-{n}", "worker") for n in range(1, settings.workers + 1)]
    return Plan(gateways, workers, valkey, simulator, places)


def with_upstream(settings: Settings) -> Settings:
    """The settings of `up`'s children: where no upstream is set, the simulator's account and addresses are."""
    if not settings.uses_simulator:
        return settings
    env = _simulator_env(origin("127.0.0.1", settings.effective_simulator_port))
    return settings.model_validate(
        settings.model_dump() | {name.removeprefix("ANTREAN_").lower(): value for name, value in env.items()}
    )


def _simulator_env(base: str) -> dict[str, str]:
    """The settings that point our processes at the simulator."""
    urls = base_urls(base)
    return {
        **{
            f"ANTREAN_UPSTREAM_{name.upper()}_URL": urls[name]
            for name in ("backend", "stampv2", "inventory", "adapter")
        },
        "ANTREAN_UPSTREAM_USER": SIMULATOR_USER,
        "ANTREAN_UPSTREAM_PASSWORD": SIMULATOR_PASSWORD,
    }


async def make_first_keys(settings: Settings, client: redis.asyncio.Redis) -> FirstKeys:
    """A terminal key and an ops key where there is none yet, else nothing."""
    from antrean.gateway.keys import KeyRing, ensure_first_keys

    made = await ensure_first_keys(KeyRing(client), settings)
    return [(role.value, office, key) for role, office, key in made]


class Launch:
    """One run of `antrean up`. `say` prints a line for the person who started it.

    `paused`: draining is paused before the first worker starts.
    """

    def __init__(
        self,
        settings: Settings,
        say: Callable[[str], None],
        *,
        paused: bool = False,
        plan: Callable[[Settings], Plan] = make_plan,
        first_keys: Callable[[Settings, redis.asyncio.Redis], Awaitable[FirstKeys]] = make_first_keys,
    ) -> None:
        self._settings = settings
        self._say = say
        self._paused = paused
        self._restored: Path | None = None
        self._plan = plan
        self._first_keys = first_keys
        self._stop = asyncio.Event()
        self._at_once = asyncio.Event()
        self._stopped_at = 0.0

    def interrupt(self) -> None:
        """What SIGINT, SIGTERM and SIGHUP do: stop in good order; the second time, at once."""
        if not self._stop.is_set():
            self._stop.set()
            self._stopped_at = time.monotonic()
        elif time.monotonic() - self._stopped_at >= ONE_ORDER_S:
            self._at_once.set()

    async def run(self) -> None:
        """Start all, keep it running until interrupted, stop all.

        Raises StartError, and NewerLayout where a later release wrote the orders; then all is stopped again.
        """
        loop = asyncio.get_running_loop()
        signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for signum in signals:
            loop.add_signal_handler(signum, self.interrupt)
        try:
            with await self._take_data_dir() as lock:
                await self._run_locked(lock)
        finally:
            for signum in signals:
                loop.remove_signal_handler(signum)

    async def _take_data_dir(self) -> InstanceLock:
        settings = self._settings
        make_writable(settings.data_dir)
        try:
            # Orphans of a killed `up` drain, and Valkey after them: no longer than these together.
            patience_s = settings.drain_s + VALKEY_STOP_S
            return await InstanceLock.acquire(settings.data_dir.resolve(), patience_s=patience_s)
        except AlreadyRunning as error:
            raise StartError(str(error)) from error

    async def _run_locked(self, lock: InstanceLock) -> None:
        try:
            plan = self._plan(self._settings)
        except ValkeyMissing as error:
            raise StartError(str(error)) from error
        self._check_ports(plan)
        with contextlib.ExitStack() as held:
            if len(plan.gateways) > 1:
                settings = self._settings
                held.enter_context(hold_port(settings.http_host, settings.http_port, "ANTREAN_HTTP_PORT"))
            await self._run_plan(plan, lock)

    async def _run_plan(self, plan: Plan, lock: InstanceLock) -> None:
        data_dir = self._settings.data_dir.resolve()
        try:
            if len(plan.gateways) > 1:
                make_room(data_dir, numbers_of(self._settings.gateways))
            if plan.valkey is not None:
                self._restored = note_restored(data_dir)
        except OSError as error:
            raise StartError(f"{error.strerror or error}: {error.filename or data_dir}") from error
        supervisor = Supervisor(inherited_fds=[lock.fd])
        starting = asyncio.create_task(self._start(supervisor, plan), name="start")
        stopping = asyncio.create_task(self._stop.wait(), name="wait for a signal")
        try:
            await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if starting.done():
                starting.result()
                await stopping
                self._say("stopping: the gateways first, then the workers; again Ctrl-C: at once")
        finally:
            for task in (starting, stopping):
                task.cancel()
            await asyncio.gather(starting, stopping, return_exceptions=True)
            await supervisor.stop(
                [
                    lambda name: name.startswith("gateway"),
                    lambda name: name.startswith("worker"),
                    lambda name: name == "simulator",
                ],
                at_once=self._at_once,
            )
        self._say("stopped")

    def _check_ports(self, plan: Plan) -> None:
        """Better told now, in one line, than by a child's traceback."""
        settings = self._settings
        check_port_free(settings.http_host, settings.http_port, "ANTREAN_HTTP_PORT")
        if plan.simulator is None:
            return
        port = settings.effective_simulator_port
        if port == settings.http_port or port > PORT_MAX:
            raise StartError(
                f"Port {port} is none for the simulator beside the gateway on {settings.http_port}. "
                "Set ANTREAN_SIMULATOR_PORT to another port."
            )
        check_port_free("127.0.0.1", port, "ANTREAN_SIMULATOR_PORT")

    async def _start(self, supervisor: Supervisor, plan: Plan) -> None:
        settings = self._settings

        async def start(spec: ChildSpec) -> None:
            child = await supervisor.start(spec)
            self._say(f"{spec.name:<10} {plan.places.get(spec.name, 'running')}  (process {child.pid})")

        self._say(f"data       {settings.data_dir.resolve()}")
        self._say_upstream_gaps()
        client = connect(settings.effective_redis_url, settings)
        gateways = asyncio.ensure_future(_all(start(spec) for spec in plan.gateways))
        below = asyncio.ensure_future(
            _all(start(spec) for spec in (plan.valkey, plan.simulator) if spec is not None)
        )
        try:
            # A gateway that can not start is told at once, not when a large file has been read.
            done, _ = await asyncio.wait({below, gateways}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
            await below
            if plan.valkey is None:
                await self._wait_for_redis(client)
            await self._before_workers(client)
            keys: FirstKeys = []

            async def make_keys() -> None:
                keys.extend(await self._first_keys(settings, client))

            # Workers come after the hold and after the upstream that they would ask.
            await _all([make_keys(), gateways, *(start(spec) for spec in plan.workers)])
        except ChildFailed as error:
            await _blame_layout(client)
            raise StartError(f"{error.name}: {error}{_hint(error.name, settings)}") from error
        except NewerLayout:
            raise
        except (RedisError, StoreUnavailable) as error:
            raise StartError(f"Redis at {_shown(settings)} does not do its work: {error}") from error
        except BrokenPipeError as error:
            raise StartError(
                "Nobody reads the output any more. Send it to a file, or run without the pipe."
            ) from error
        except OSError as error:
            raise StartError(f"{error.strerror or error}: {error.filename or settings.data_dir}") from error
        finally:
            for task in (gateways, below):
                task.cancel()
            await asyncio.gather(gateways, below, return_exceptions=True)
            await client.aclose()
        for role, office, key in keys:
            self._say(f"{role:<10} key of {office}, shown this once: {key}")
        base = settings.public_url.rstrip("/") or origin(settings.http_host, settings.http_port)
        self._say(f"console    {base}/    operations {base}/ops    API {base}/docs")
        self._say("ready      Ctrl-C drains and stops all")

    def _say_upstream_gaps(self) -> None:
        settings = self._settings
        gaps = [part for part, url in settings.upstream_urls.items() if not url]
        if gaps and not settings.uses_simulator:
            names = ", ".join(f"ANTREAN_UPSTREAM_{part.upper()}_URL" for part in gaps)
            self._say(
                f"upstream   not set: {names}; orders that need it are kept and wait (see `antrean doctor`)"
            )

    async def _before_workers(self, client: redis.asyncio.Redis) -> None:
        """What must hold, or be said, before the first worker takes an order.

        Raises NewerLayout, StoreUnavailable, RedisError.
        """
        await require_known_layout(client)
        replicas_min = self._settings.redis_replicas_min
        for finding in fails(await check_durability(client, replicas_min=replicas_min)):
            self._say(f"warning    no order is accepted: {finding.seen}. {finding.advice}")
        why = "started with --paused" if self._paused else ""
        restored = self._restored is not None and self._restored.exists()
        if not why and restored and await client.exists(SEQUENCE):
            # What was bought since the backup would be bought again, and only then be found.
            why = "the orders look restored from a backup"
            self._say(f"warning    {why}, so it is as with --paused (docs/operations.md, Backup and restore)")
        if why:
            await Scripts(client).run("hold", PAUSED, why, "up")
            self._say("paused     nothing is bought or stamped until DELETE /v1/ops/pause")
        if self._restored is not None:
            self._restored.unlink(missing_ok=True)

    async def _wait_for_redis(self, client: redis.asyncio.Redis) -> None:
        try:
            await wait_for_ping(client, REDIS_WAIT_S)
        except TimeoutError as error:
            raise StartError(
                f"Redis at {_shown(self._settings)} gives no answer. Start it, correct ANTREAN_REDIS_URL, "
                "or leave that empty for the embedded Valkey."
            ) from error
        self._say(f"redis      {_shown(self._settings)}")


async def _blame_layout(client: redis.asyncio.Redis) -> None:
    """Raises NewerLayout where that is why a child can not start."""
    try:
        await require_known_layout(client)
    except NewerLayout:
        raise
    except StoreUnavailable:
        return


async def _all(steps: Iterable[Awaitable[None]]) -> None:
    """All at once; the first failure cancels the rest and is raised as it is."""
    tasks = [asyncio.ensure_future(step) for step in steps]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _shown(settings: Settings) -> str:
    """The Redis URL without its password."""
    url = url_parts(settings.effective_redis_url)
    return f"{url.scheme}://{url.netloc.rpartition('@')[2]}{url.path}"


def _hint(name: str, settings: Settings) -> str:
    """What its log says last, for the one child that does not write to our output."""
    if name != "valkey":
        return ". Its last lines are above."
    embedded = EmbeddedValkey.of(settings)
    return f". The end of {embedded.log_path}:\n{embedded.log_tail()}"
