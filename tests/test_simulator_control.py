"""The controls, the page, and the simulator as a process."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest

from antrean.simulator.addresses import base_urls
from antrean.simulator.calls import CALL_KINDS
from antrean.simulator.faults import FAULT_PARAMS
from simulated_upstream import PASSWORD, SALE, USER, Upstream, simulated


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with simulated(quota=50) as running:
        yield running


@pytest.mark.parametrize("mode", ["down", "refuse", "hang"])
async def test_an_outage_takes_every_call_and_counts_what_came(upstream: Upstream, mode: str) -> None:
    url = f"{upstream.origin}/_sim/outage"
    _, answer = await upstream.call("PUT", url, json={"on": True, "mode": mode})
    assert answer["outage"]["on"]
    with pytest.raises((aiohttp.ClientError, TimeoutError, ValueError)):
        async with asyncio.timeout(0.3):
            await upstream.balance()
    state = await upstream.state()
    assert state["outage"]["mode"] == mode
    assert state["calls"]["during_outage"]["balance"] == 1
    assert state["calls"]["during_outage"]["generate"] == 0
    await upstream.call("DELETE", url)
    assert await upstream.balance() == 50
    state = await upstream.state()
    assert not state["outage"]["on"]
    assert state["calls"]["during_outage"]["balance"] == 1


async def test_lifting_an_outage_leaves_other_faults(upstream: Upstream) -> None:
    await upstream.fault("quota_end")
    url = f"{upstream.origin}/_sim/outage"
    await upstream.call("PUT", url, json={"on": True})
    await upstream.call("PUT", url, json={"on": False})
    assert [fault["kind"] for fault in (await upstream.state())["faults"]] == ["quota_end"]


async def test_a_list_of_faults_takes_the_place_of_all_or_changes_nothing(upstream: Upstream) -> None:
    url = f"{upstream.origin}/_sim/faults"
    await upstream.fault("quota_end")
    status, _ = await upstream.call("PUT", url, json=[{"kind": "slow"}, {"kind": "nonsense"}])
    assert status == 400
    assert [fault["kind"] for fault in (await upstream.state())["faults"]] == ["quota_end"]
    _, answer = await upstream.call("PUT", url, json={"faults": [{"kind": "slow"}, {"kind": "token_end"}]})
    assert [fault["kind"] for fault in answer["faults"]] == ["slow"]
    _, answer = await upstream.call("DELETE", url)
    assert answer["faults"] == []
    assert (await upstream.call("DELETE", f"{url}/f999"))[0] == 404


async def test_what_was_really_sold_can_be_asked(upstream: Upstream) -> None:
    bought = [await upstream.buy(f"order-{n}.pdf") for n in range(3)]
    _, answer = await upstream.call("GET", f"{upstream.origin}/_sim/serials", params={"limit": 2})
    assert answer["total"] == 3
    assert [(row["sn"], row["file"], row["status"]) for row in answer["serials"]] == [
        (bought[0], "order-0.pdf", "NOTSTAMP"),
        (bought[1], "order-1.pdf", "NOTSTAMP"),
    ]
    _, answer = await upstream.call("GET", f"{upstream.origin}/_sim/serials", params={"sn": bought[2]})
    assert [row["file"] for row in answer["serials"]] == ["order-2.pdf"]


async def test_an_sn_of_no_order_is_on_the_account_but_was_not_sold(upstream: Upstream) -> None:
    url = f"{upstream.origin}/_sim/seed-serial"
    status, answer = await upstream.call("POST", url, json={"file": "manual.pdf", "spend": True})
    assert status == 201
    assert (await upstream.status(answer["serials"][0]["sn"]))["result"]["data"][0]["file"] == "manual.pdf"
    state = await upstream.state()
    assert (state["sold"], state["seeded"], state["quota_left"]) == (0, 1, 49)
    status, _ = await upstream.call("POST", url, json={"sn": answer["serials"][0]["sn"]})
    assert status == 400


async def test_counts_start_anew_and_books_stay_unless_all_is_reset(upstream: Upstream) -> None:
    await upstream.buy()
    url = f"{upstream.origin}/_sim/reset"
    _, state = await upstream.call("POST", url)
    assert state["sold"] == 1
    assert state["calls"]["since_reset"]["generate"] == 0
    assert state["calls"]["total"]["generate"] == 1
    await upstream.fault("down")
    _, state = await upstream.call("POST", url, json={"what": "all"})
    assert (state["sold"], state["quota_left"], state["faults"]) == (0, 50, [])


async def test_the_most_calls_in_flight_are_remembered(upstream: Upstream) -> None:
    await upstream.fault("slow", delay_s=0.2, scope=["generate"])
    await asyncio.gather(*(upstream.buy(f"{n}.pdf") for n in range(6)))
    calls = (await upstream.state())["calls"]
    assert calls["in_flight"]["generate"] == 0
    assert calls["max_in_flight"]["generate"] == 6


async def test_calls_are_logged_newest_first(upstream: Upstream) -> None:
    await upstream.buy()
    await upstream.balance()
    _, answer = await upstream.call("GET", f"{upstream.origin}/_sim/calls", params={"limit": 2})
    assert [(call["kind"], call["status"]) for call in answer["calls"]] == [
        ("balance", 200),
        ("generate", 200),
    ]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("PUT", "quota", {"quota": -1}),
        ("PUT", "quota", {"quota": "many"}),
        ("PUT", "quota", [1]),
        ("POST", "reset", {"what": "world"}),
        ("POST", "seed-serial", {"count": 10**9}),
        ("POST", "seed-serial", {"sn": "kecil"}),
        ("PUT", "modes", {"qrimage": "svg"}),
        ("PUT", "modes", {"nothing": "list"}),
        ("POST", "faults", {"kind": "down", "scope": ["x"]}),
        ("PUT", "outage", {"on": True, "mode": "slow"}),
        ("GET", "serials?limit=-1", None),
        ("GET", "calls?kind=x", None),
    ],
)
async def test_a_control_that_makes_no_sense_is_refused_with_a_reason(
    upstream: Upstream, method: str, path: str, body: object
) -> None:
    status, answer = await upstream.call(method, f"{upstream.origin}/_sim/{path}", json=body)
    assert status == 400
    assert answer["error"]


async def test_another_site_cannot_use_the_controls_through_a_browser(upstream: Upstream) -> None:
    headers = {"Sec-Fetch-Site": "cross-site"}
    async with upstream.http.delete(f"{upstream.origin}/_sim/faults", headers=headers) as response:
        assert response.status == 403


async def test_the_page_loads_with_its_script_and_style_under_a_strict_policy(upstream: Upstream) -> None:
    for path, kind, text in (
        ("/", "text/html", "Simulator Peruri"),
        ("/_sim/page.js", "text/javascript", "refresh"),
        ("/_sim/page.css", "text/css", "prefers-color-scheme"),
    ):
        async with upstream.http.get(upstream.origin + path) as response:
            assert response.status == 200
            assert response.content_type == kind
            policy = response.headers["Content-Security-Policy"]
            assert "unsafe" not in policy
            body = await response.text()
            assert text in body
            assert "http://" not in body
            assert "https://" not in body


async def test_the_page_has_a_word_on_every_kind_of_fault(upstream: Upstream) -> None:
    _, about = await upstream.call("GET", f"{upstream.origin}/_sim/fault-kinds")
    assert set(about["kinds"]) == set(FAULT_PARAMS)
    assert about["calls"] == list(CALL_KINDS)
    async with upstream.http.get(f"{upstream.origin}/_sim/page.js") as response:
        script = await response.text()
    assert [kind for kind in FAULT_PARAMS if f"  {kind}: " not in script] == []


async def test_no_fault_acts_on_the_controls_or_the_page(upstream: Upstream) -> None:
    await upstream.fault("refuse")
    async with upstream.http.get(f"{upstream.origin}/") as response:
        assert response.status == 200
    assert (await upstream.state())["faults"][0]["hits"] == 0


async def test_a_stop_does_not_wait_for_calls_that_hang() -> None:
    async with simulated() as upstream:
        await upstream.fault("hang", scope=["balance"])
        waiting = asyncio.create_task(upstream.balance())
        await upstream.until(lambda state: state["calls"]["in_flight"]["balance"] == 1)
        stopping_at = time.monotonic()
    assert time.monotonic() - stopping_at < 0.9
    with pytest.raises(aiohttp.ClientError):
        await waiting


def test_every_base_url_has_a_path_of_its_own() -> None:
    urls = base_urls("http://127.0.0.1:9000/")
    assert set(urls) == {"backend", "stampv2", "inventory", "adapter", "fileupload", "stampservice"}
    assert len(set(urls.values())) == 6
    assert urls["adapter"] == "http://127.0.0.1:9000/adapter-host"


async def test_the_process_announces_itself_ends_on_sigterm_and_keeps_its_books(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path\n"
        "from antrean.simulator.app import SimulatorConfig, run\n"
        f"config = SimulatorConfig({USER!r}, {PASSWORD!r}, quota=9, books_path=Path(sys.argv[2]))\n"
        "run(config, '127.0.0.1', int(sys.argv[1]), lambda: print('ready', flush=True))\n"
    )
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    for already_sold in (0, 1):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            script,
            str(port),
            str(tmp_path / "books.jsonl"),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert process.stdout is not None
        assert process.stderr is not None
        async with asyncio.timeout(20):
            assert await process.stdout.readline() == b"ready\n"
            async with aiohttp.ClientSession() as http:
                async with http.get(f"http://127.0.0.1:{port}/_sim/state") as response:
                    state = await response.json()
                assert (state["sold"], state["quota_left"]) == (already_sold, 9 - already_sold)
                login = {"user": USER, "password": PASSWORD}
                urls = base_urls(f"http://127.0.0.1:{port}")
                async with http.post(f"{urls['backend']}/api/users/login", json=login) as response:
                    token = (await response.json())["token"]
                await _buy(http, urls["stampv2"], token)
                process.send_signal(signal.SIGTERM)
                assert await process.wait() == 0
            assert await process.stderr.read() == b""


async def _buy(http: aiohttp.ClientSession, stampv2: str, token: str) -> None:
    headers = {"Authorization": f"Bearer {token}"}
    async with http.post(f"{stampv2}/chanel/stampv2", json=SALE, headers=headers) as response:
        assert (await response.json())["statusCode"] == "00"
