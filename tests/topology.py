"""Many machines on one: the processes of deploy/docker-compose.yml on loopback, from the same configuration values."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis as blocking
from redis.backoff import NoBackoff
from redis.retry import Retry

from antrean.config.embedded_valkey import find_server
from antrean.config.settings import Settings
from antrean.simulator.addresses import SIMULATOR_PASSWORD, SIMULATOR_USER, base_urls
from stack import Stack, free_ports

DEPLOY = Path(__file__).parent.parent / "deploy"
#: In place of the five seconds of deploy/valkey/sentinel.conf: a test waits for it.
DOWN_AFTER_MS = 1000


def env_file(path: Path) -> dict[str, str]:
    """The values of an env file."""
    lines = (line for line in path.read_text().splitlines() if line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


@dataclass
class Valkey:
    """One data server."""

    port: int
    folder: Path
    process: subprocess.Popen[bytes] | None = None

    def start(self, replica_of: int | None) -> None:
        """Run it on its folder, with a copy of deploy's configuration, which Sentinel has rewritten."""
        config = self.folder / "valkey.conf"
        if not config.exists():
            config.write_text((DEPLOY / "valkey" / "valkey.conf").read_text())
        argv = [str(find_server().path), str(config)]
        argv += ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder)]
        if replica_of is not None:
            argv += ["--replicaof", "127.0.0.1", str(replica_of)]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(argv, stdout=log, stderr=log)

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; after SIGKILL it is waited for."""
        assert self.process is not None
        self.process.send_signal(number)
        if number is signal.SIGKILL:
            self.process.wait(10)

    def info(self) -> dict[str, Any]:
        """INFO replication; empty where it does not answer."""
        with blocking.Redis(
            port=self.port, protocol=2, socket_timeout=1, retry=Retry(NoBackoff(), 0)
        ) as client:
            try:
                found: dict[str, Any] = client.info("replication")
            except blocking.RedisError:
                return {}
            return found


@dataclass
class Topology(Stack):
    """A stack whose parts are started one by one; `http` and `ops` speak to the first gateway."""

    valkeys: list[Valkey] = field(default_factory=list)
    processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    gateway_ports: list[int] = field(default_factory=list)

    def run(self, *argv: str, env: dict[str, str] | None = None) -> subprocess.Popen[bytes]:
        """Start a program that ends with the topology."""
        with (self.folder / "up.log").open("ab") as log:
            process = subprocess.Popen(
                argv, env=self.env | (env or {}), stdout=log, stderr=log, cwd=self.folder
            )
        self.processes.append(process)
        return process

    def make_key(self, role: str) -> str:
        """A key, as it is made where no `up` makes the first ones."""
        argv = [sys.executable, "-m", "antrean", "keys", "create", "--role", role, "--office", "MDN-01"]
        done = subprocess.run(argv, env=self.env, cwd=self.folder, capture_output=True, text=True, check=True)
        return done.stdout.splitlines()[-1]

    async def _ready(self) -> bool:
        with contextlib.suppress(Exception):
            return (await self.http.get("/readyz")).status_code == 200
        return False

    def primary(self) -> Valkey | None:
        """The server that says it is the primary and has a replica."""
        for valkey in self.valkeys:
            if valkey.process is not None and valkey.process.poll() is None:
                info = valkey.info()
                if info.get("role") == "master":
                    return valkey
        return None

    async def stop(self) -> None:
        """End all."""
        for client in (self.http, self.ops, self.sim):
            await client.aclose()
        everything = [*self.processes, *(v.process for v in self.valkeys if v.process)]
        for process in everything:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGCONT)
            process.kill()
        for process in everything:
            process.wait(10)


@contextlib.asynccontextmanager
async def running_topology() -> AsyncIterator[Topology]:
    """Two gateways, three workers, a simulator, primary and replica, three Sentinels; all gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="antrean-", dir="/tmp"))
    first, second, sim, *rest = free_ports(8)
    sentinels, valkey_ports = rest[:3], rest[3:]
    values = env_file(DEPLOY / "antrean.env")
    url = values["ANTREAN_REDIS_URL"]
    for number, port in enumerate(sentinels, 1):
        url = url.replace(f"sentinel-{number}:26379", f"127.0.0.1:{port}")
    urls = base_urls(f"http://127.0.0.1:{sim}")
    own = {f"ANTREAN_{name.upper()}" for name in Settings.model_fields}
    env = {k: v for k, v in os.environ.items() if k not in own} | values | {
        "ANTREAN_REDIS_URL": url,
        "ANTREAN_REDIS_TIMEOUT_S": "2",
        "ANTREAN_DATA_DIR": str(folder / "data"),
        "ANTREAN_DOCUMENT_STORE": f"file://{folder}/documents",
        "ANTREAN_UPSTREAM_USER": SIMULATOR_USER,
        "ANTREAN_UPSTREAM_PASSWORD": SIMULATOR_PASSWORD,
        **{f"ANTREAN_UPSTREAM_{n.upper()}_URL": urls[n] for n in ("backend", "stampv2", "adapter")},
        "ANTREAN_PROBE_INTERVAL_S": "1",
        "ANTREAN_UNKNOWN_SETTLE_S": "4",
        "ANTREAN_UPSTREAM_TIMEOUT_S": "3",
        "ANTREAN_LOG_LEVEL": "WARNING",
    }  # fmt: skip
    topology = Topology(folder, first, sim, env, gateway_ports=[first, second])
    try:
        for number, port in enumerate(valkey_ports):
            place = folder / f"valkey-{number + 1}"
            place.mkdir()
            topology.valkeys.append(Valkey(port, place))
            topology.valkeys[-1].start(valkey_ports[0] if number else None)

        async def attached() -> bool:
            return topology.valkeys[1].info().get("master_link_status") == "up"

        await topology.until(attached, 20)
        _start_sentinels(topology, sentinels, valkey_ports[0])
        antrean = (sys.executable, "-m", "antrean")
        topology.run(*antrean, "simulator", "--port", str(sim))
        for port in topology.gateway_ports:
            topology.run(*antrean, "gateway", env={"ANTREAN_HTTP_PORT": str(port)})
        for _ in range(3):
            topology.run(*antrean, "worker")
        await topology.until(topology._ready, 40)
        for client, role in ((topology.http, "terminal"), (topology.ops, "ops")):
            client.headers["Authorization"] = f"Bearer {topology.make_key(role)}"
        yield topology
    except BaseException:
        print(topology.log()[-8000:])
        raise
    finally:
        await topology.stop()
        shutil.rmtree(folder, ignore_errors=True)


def _start_sentinels(topology: Topology, ports: list[int], primary: int) -> None:
    server = find_server().path
    for number, port in enumerate(ports, 1):
        config = (DEPLOY / "valkey" / "sentinel.conf").read_text()
        config = config.replace("valkey-1 6379", f"127.0.0.1 {primary}").replace(
            "milliseconds antrean 5000", f"milliseconds antrean {DOWN_AFTER_MS}"
        )
        path = topology.folder / f"sentinel-{number}.conf"
        path.write_text(config)
        topology.run(str(server), str(path), "--sentinel", "--port", str(port), "--bind", "127.0.0.1")
    deadline = time.monotonic() + 20
    for port in ports:
        with blocking.Redis(port=port, protocol=2, socket_timeout=1) as client:
            while time.monotonic() < deadline:
                with contextlib.suppress(blocking.RedisError):
                    state = client.sentinel_master("antrean")
                    if state["num-other-sentinels"] == 2 and state["num-slaves"] >= 1:
                        break
                time.sleep(0.1)
            else:
                raise TimeoutError("the Sentinels do not find each other")
