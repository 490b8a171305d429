"""More than one host: what was accepted outlives the primary, and nothing is bought twice across a failover."""

from __future__ import annotations

import asyncio
import signal

import httpx
import pytest

from stack import purchase
from topology import Topology, running_topology


async def burst(topology: Topology, count: int) -> list[asyncio.Task[dict[str, object]]]:
    return [asyncio.create_task(topology.submit(purchase())) for _ in range(count)]


async def test_primary_killed_in_a_burst_no_accepted_order_is_lost_and_none_is_bought_twice() -> None:
    async with running_topology() as topology:
        await topology.fault("slow", ["generate"], delay_s=0.2)
        before = await asyncio.gather(*await burst(topology, 40))
        tasks = await burst(topology, 60)
        await asyncio.sleep(0.15)
        old = topology.primary()
        assert old is not None
        old.signal(signal.SIGKILL)
        tasks += await burst(topology, 40)

        async def failed_over() -> bool:
            new = topology.primary()
            return new is not None and new is not old

        await topology.until(failed_over, 30)
        # As its container would be: started again. It finds itself a replica, and writes are taken again.
        old.start(None)
        await asyncio.gather(*tasks)

        assert len(before) == 40
        assert len(set(topology.accepted.values())) == 140
        await topology.no_faults()
        await topology.all_completed(90)
        await topology.assert_books_agree()
        # The other gateway tells the same.
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{topology.gateway_ports[1]}",
            headers=topology.http.headers,
        ) as other:
            for order_id in topology.accepted.values():
                assert (await other.get(f"/v1/orders/{order_id}")).json()["state"] == "completed"


@pytest.mark.long
async def test_a_primary_that_lost_sight_of_its_replica_takes_no_order_and_buys_nothing() -> None:
    async with running_topology() as topology:
        await asyncio.gather(*await burst(topology, 5))
        await topology.all_completed(30)
        replica = next(v for v in topology.valkeys if v is not topology.primary())
        replica.signal(signal.SIGSTOP)
        sold = (await topology.sim_state())["sold"]

        refused = [
            await topology.http.post("/v1/orders", json=purchase(), headers={"Idempotency-Key": f"p{n}"})
            for n in range(3)
        ]
        assert {answer.status_code for answer in refused} == {503}
        assert all("retry-after" in answer.headers for answer in refused)

        async def refuses_writes() -> bool:
            primary = topology.primary()
            return primary is not None and primary.info().get("min_slaves_good_slaves") == 0

        await topology.until(refuses_writes, 20)
        assert (await topology.sim_state())["sold"] == sold

        replica.signal(signal.SIGCONT)
        again = [topology.submit(purchase(), key=f"p{n}") for n in range(3)]
        await asyncio.gather(*again)
        await topology.all_completed(60)
        await topology.assert_books_agree()
