"""Several gateways on one port: `antrean up` with ANTREAN_GATEWAYS, as real processes."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client import values

from antrean.config.launch import make_plan
from antrean.config.settings import Settings
from antrean.config.shared_counts import FILE_BYTES, FOLDER_NAME, FOLDER_VARIABLE, count_as, make_room
from antrean.config.start_checks import StartError, check_port_free, hold_port
from antrean.gateway.metrics import Metrics
from stack import TERMINAL_KEY, Stack, free_ports, purchase, running_stack

ORDERS = 40


@pytest.fixture(name="stack")
async def _stack() -> AsyncIterator[Stack]:
    async with running_stack(workers=1, gateways="2") as stack:
        yield stack


async def accepted(stack: Stack) -> int:
    """Orders accepted since `up` began, as whichever gateway answers tells it."""
    async with httpx.AsyncClient(base_url=stack.http.base_url, timeout=20) as client:
        text = (await client.get("/metrics")).text
    found = re.search(r'^antrean_orders_accepted_total\{kind="purchase"\} (\S+)$', text, re.MULTILINE)
    return int(float(found[1])) if found else 0


async def submit_anew(stack: Stack, number: int) -> None:
    """One order on a connection of its own."""
    headers = {"Authorization": f"Bearer {TERMINAL_KEY}", "Idempotency-Key": f"order-{number}"}
    async with httpx.AsyncClient(base_url=stack.http.base_url, timeout=20) as client:
        answer = await client.post("/v1/orders", json=purchase(), headers=headers)
    assert answer.status_code == 202, answer.text
    stack.accepted[f"order-{number}"] = answer.json()["id"]


def connections_of(gateway: psutil.Process) -> int:
    return sum(c.status == psutil.CONN_ESTABLISHED for c in gateway.net_connections("tcp4"))


async def test_both_take_connections_and_tell_the_same_counts_also_after_one_was_killed(stack: Stack) -> None:
    first, second = stack.children("gateway")
    async with contextlib.AsyncExitStack() as held:
        for _ in range(ORDERS):
            client = await held.enter_async_context(httpx.AsyncClient(base_url=stack.http.base_url))
            assert (await client.get("/healthz")).status_code == 200
        # 40 coins that all fall on one side: once in 2^39.
        assert min(connections_of(first), connections_of(second)) > 0

    for number in range(ORDERS):
        await submit_anew(stack, number)
    assert {await accepted(stack) for _ in range(10)} == {ORDERS}

    first.kill()
    first.wait(10)
    # The other goes on alone, and knows what the dead one had counted.
    for number in range(ORDERS, 2 * ORDERS):
        await submit_anew(stack, number)
    assert await accepted(stack) == 2 * ORDERS

    async def replaced() -> bool:
        return "child_replaced" in stack.log()

    await stack.until(replaced)
    assert len(stack.children("gateway")) == 2
    assert {await accepted(stack) for _ in range(10)} == {2 * ORDERS}
    await stack.all_completed()
    await stack.assert_books_agree()


def test_one_gateway_has_the_port_for_itself_and_several_have_a_number_each(
    make_settings: Callable[..., Settings], short_dir: Path
) -> None:
    [alone] = make_plan(make_settings(data_dir=short_dir)).gateways
    assert (alone.name, "--number" in alone.argv, FOLDER_VARIABLE in alone.env) == ("gateway", False, False)

    settings = make_settings(data_dir=short_dir, gateways=3)
    plan = make_plan(settings)
    numbers = [spec.argv[spec.argv.index("--number") + 1] for spec in plan.gateways]
    assert [spec.name for spec in plan.gateways] == ["gateway-1", "gateway-2", "gateway-3"]
    assert numbers == ["1", "2", "3"]
    assert {spec.env[FOLDER_VARIABLE] for spec in plan.gateways} == {str(short_dir.resolve() / FOLDER_NAME)}
    assert all(spec.again == ["--again"] and spec.name in plan.places for spec in plan.gateways)
    assert not any(FOLDER_VARIABLE in spec.env for spec in plan.workers)


def test_a_port_that_is_held_is_for_those_who_share_it_and_for_no_other_up() -> None:
    [port] = free_ports(1)

    def listening(*, shares: bool) -> socket.socket:
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, int(shares))
        try:
            listener.bind(("127.0.0.1", port))
            listener.listen()
        except OSError:
            listener.close()
            raise
        return listener

    with hold_port("127.0.0.1", port, "ANTREAN_HTTP_PORT"):
        with pytest.raises(ConnectionRefusedError):  # nobody waits in vain at who only holds it
            socket.create_connection(("127.0.0.1", port), 5)
        for taken in (hold_port, check_port_free):
            with pytest.raises(StartError, match=f"Port {port} .* in use"):
                taken("127.0.0.1", port, "ANTREAN_HTTP_PORT")
        with pytest.raises(OSError, match="in use"):
            listening(shares=False)
        with listening(shares=True), listening(shares=True):
            socket.create_connection(("127.0.0.1", port), 5).close()
    listening(shares=False).close()


def test_what_earlier_gateways_counted_is_gone_and_the_room_is_taken_on_the_disk(short_dir: Path) -> None:
    make_room(short_dir, range(1, 3))
    [old, *_] = sorted((short_dir / FOLDER_NAME).iterdir())
    old.write_bytes(b"of before")
    make_room(short_dir, range(1, 3))
    files = list((short_dir / FOLDER_NAME).iterdir())
    assert len(files) == 6
    for file in files:
        # A hole in a file would be filled at a write, and a full disk kills who writes then.
        assert file.stat().st_size == FILE_BYTES <= file.stat().st_blocks * 512
        assert not any(file.read_bytes())


def test_a_gateway_whose_folder_of_counts_was_cleared_away_begins_all_the_same(
    short_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(FOLDER_VARIABLE, str(short_dir / FOLDER_NAME))
    monkeypatch.setattr(values, "ValueClass", values.ValueClass)
    make_room(short_dir, range(1, 3))
    shutil.rmtree(short_dir / FOLDER_NAME)
    count_as(2)
    metrics = Metrics()
    metrics.accepted("purchase")
    assert b'antrean_orders_accepted_total{kind="purchase"} 1.0' in metrics.own_text({}, None)
