"""More than one host: what was accepted outlives the primary, and nothing is bought twice across a failover."""

from __future__ import annotations

import asyncio
import signal

import httpx
import pytest
import redis as blocking

from stack import purchase
from topology import Topology, Valkey, running_topology


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

        async def tells_why() -> bool:
            reasons = (await topology.http.get("/readyz")).json().get("reasons", [])
            return any("0 of 1 good replicas (1 connected)" in reason for reason in reasons)

        await topology.until(tells_why, 20)
        assert "antrean_redis_replicas 0.0" in (await topology.ops.get("/metrics")).text
        assert (await topology.sim_state())["sold"] == sold

        replica.signal(signal.SIGCONT)
        again = [topology.submit(purchase(), key=f"p{n}") for n in range(3)]
        await asyncio.gather(*again)
        await topology.all_completed(60)
        await topology.assert_books_agree()


def cut_off(primary: Valkey) -> blocking.Redis:
    """Part a primary from its replica and the Sentinels, and from nobody who is connected already.

    Whoever comes anew needs a password that nobody has. Answers a client on the primary's side.
    """
    client = blocking.Redis(port=primary.port, protocol=2, single_connection_client=True)
    client.config_set("requirepass", "nobody-has-it")
    for other in client.client_list():
        if other["name"].startswith("sentinel") or "S" in other["flags"]:
            client.client_kill_filter(_id=other["id"])
    return client


@pytest.mark.long
async def test_a_primary_cut_off_in_a_drain_refuses_writes_the_promoted_one_knows_every_202_and_nothing_is_lost() -> (
    None
):
    async with running_topology() as topology:
        await topology.fault("slow", ["generate"], delay_s=0.3)
        await asyncio.gather(*await burst(topology, 30))
        old = topology.primary()
        assert old is not None
        new = next(v for v in topology.valkeys if v is not old)
        inside = cut_off(old)
        with inside:
            tasks = await burst(topology, 20)
            with pytest.raises(blocking.ResponseError, match="NOREPLICAS"):
                inside.set("written", "on the side that is cut off")

            async def promoted() -> bool:
                return bool(new.info().get("role") == "master")

            await topology.until(promoted, 30)
            assert inside.info("replication")["role"] == "master"  # two primaries, one of which takes nothing
            with pytest.raises(blocking.ResponseError, match="NOREPLICAS"):
                inside.set("written", "on the side that is cut off")
            with blocking.Redis(port=new.port, protocol=2) as beyond:
                known = beyond.zcard("an:index")
            assert known >= 30  # every 202 of before is on the other side
            inside.config_set("requirepass", "")

        async def healed() -> bool:
            info = old.info()
            return bool(info.get("role") == "slave" and info.get("master_link_status") == "up")

        await topology.until(healed, 60)
        await asyncio.gather(*tasks)
        assert len(set(topology.accepted.values())) == 50
        await topology.no_faults()
        await topology.all_completed(90)
        await topology.assert_books_agree()
        with blocking.Redis(port=old.port, protocol=2) as replica:
            assert replica.zcard("an:index") == 50
            assert not replica.exists("written")
