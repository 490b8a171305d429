"""The product as it runs: logs and files tell nothing of a person or a secret; keys change; webhooks arrive."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import httpx
import pytest
from redis.asyncio import Redis

from antrean.orders import keys
from receiver import receiving, verifies
from stack import OPS_KEY, TERMINAL_KEY, Stack, pdf_bytes, purchase, running_stack

NIK, NAME = "3171017101040001", "Zulkarnain Wiryawan"
OFFICE = "DEMO-01"
UPSTREAM_PASSWORD = "simulated"
PERSON = {"identity_type": "KTP", "identity_number": NIK, "name": NAME}


async def antrean(stack: Stack, *args: str) -> str:
    """A command beside the running stack; answers what it said."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "antrean",
        *args,
        env=stack.env,
        cwd=stack.folder,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 0, err.decode()
    return out.decode().strip()


def kept(folder: Path, *, logs_only: bool) -> dict[str, bytes]:
    """Files that the product writes, by name; not the documents, and not what the upstream keeps for itself."""
    found = {}
    for path in folder.rglob("*"):
        name = str(path.relative_to(folder))
        theirs = name.startswith(("data/documents", "data/sharefolder", "data/simulator"))
        if path.is_file() and not theirs and (path.suffix == ".log" or not logs_only):
            found[name] = path.read_bytes()
    return found


def assert_nowhere(secrets: list[str], files: dict[str, bytes]) -> None:
    """None of them stands in any of the files."""
    for name, content in files.items():
        for secret in secrets:
            assert secret.encode() not in content, f"{secret[:4]}… stands in {name}"


async def restart(stack: Stack) -> None:
    """Gateway and workers die and come back, as at a change of settings."""
    old = {c.pid for name in ("gateway", "worker") for c in stack.children(name)}
    for name in ("gateway", "worker"):
        for child in stack.children(name):
            child.kill()

    async def replaced() -> bool:
        now = {c.pid for name in ("gateway", "worker") for c in stack.children(name)}
        return len(now) == len(old) and not now & old

    await stack.until(replaced)
    await stack.ready()


async def test_nothing_of_a_person_and_no_secret_is_logged_or_kept_in_clear() -> None:
    settings = {"log_level": "DEBUG", "webhook_allow_private": "true"}
    async with receiving() as receiver, running_stack(workers=1, **settings) as stack:
        made = await stack.ops.post("/v1/ops/keys", json={"role": "supervisor", "office": OFFICE})
        supervisor = made.json()["key"]
        secret = await antrean(stack, "webhooks", "secret", "--office", OFFICE)
        hook = receiver.at("/hook?token=in-the-url")

        # Orders of all kinds, and every mistake that might be logged.
        bought = await stack.submit(purchase(taxpayer=PERSON, webhook_url=hook))
        stamped = await stack.submit(await stack.affix_body(taxpayer=PERSON))
        await stack.all_completed()
        await stack.fault("reject", message=f"NIK {NIK} atas nama {NAME.upper()} ditolak")
        rejected = await stack.submit(purchase(taxpayer=PERSON, webhook_url=hook))
        for fault in ("reject", "error", "garbage", "lost_answer"):
            before = await stack.fault_hits(fault)
            await stack.fault(fault)
            await stack.submit(purchase(taxpayer=PERSON))
            await stack.until_hit(fault, before + 1)
            await stack.no_faults()
        for wrong in (
            purchase(taxpayer=PERSON | {"identity_number": NIK + "1"}),
            purchase(taxpayer=PERSON, reference=f"{NIK}\n{NAME}"),
            purchase(taxpayer=PERSON | {NAME: NIK}),
        ):
            answer = await stack.http.post("/v1/orders", json=wrong, headers={"Idempotency-Key": NIK})
            assert answer.status_code == 422
            assert NIK not in answer.text
            assert NAME not in answer.text
        broken = f'{{"taxpayer": {{"name": "{NAME}", "identity_number": "{NIK}"'
        headers = {"Idempotency-Key": "x", "Content-Type": "application/json"}
        assert (await stack.http.post("/v1/orders", content=broken, headers=headers)).status_code == 400
        document = {"Content-Type": "application/pdf"}
        for bad in (f"{NIK} {NAME}".encode(), pdf_bytes()[:200]):
            assert (await stack.http.post("/v1/documents", content=bad, headers=document)).status_code == 422
        async with httpx.AsyncClient(base_url=str(stack.http.base_url)) as stranger:
            guessed = {"Authorization": f"Bearer {TERMINAL_KEY}x"}
            assert (await stranger.get(f"/v1/orders/{NIK}", headers=guessed)).status_code == 401
            seen = {"Authorization": f"Bearer {supervisor}"}
            shown = (await stranger.get(f"/v1/orders/{stamped['id']}", headers=seen)).json()
            assert (shown["taxpayer"]["identity_number"], shown["taxpayer"]["name"]) == (NIK, NAME)
            rows = (await stranger.get(f"/v1/orders/{stamped['id']}/access", headers=seen)).json()["access"]
            assert [row["what"] for row in rows] == ["identity"]

        async def told() -> bool:
            return len(receiver.received) >= 2

        await stack.until(told)
        assert {r.event["type"] for r in receiver.received} == {"order.completed", "order.rejected"}
        assert all(verifies(r, secret) for r in receiver.received)
        error = (await stack.order(rejected["id"]))["error"]
        assert NIK not in error["message"]

        ticket = bought["ticket"]["token"]
        assert (await stack.http.get(f"/v1/tickets/{ticket}")).status_code == 200
        people = [NIK, NAME, NAME.upper(), "Zulkarnain"]
        passwords = [TERMINAL_KEY, OPS_KEY, supervisor, supervisor.split("_", 3)[3], UPSTREAM_PASSWORD]
        passwords += [secret, secret.removeprefix("whsec_"), "in-the-url", "Bearer ", "eyJ", ticket]
        logs = kept(stack.folder, logs_only=True)
        assert {"up.log", "data/valkey/valkey.log"} <= set(logs)
        assert "order accepted" in stack.log()
        assert_nowhere(people + passwords, logs)
        # At rest: Redis' own files as well. Tokens and addresses of webhooks are kept there and belong to no person.
        everything = kept(stack.folder, logs_only=False)
        assert any(n.endswith(".aof") and bought["id"].encode() in c for n, c in everything.items())
        assert_nowhere([*people, TERMINAL_KEY, OPS_KEY, supervisor, secret], everything)


async def test_keys_change_under_a_running_stack_and_no_order_notices() -> None:
    # An order is erased a second after its end, at a worker's next look: the first is at its start.
    async with running_stack(workers=1, personal_retention_days="0.00001") as stack:
        key_file = stack.folder / "data" / "personal.keys"
        first = key_file.read_text().strip()
        early = [await stack.submit(purchase(taxpayer=PERSON)) for _ in range(2)]
        await stack.all_completed()
        await antrean(stack, "personal", "erase", early[0]["id"], "--reason", "asked for")
        assert (await stack.order(early[0]["id"]))["taxpayer"] is None

        await stack.ops.put("/v1/ops/pause", json={"reason": "keys change"})
        await stack.submit(purchase(taxpayer=PERSON))
        assert f"Copy {key_file} to a safe place" in await antrean(stack, "personal", "new-key", "--install")
        assert first in key_file.read_text()
        with pytest.raises(AssertionError, match="No gateway encrypts with"):
            await antrean(stack, "personal", "reseal", "--retire")
        await restart(stack)
        await stack.submit(purchase(taxpayer=PERSON))
        # As if the gateway of before had been gone for long: retiring would wait for its last sign.
        redis = Redis.from_url(f"unix://{stack.folder}/data/valkey/valkey.sock")
        assert await redis.hdel(keys.RING_SEEN, first.partition(":")[0]) == 1
        await redis.aclose()
        said = await antrean(stack, "personal", "reseal", "--retire")
        assert f"to restore one, put it second in {key_file}" in said
        assert first not in key_file.read_text()
        await restart(stack)
        await stack.ops.delete("/v1/ops/pause")
        await stack.all_completed()

        async def erased() -> bool:
            return (await stack.order(early[1]["id"]))["erased_at"] is not None

        await stack.until(erased)
        await stack.assert_books_agree()
