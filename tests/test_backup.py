"""A backup taken while everything runs is restored: its orders are there, what was bought for them since is found."""

from __future__ import annotations

import asyncio
import shutil

import pytest
import redis as blocking_redis

from antrean.config.settings import Settings
from antrean.orders import keys
from stack import purchase, running_stack


@pytest.mark.long
@pytest.mark.parametrize("words", [("--paused",), ()], ids=["as documented", "without --paused"])
async def test_a_backup_taken_in_a_burst_is_restored_and_no_stamp_goes_to_two(words: tuple[str, ...]) -> None:
    async with running_stack(workers=1) as stack:
        data = stack.folder / "data"
        url = Settings(_env_file=None, data_dir=data).effective_redis_url
        with blocking_redis.Redis.from_url(url, protocol=2) as client:

            async def balance_known() -> bool:
                return bool(client.hexists(keys.BALANCE, "value"))

            await stack.until(balance_known)
        await asyncio.gather(*(stack.submit(purchase()) for _ in range(15)))
        await stack.submit(await stack.affix_body(), key="affix")
        burst = [asyncio.create_task(stack.submit(purchase())) for _ in range(15)]
        with blocking_redis.Redis.from_url(url, protocol=2) as client:
            client.config_set("auto-aof-rewrite-percentage", 0)
            client.bgrewriteaof()
            while client.info("persistence")["aof_rewrite_in_progress"]:
                await asyncio.sleep(0.05)
            backup = stack.folder / "backup"
            shutil.copytree(data / "valkey" / "appendonlydir", backup / "appendonlydir")
            shutil.copytree(data / "documents", backup / "documents")
        await asyncio.gather(*burst)
        late = [f"late-{n}" for n in range(5)]
        await asyncio.gather(*(stack.submit(purchase(), key=key) for key in late))
        await stack.submit(await stack.affix_body(), key="late affix")
        await stack.all_completed()
        sold = (await stack.sim_state())["sold"]
        assert sold == len(stack.accepted) == 37
        rows = (await stack.ops.get("/v1/orders?limit=500")).json()["orders"]
        in_hand = {row["id"]: row["serial_number"] for row in rows}

        # The machine is lost; what is left is the backup, and the keys from their own safe.
        assert stack.process is not None
        stack.process.terminate()
        await asyncio.to_thread(stack.process.wait, 60)
        shutil.rmtree(data / "valkey")
        shutil.rmtree(data / "documents")
        shutil.copytree(backup / "appendonlydir", data / "valkey" / "appendonlydir")
        shutil.copytree(backup / "documents", data / "documents")
        stack.start(*words)
        await stack.ready()

        # Nothing is bought before it is known what was bought since the backup.
        async def held() -> bool:
            return "balance_unexplained" in {hold["reason"] for hold in (await stack.backlog())["holds"]}

        await stack.until(held, 60)
        assert (await stack.sim_state())["sold"] == sold
        holds = {hold["reason"]: hold for hold in (await stack.backlog())["holds"]}
        detail = holds["balance_unexplained"]["detail"]

        # Terminals repeat what they have no result of, with the keys they used.
        before, stack.accepted = stack.accepted, {}
        affixes = {"affix", "late affix"}
        await asyncio.gather(*(stack.submit(purchase(), key=key) for key in before if key not in affixes))
        kept = {key for key in stack.accepted if stack.accepted[key] == before[key]}
        assert len(kept) >= 15
        assert not kept & set(late)
        # What was sold to orders that the backup does not know may be in their citizens' hands: nobody else gets it.
        lost = len(before) - len(kept | {"affix"})
        assert f" {lost} stamps left the account" in f" {detail}"
        assert f" {lost} serial numbers" in detail
        await stack.ops.delete("/v1/ops/holds/balance_unexplained")
        await stack.ops.delete("/v1/ops/pause")

        async def done() -> bool:
            return bool((await stack.backlog())["open"] == 0)

        await stack.until(done, 90)
        orders = (await stack.ops.get("/v1/orders?limit=500")).json()["orders"]
        serials = [order["serial_number"] for order in orders]
        assert {order["state"] for order in orders} == {"completed"}
        assert len(serials) == len(set(serials)) == 36
        # Not one stamp more was bought for what the backup knows, and what it does not know has its own.
        gone = {in_hand[before[key]] for key in before if key not in kept | {"affix"}}
        assert not gone & set(serials)
        assert (await stack.sim_state())["sold"] == sold + lost - 1  # the late affix was not repeated
        assert (await stack.ops.get("/v1/ops/ledger")).json()["difference_idr"] == 0
