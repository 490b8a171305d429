"""The whole way on real processes: two workers, the simulator as upstream, an outage, and everything comes through."""

from __future__ import annotations

import asyncio
import io

import pikepdf

from stack import purchase, running_stack


async def test_an_outage_holds_a_hundred_orders_and_each_is_completed_once_when_it_is_over() -> None:
    async with running_stack() as stack:
        bought = await stack.submit(purchase(reference="loket 3"))
        stamped = await stack.submit(await stack.affix_body())
        await stack.all_completed()

        done = await stack.order(bought["id"])
        assert done["state"] == "completed"
        assert done["serial_number"]
        qr = await stack.http.get(done["qr_url"])
        assert qr.headers["Content-Type"] == "image/png"
        assert qr.content.startswith(b"\x89PNG")
        document = await stack.http.get((await stack.order(stamped["id"]))["document_url"])
        assert document.headers["Content-Type"] == "application/pdf"
        with pikepdf.open(io.BytesIO(document.content)) as pdf:
            assert len(pdf.pages) == 1
            assert pdf.pages[0].get_images()

        answer = await stack.sim.put("/_sim/outage", json={"on": True, "mode": "down"})
        assert answer.status_code < 300, answer.text
        first = await stack.submit(purchase())

        async def breaker_open() -> bool:
            await stack.submit(purchase())
            shown = (await stack.ops.get("/v1/ops/breaker")).json()["breakers"]["provider"]
            return bool(shown["state"] == "open")

        await stack.until(breaker_open)
        bodies = [await stack.affix_body() if n % 4 == 0 else purchase() for n in range(100)]
        held = await asyncio.gather(*(stack.submit(body) for body in bodies))

        async def all_held() -> bool:
            backlog = await stack.backlog()
            return bool(backlog["held"] >= 100 and backlog["by_state"]["queued"] >= 100)

        await stack.until(all_held)
        assert (await stack.backlog())["by_state"]["completed"] == 2
        shown = await stack.order(held[50]["id"])
        assert shown["state"] == "queued"
        assert shown["holding"]["reason"] == "upstream_unavailable"
        assert shown["position"] >= 1
        assert shown["eta"] is None
        assert shown["attempts"] == 0
        calls = (await stack.sim_state())["calls"]["total"]
        generates, free = calls["generate"], sum(calls.values()) - calls["generate"]
        await asyncio.sleep(3)  # three probe intervals in which nothing but probes may go out
        calls = (await stack.sim_state())["calls"]["total"]
        assert calls["generate"] == generates
        assert sum(calls.values()) - calls["generate"] - free <= 4

        await stack.sim.delete("/_sim/outage")
        await stack.all_completed()
        await stack.assert_books_agree()
        assert (await stack.order(first["id"]))["state"] == "completed"
        serials = {(await stack.order(o["id"]))["serial_number"] for o in held}
        assert len(serials) == 100
        for order in held[:8:4]:
            assert (await stack.http.get(f"/v1/orders/{order['id']}/document")).status_code == 200
