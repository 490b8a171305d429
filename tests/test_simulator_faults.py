"""Every kind of fault, as a client meets it, and whether anything was sold."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest

from antrean.simulator.faults import FaultTable, parse_fault
from antrean.simulator.qr import qr_png
from simulated_upstream import SALE, Upstream, adapter_folder, blank_pdf, simulated


@pytest.fixture
async def upstream() -> AsyncIterator[Upstream]:
    async with simulated(quota=1_000, seed=3) as running:
        yield running


async def raw_generate(upstream: Upstream) -> tuple[int, dict[str, str], bytes]:
    headers = {"Authorization": f"Bearer {upstream.token}"}
    url = f"{upstream.urls['stampv2']}/chanel/stampv2"
    async with upstream.http.post(url, json=SALE, headers=headers) as response:
        return response.status, dict(response.headers), await response.read()


async def sold(upstream: Upstream) -> int:
    return int((await upstream.state())["sold"])


async def test_down_answers_503_and_sells_nothing(upstream: Upstream) -> None:
    await upstream.fault("down")
    status, _, body = await raw_generate(upstream)
    assert (status, body[:6]) == (503, b"<html>")
    assert await sold(upstream) == 0


async def test_refuse_resets_the_connection_and_sells_nothing(upstream: Upstream) -> None:
    await upstream.fault("refuse", scope=["generate"])
    with pytest.raises(aiohttp.ClientConnectionError):
        await raw_generate(upstream)
    assert await sold(upstream) == 0
    assert await upstream.balance() == 1_000


async def test_a_refused_connection_ends_with_a_reset_not_an_orderly_end(upstream: Upstream) -> None:
    await upstream.fault("refuse")
    host, port = upstream.origin.removeprefix("http://").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"POST /backend/function/saldopos HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    with pytest.raises(ConnectionResetError):
        await reader.read()
    writer.close()


async def test_hang_never_answers_until_it_is_lifted_and_sells_nothing(upstream: Upstream) -> None:
    fault = await upstream.fault("hang", scope=["generate"])
    waiting = asyncio.create_task(raw_generate(upstream))
    await upstream.until(lambda state: state["calls"]["in_flight"]["generate"] == 1)
    assert not waiting.done()
    await upstream.call("DELETE", f"{upstream.origin}/_sim/faults/{fault['id']}")
    with pytest.raises(aiohttp.ClientConnectionError):
        await waiting
    assert await sold(upstream) == 0


async def test_a_hanging_call_is_forgotten_when_its_client_goes(upstream: Upstream) -> None:
    await upstream.fault("hang", scope=["generate"])
    waiting = asyncio.create_task(raw_generate(upstream))
    await upstream.until(lambda state: state["calls"]["in_flight"]["generate"] == 1)
    waiting.cancel()
    await upstream.until(lambda state: state["calls"]["in_flight"]["generate"] == 0)


async def test_slow_answers_after_its_delay(upstream: Upstream) -> None:
    await upstream.fault("slow", delay_s=0.2)
    began = time.monotonic()
    await upstream.buy()
    assert time.monotonic() - began >= 0.2


def test_slow_answers_differ_by_their_spread_and_repeat_by_their_seed() -> None:
    def times(seed: int, **params: float) -> list[float]:
        table = FaultTable(lambda: 0.0, random.Random(seed))
        fault = table.add(parse_fault({"kind": "slow", "delay_s": 0.2, **params}))
        return [table.slow_s(fault) for _ in range(50)]

    assert set(times(1)) == {0.2}
    assert all(0.08 <= each <= 0.32 for each in times(1, spread=0.6))
    assert len(set(times(1, spread=0.6))) > 40
    assert times(1, spread=0.6) == times(1, spread=0.6) != times(2, spread=0.6)


async def test_a_slow_call_is_carried_out_though_its_client_has_gone(upstream: Upstream) -> None:
    await upstream.fault("slow", delay_s=0.3, scope=["generate"])
    waiting = asyncio.create_task(raw_generate(upstream))
    await upstream.until(lambda state: state["calls"]["in_flight"]["generate"] == 1)
    waiting.cancel()
    await upstream.until(lambda state: state["sold"] == 1)


@pytest.mark.parametrize(("commit", "sales"), [(False, 0), (True, 1)])
async def test_an_error_may_come_before_or_after_the_sale(
    upstream: Upstream, commit: bool, sales: int
) -> None:
    await upstream.fault("error", status=502, commit=commit)
    assert (await raw_generate(upstream))[0] == 502
    assert await sold(upstream) == sales


async def test_a_lost_answer_has_sold_the_sn(upstream: Upstream) -> None:
    await upstream.fault("lost_answer", scope=["generate"])
    with pytest.raises(aiohttp.ClientConnectionError):
        await raw_generate(upstream)
    assert await sold(upstream) == 1
    assert (await upstream.listed())["result"]["data"][0]["file"] == SALE["namafile"]


async def test_a_late_answer_has_sold_the_sn_before_it_comes(upstream: Upstream) -> None:
    await upstream.fault("late_answer", delay_s=0.5, scope=["generate"])
    waiting = asyncio.create_task(raw_generate(upstream))
    await upstream.until(lambda state: state["sold"] == 1)
    assert not waiting.done()
    assert (await waiting)[0] == 200


@pytest.mark.parametrize(("commit", "sales"), [(False, 0), (True, 1)])
async def test_garbage_is_http_200_with_html(upstream: Upstream, commit: bool, sales: int) -> None:
    await upstream.fault("garbage", commit=commit)
    status, headers, body = await raw_generate(upstream)
    assert status == 200
    assert headers["Content-Type"].startswith("text/html")
    assert b"<html" in body
    assert await sold(upstream) == sales


@pytest.mark.parametrize(("commit", "sales"), [(False, 0), (True, 1)])
async def test_half_json_is_http_200_that_cannot_be_read(
    upstream: Upstream, commit: bool, sales: int
) -> None:
    await upstream.fault("half_json", commit=commit)
    status, _, body = await raw_generate(upstream)
    assert status == 200
    with pytest.raises(orjson.JSONDecodeError):
        orjson.loads(body)
    assert await sold(upstream) == sales


async def test_quota_end_answers_93_while_the_balance_is_untouched(upstream: Upstream) -> None:
    await upstream.fault("quota_end")
    assert (await upstream.generate())["statusCode"] == "93"
    assert await upstream.balance() == 1_000


async def test_token_end_kills_all_tokens_at_once_and_is_not_kept(upstream: Upstream) -> None:
    await upstream.fault("token_end")
    assert (await upstream.generate())["statusCode"] == "01"
    await upstream.login()
    assert (await upstream.generate())["statusCode"] == "00"
    assert (await upstream.state())["faults"] == []


async def test_a_bad_token_may_also_be_http_401(upstream: Upstream) -> None:
    await upstream.call("PUT", f"{upstream.origin}/_sim/modes", json={"bad_token_http": "401"})
    await upstream.fault("token_end")
    status, _, body = await raw_generate(upstream)
    assert (status, orjson.loads(body)["statusCode"]) == (401, "01")


async def test_capacity_turns_away_calls_above_it(upstream: Upstream) -> None:
    await upstream.fault("slow", delay_s=0.3, scope=["generate"])
    await upstream.fault("capacity", max_in_flight=3, scope=["generate"])
    answers = await asyncio.gather(*(raw_generate(upstream) for _ in range(8)))
    assert sorted(status for status, _, _ in answers) == [200] * 3 + [503] * 5
    assert await sold(upstream) == 3
    assert (await raw_generate(upstream))[0] == 200


async def test_capacity_may_slow_down_what_is_above_it(upstream: Upstream) -> None:
    await upstream.fault("capacity", per_s=1, over="slow", delay_s=0.2, scope=["generate"])
    answers = await asyncio.gather(*(raw_generate(upstream) for _ in range(4)))
    assert [status for status, _, _ in answers] == [200] * 4
    assert (await upstream.state())["fault_hits"]["capacity"] == 3


async def test_a_collapse_fails_every_call_and_passes(upstream: Upstream) -> None:
    await upstream.fault("capacity", per_s=5, collapse=True, collapse_s=0.5, scope=["generate"])
    answers = await asyncio.gather(*(raw_generate(upstream) for _ in range(20)))
    statuses = [status for status, _, _ in answers]
    assert statuses.count(503) >= 14
    assert await sold(upstream) == statuses.count(200)
    async with asyncio.timeout(10):
        while (await raw_generate(upstream))[0] != 200:
            await asyncio.sleep(0.25)


async def test_one_slot_stamps_one_at_a_time(tmp_path: Path) -> None:
    folder = adapter_folder(tmp_path / "shared", blank_pdf(), qr_png("X"))
    async with simulated(adapter_root=folder, latency_s=0.2) as upstream:
        await upstream.fault("one_slot", code="98")
        numbers = [await upstream.buy(f"{n}.pdf") for n in range(3)]
        answers = await asyncio.gather(*(upstream.stamp(folder, number) for number in numbers))
        assert sorted(answer["errorCode"] for answer in answers) == ["00", "98", "98"]
        assert (await upstream.stamp(folder, numbers[0]))["errorCode"] == "00"


async def test_retry_after_is_told(upstream: Upstream) -> None:
    await upstream.fault("retry_after", retry_after_s=7)
    status, headers, _ = await raw_generate(upstream)
    assert (status, headers["Retry-After"]) == (429, "7")
    assert await sold(upstream) == 0


@pytest.mark.parametrize("code", ["97", "92"])
async def test_sn_unusable_refuses_a_stamp_with_its_code(tmp_path: Path, code: str) -> None:
    folder = adapter_folder(tmp_path / "shared", blank_pdf(), qr_png("X"))
    async with simulated(adapter_root=folder) as upstream:
        await upstream.fault("sn_unusable", code=code)
        assert (await upstream.stamp(folder, await upstream.buy()))["errorCode"] == code


async def test_reject_refuses_a_sale_with_its_code_and_message(upstream: Upstream) -> None:
    await upstream.fault("reject", code="21", message="NIK tidak sesuai")
    answer = await upstream.generate()
    assert (answer["statusCode"], answer["message"]) == ("21", "NIK tidak sesuai")
    assert await sold(upstream) == 0


async def test_list_lag_hides_a_sale_from_the_list_and_if_wished_from_the_status(upstream: Upstream) -> None:
    number = await upstream.buy()
    await upstream.fault("list_lag", lag_s=60)
    assert (await upstream.listed())["result"]["total"] == 0
    assert (await upstream.status(number))["result"]["total"] == 1
    await upstream.fault("list_lag", lag_s=60, scope=["sn_status"])
    assert (await upstream.status(number))["result"] == []


async def test_balance_drift_takes_stamps_without_a_sale(upstream: Upstream) -> None:
    await upstream.fault("balance_drift", count=3)
    assert await upstream.balance() == 997
    state = await upstream.state()
    assert (state["drift"], state["sold"]) == (3, 0)


async def test_faults_act_together_and_in_their_share(upstream: Upstream) -> None:
    await upstream.fault("lost_answer", rate=0.5, scope=["generate"])
    outcomes: list[Any] = []
    for _ in range(40):
        outcomes += await asyncio.gather(raw_generate(upstream), return_exceptions=True)
    lost = sum(isinstance(outcome, aiohttp.ClientConnectionError) for outcome in outcomes)
    assert 8 <= lost <= 32
    state = await upstream.state()
    assert (state["sold"], state["fault_hits"]["lost_answer"]) == (40, lost)
