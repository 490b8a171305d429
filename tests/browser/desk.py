"""What a test does at a browser: sign in, type, look; and what it may see of the product behind it."""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, FilePayload, Locator, Page, expect

from stack import OPS_KEY, Stack, pdf_bytes

#: A wait for something that the page does by itself, in ms.
WAIT_MS = 15_000
NIK, NAME = "1271010101900001", "Siti Aminah"
expect.set_options(timeout=WAIT_MS)


@dataclass
class Desk:
    """One office with one browser profile. `expected`: console errors that this test brings about on purpose."""

    stack: Stack
    browser: Browser
    context: BrowserContext
    office: str
    key: str
    errors: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    expected: str = "(?!)"

    @property
    def base(self) -> str:
        """Where the product is reached."""
        return f"http://127.0.0.1:{self.stack.port}"

    @classmethod
    @asynccontextmanager
    async def at(cls, stack: Stack, browser: Browser, office: str) -> AsyncIterator[Desk]:
        """A new office's key, and a profile that knows nothing yet."""
        made = await stack.ops.post("/v1/ops/keys", json={"role": "terminal", "office": office})
        assert made.status_code == 201, made.text
        context = await browser.new_context(
            locale="id-ID", timezone_id="Asia/Jakarta", viewport={"width": 1366, "height": 768}
        )
        desk = cls(stack, browser, context, office, made.json()["key"])
        context.on("console", desk._heard)
        context.on("weberror", lambda error: desk.errors.append(str(error.error)))
        context.on("request", lambda request: desk.requests.append(f"{request.method} {request.url}"))
        try:
            yield desk
        finally:
            await context.close()

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.errors.append(message.text)

    def assert_quiet(self) -> None:
        """No error in the console but those that were brought about."""
        loud = [error for error in self.errors if not re.search(self.expected, error)]
        assert loud == [], loud

    def api_calls(self) -> list[str]:
        """Calls of the pages to the API, as method and path."""
        calls = [(r.split(" ")[0], urlsplit(r.split(" ")[1]).path) for r in self.requests]
        return [f"{method} {path}" for method, path in calls if path.startswith("/v1/")]

    async def sign_in(self, role: Literal["terminal", "ops"] = "terminal") -> None:
        """Sign the profile in without typing."""
        key = self.key if role == "terminal" else OPS_KEY
        answer = await self.context.request.post(
            f"{self.base}/v1/session", headers={"Authorization": f"Bearer {key}"}
        )
        assert answer.status == 201, await answer.text()
        kept = json.dumps(json.dumps(await answer.json()))
        await self._at_start(f"localStorage.setItem('antrean.session', {kept})")

    async def prefer(self, language: str = "id", theme: str = "light") -> None:
        """The reader's choices, before a page is opened."""
        await self._at_start(
            f"localStorage.setItem('antrean.language', '{language}');"
            f"localStorage.setItem('antrean.theme', '{theme}')"
        )

    async def _at_start(self, script: str) -> None:
        # A new tab is empty for a moment, and an empty tab has no storage.
        await self.context.add_init_script(f"if (location.protocol === 'http:') {{ {script} }}")

    async def open(self, path: str = "/", ready: str | None = None) -> Page:
        """A new tab; `ready` is a selector that says that the page is usable."""
        page = await self.context.new_page()
        await page.goto(self.base + path)
        if ready is not None:
            await page.wait_for_selector(ready)
        return page

    async def counter(self) -> Page:
        """The counter console, signed in and ready to type."""
        await self.sign_in()
        page = await self.open("/")
        await expect(page.locator("#taxpayer-identity_number")).to_be_focused()
        return page

    async def orders(self) -> list[dict[str, Any]]:
        """What the product has of this office, newest first."""
        headers = {"Authorization": f"Bearer {self.key}"}
        answer = await self.stack.http.get("/v1/orders?limit=500", headers=headers)
        found: list[dict[str, Any]] = answer.json()["orders"]
        return found

    def purchase(self, number: str = "SK-9") -> dict[str, Any]:
        """A submission as the API takes it."""
        return {
            "kind": "purchase",
            "document": {
                "type_code": "4b",
                "number": number,
                "date": "2024-09-04",
                "filename": "surat.pdf",
            },
            "taxpayer": {"identity_type": "KTP", "identity_number": NIK, "name": NAME},
        }

    async def submit(self, **changes: Any) -> dict[str, Any]:
        """An order from elsewhere."""
        body = self.purchase() | changes
        headers = {
            "Authorization": f"Bearer {self.key}",
            "Idempotency-Key": f"{self.office}-{len(await self.orders())}",
        }
        answer = await self.stack.http.post("/v1/orders", json=body, headers=headers)
        assert answer.status_code == 202, answer.text
        order: dict[str, Any] = answer.json()
        return order

    async def upload(self, pdf: bytes) -> str:
        """A document from elsewhere; answers its id."""
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/pdf"}
        answer = await self.stack.http.post("/v1/documents", content=pdf, headers=headers)
        assert answer.status_code == 201, answer.text
        document_id: str = answer.json()["id"]
        return document_id

    async def submit_affix(self) -> dict[str, Any]:
        """An order from elsewhere, with a document of one page."""
        place = {"page": 1, "x": 400, "y": 60, "width": 90, "height": 90}
        return await self.submit(kind="affix", document_id=await self.upload(pdf_bytes()), placement=place)

    async def until_orders(self, state: str, count: int) -> list[dict[str, Any]]:
        """Wait until so many orders of this office are in a state."""

        async def there() -> bool:
            return [o["state"] for o in await self.orders()].count(state) == count

        await self.stack.until(there)
        return [o for o in await self.orders() if o["state"] == state]

    async def outage(self, on: bool) -> None:
        """The upstream goes away or comes back. The breaker is forced, so that no test waits for it to judge."""
        if on:
            await self.stack.sim.put("/_sim/outage", json={"on": True, "mode": "down"})
            await self.stack.ops.put(
                "/v1/ops/breaker/provider/override",
                json={"state": "open", "reason": "outage of the test", "expires_in_s": 600},
            )
        else:
            await self.stack.sim.delete("/_sim/outage")
            await self.stack.ops.delete("/v1/ops/breaker/provider/override")


async def fill(page: Page, number: str, name: str = NAME, nik: str = NIK) -> None:
    """One purchase, typed in."""
    await page.fill("#taxpayer-identity_number", nik)
    await page.fill("#taxpayer-name", name)
    await page.fill("#document-number", number)


async def sent_with_a_paper_that_stays(page: Page, number: str) -> None:
    """An affix is sent whose paper can not be uploaded just now: both are kept."""
    await page.keyboard.press("F4")
    await page.set_input_files("#pdf", paper(pdf_bytes()))
    await expect(page.locator(".drop")).to_contain_text("Belum terkirim")
    await fill(page, number)
    await page.keyboard.press("F9")
    await expect(page.locator(".unsent")).to_contain_text("1 pesanan belum terkirim")


async def sent_without_a_session(desk: Desk, page: Page, number: str) -> Locator:
    """A purchase is sent after the session came to its end; answers the dialog that asks to sign in again."""
    desk.expected = "401"
    await desk.context.clear_cookies()
    await fill(page, number)
    await page.keyboard.press("F9")
    return page.locator("dialog.again")


def paper(
    content: bytes, name: str = "surat.pdf", content_type: str = "application/pdf"
) -> list[FilePayload]:
    """A file as a clerk chooses it."""
    return [{"name": name, "mimeType": content_type, "buffer": content}]


async def kept(page: Page, store: str) -> list[dict[str, Any]]:
    """What the browser keeps in IndexedDB."""
    found: list[dict[str, Any]] = await page.evaluate(
        """(store) => new Promise((resolve, reject) => {
            const request = indexedDB.open("antrean", 1);
            request.onerror = () => reject(request.error);
            request.onsuccess = () => {
                const all = request.result.transaction(store).objectStore(store).getAll();
                all.onsuccess = () => { request.result.close(); resolve(all.result); };
            };
        })""",
        store,
    )
    return found


async def no_longer_kept(page: Page, store: str, stack: Stack) -> None:
    """Wait until nothing is kept there."""

    async def empty() -> bool:
        return await kept(page, store) == []

    await stack.until(empty)
