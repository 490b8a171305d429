"""The simulator as a web application and as a process.

One process serves all base URLs of the upstream, each under a path of its own (addresses.py).
"""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator, Callable
from typing import Final

from aiohttp import web

from antrean.simulator import routes_adapter, routes_batch, routes_channel, routes_cloud
from antrean.simulator.control import control_routes
from antrean.simulator.gate import gated
from antrean.simulator.machine import Handler, Simulator, SimulatorConfig

__all__ = ["SIMULATOR", "SimulatorConfig", "create_app", "run", "serve"]

log = logging.getLogger(__name__)

#: The simulator behind an application, for those that hold the application.
SIMULATOR: Final = web.AppKey("simulator", Simulator)
#: Largest body of a call other than an upload, in bytes.
BODY_BYTES_MAX: Final = 512 * 1024
#: How long calls in flight are waited for at the end, in seconds.
STOP_WAIT_S: Final = 1.0
BACKLOG_CONNECTIONS: Final = 1_024

_CALLS: Final[tuple[tuple[str, str, str, Handler], ...]] = (
    ("login", "POST", "/backend/api/users/login", routes_channel.login),
    ("generate", "POST", "/stampv2/chanel/stampv2", routes_channel.generate),
    ("jenisdoc", "GET", "/stampv2/jenisdoc", routes_channel.document_types),
    ("sn_status", "GET", "/backend/api/chanel/stamp/ext", routes_channel.serial_status),
    ("sn_list", "GET", "/stampv2/chanel/sale/stamp/ext/{user_id}", routes_channel.serial_list),
    ("balance", "POST", "/backend/function/saldopos", routes_channel.balance),
    ("qrimage", "GET", "/stampv2/snqr/qrimage", routes_channel.qr_image),
    ("update_data", "POST", "/stampv2/stamping/update-data/{serial_number}", routes_channel.update_data),
    ("stamp", "POST", "/adapter-host/adapter/pdfsigning/rest/docSigningZ", routes_adapter.stamp),
    ("upload", "POST", "/fileupload/uploaddoc2", routes_cloud.upload),
    ("cloud_stamp", "POST", "/stampservice/keystamp/adapter/docSigningZ", routes_cloud.stamp),
    ("download", "GET", "/stampservice/download/{file_id}", routes_cloud.download),
    ("batch", "POST", "/inventory/api/v2/serialnumber/batch", routes_batch.batch),
    ("batch_status", "GET", "/stampv2/snqr/status-batch", routes_batch.batch_status),
)


def create_app(config: SimulatorConfig, clock: Callable[[], float] = time.time) -> web.Application:
    """The application. `clock`: Unix seconds. Raises OSError where the books cannot be opened."""
    simulator = Simulator(config, clock)
    app = web.Application(client_max_size=BODY_BYTES_MAX)
    app[SIMULATOR] = simulator
    app.add_routes(
        [web.route(method, path, gated(simulator, kind, handler)) for kind, method, path, handler in _CALLS]
    )
    app.add_routes(control_routes(simulator))

    async def release_hanging(_: web.Application) -> None:
        simulator.faults.clear()
        simulator.faults_changed()

    async def close(_: web.Application) -> AsyncIterator[None]:
        yield
        simulator.close()

    app.on_shutdown.append(release_hanging)
    app.cleanup_ctx.append(close)
    return app


async def serve(
    config: SimulatorConfig, host: str, port: int, announce: Callable[[], None] | None = None
) -> None:
    """Serve until SIGTERM or SIGINT. `announce` is called once, when the port listens.

    Raises OSError where the port is taken or the books cannot be opened.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    runner = web.AppRunner(create_app(config), access_log=None, shutdown_timeout=STOP_WAIT_S)
    try:
        await runner.setup()
        await web.TCPSite(runner, host, port, backlog=BACKLOG_CONNECTIONS).start()
        log.info("simulator listens on %s:%d", host, port)
        if announce is not None:
            announce()
        await stop.wait()
        log.info("simulator stops")
    finally:
        await runner.cleanup()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


def run(config: SimulatorConfig, host: str, port: int, announce: Callable[[], None] | None = None) -> None:
    """`serve` as a process of its own."""
    asyncio.run(serve(config, host, port, announce))
