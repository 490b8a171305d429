"""Every page, in light and dark and in both languages: no axe violation, no sideways scrolling, little to fetch."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import FloatRect, Locator, Page, expect

from antrean.gateway.problems import TYPES
from antrean.orders.states import State
from browser.desk import Desk, fill, paper
from stack import pdf_bytes

pytestmark = pytest.mark.asyncio(loop_scope="package")
WEB = Path(__file__).parents[2] / "src" / "antrean" / "gateway" / "web"
AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text()
#: WCAG 2.2 A and AA, and what axe's makers hold for good practice.
TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
WIDTHS = (360, 1366, 3840)
CONSOLE_BYTES_MAX, CONSOLE_REQUESTS_MAX = 250_000, 33
OPS_BYTES_MAX, OPS_REQUESTS_MAX = 250_000, 33


async def violations(page: Page, where: str) -> list[str]:
    """What axe finds, in a line each."""
    # Evaluated by the debugger's protocol, which the page's policy does not bind.
    await page.evaluate(AXE)
    found: dict[str, Any] = await page.evaluate(
        "(tags) => axe.run(document, {runOnly: tags, resultTypes: ['violations']})", TAGS
    )
    return [
        f"{where}: {v['id']}: {v['help']}: {node['target']} {node['failureSummary']}"
        for v in found["violations"]
        for node in v["nodes"][:3]
    ]


async def assert_fits(page: Page, where: str) -> None:
    """At no width is there anything to scroll to sideways."""
    for width in WIDTHS:
        await page.set_viewport_size({"width": width, "height": 800})
        wide = await page.evaluate("document.documentElement.scrollWidth")
        assert wide <= width, f"{where} is {wide} px wide on a screen of {width} px"
    await page.set_viewport_size({"width": 1366, "height": 768})


@pytest.mark.parametrize("language", ["id", "en"])
async def test_every_page_is_usable_by_everybody(desk: Desk, language: str) -> None:
    desk.expected = "404"
    await desk.prefer(language)
    found: list[str] = []

    async def look(page: Page, where: str) -> None:
        # Without motion, so that no colour is looked at on its way to another.
        await page.emulate_media(reduced_motion="reduce")
        found.extend(await violations(page, where))
        await page.evaluate("document.documentElement.dataset.theme = 'dark'")
        found.extend(await violations(page, f"{where}, dark"))
        await page.evaluate("document.documentElement.dataset.theme = 'light'")
        await assert_fits(page, where)

    page = await desk.open("/", "#key")
    await look(page, "sign-in")
    await desk.outage(True)
    order = await desk.submit(deadline="2026-12-01T10:00:00+07:00")
    await page.goto(desk.base + order["ticket"]["url"])
    await page.wait_for_selector("#share:not([hidden])")
    assert await page.get_attribute("html", "lang") == language
    await look(page, "ticket, held")
    await page.goto(f"{desk.base}/t/{'0' * 20}")
    await look(page, "unknown ticket")
    await page.close()

    page = await desk.counter()
    await fill(page, "SK-1", nik="1")
    await page.keyboard.press("F9")
    await page.wait_for_selector("tr[data-order]")
    await look(page, "counter, with a fault")
    await page.keyboard.press("F4")
    await page.set_input_files("#pdf", paper(pdf_bytes(2)))
    await page.wait_for_selector(".sheet[data-page]")
    await look(page, "counter, with a paper")
    await page.click("#batch")
    example = b"nomor_dokumen,tanggal,nomor_identitas,nama\nSK-1,1,1,A\nSK-2,4/9/2024,1271010101900001,B\n"
    await page.set_input_files("#csv", paper(example, "a.csv", "text/csv"))
    await page.wait_for_selector(".batch tbody tr")
    await look(page, "batch")
    await page.keyboard.press("Escape")
    await page.click("tr[data-order] .ticket")
    await page.wait_for_selector("dialog.order")
    await look(page, "order")
    await page.close()

    await desk.sign_in("ops")
    page = await desk.open("/ops", ".band i")
    await page.wait_for_selector(".chart polyline")
    await look(page, "dashboard")
    await page.click("#deadlines")
    await page.keyboard.press("Enter")
    await look(page, "dashboard, a dialog")
    await desk.outage(False)
    assert found == [], "\n".join(found)


async def edges(locator: Locator) -> FloatRect:
    """Where something is on the screen."""
    box = await locator.bounding_box()
    assert box is not None
    return box


async def test_the_form_begins_at_the_top_and_each_of_the_lists_headings_stands_above_its_column(
    desk: Desk,
) -> None:
    await desk.submit()
    page = await desk.counter()
    await page.wait_for_selector("tr[data-order]")
    for key in ("F2", "F4"):
        await page.keyboard.press(key)
        header, form = await edges(page.locator(".counter > header")), page.locator(".counter form")
        first = await edges(form.locator("legend").first)
        assert 0 < first["y"] - (header["y"] + header["height"]) < 24
        rows = page.locator(".list thead, .list tbody tr")
        lefts = await rows.evaluate_all(
            """(rows) => rows.map((row) => [...row.querySelectorAll("th, td")].slice(1, 4).map((cell) => {
                const text = document.createRange();
                text.selectNodeContents(cell);
                return Math.round(Math.min(...[...text.getClientRects()].map((rect) => rect.left)));
            }))"""
        )
        assert lefts[0] == lefts[1]


async def test_the_corners_of_a_page_are_chosen_by_buttons_that_lie_as_they_do(desk: Desk) -> None:
    page = await desk.counter()
    await page.keyboard.press("F4")
    await page.set_viewport_size({"width": 360, "height": 800})
    names = ("Kiri atas", "Kanan atas", "Kiri bawah", "Kanan bawah")
    at = [await edges(page.get_by_role("button", name=name)) for name in names]
    upper_left, upper_right, lower_left, lower_right = ((box["x"], box["y"]) for box in at)
    assert upper_left[1] == upper_right[1] < lower_left[1] == lower_right[1]
    assert upper_left[0] == lower_left[0] < upper_right[0] == lower_right[0]


@pytest.mark.parametrize(
    ("language", "words"), [("id", "menurut daftar Peruri; 4b"), ("en", "on Peruri's list; 4b")]
)
async def test_what_the_type_code_is_stands_below_it(desk: Desk, language: str, words: str) -> None:
    await desk.prefer(language)
    page = await desk.counter()
    code = page.locator("#document-type_code")
    await expect(code).to_have_accessible_description(re.compile(re.escape(words)))
    hint = page.locator("#document-type_code-hint")
    assert (await edges(hint))["height"] < 30, "the hint is squeezed"


async def test_an_unknown_ticket_says_so_in_both_languages_alike(desk: Desk) -> None:
    desk.expected = "404"
    page = await desk.open(f"/t/{'0' * 20}")
    drawn = "(titles) => titles.map((e) => ['fontWeight', 'fontSize', 'padding'].map((p) => getComputedStyle(e)[p]))"
    indonesian, english = await page.locator(".headline").evaluate_all(drawn)
    assert indonesian == english


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_the_simulators_page_is_usable_by_everybody(desk: Desk, theme: str) -> None:
    page = await desk.context.new_page()
    await page.emulate_media(color_scheme="dark" if theme == "dark" else "light")
    await page.goto(f"http://127.0.0.1:{desk.stack.sim_port}/")
    await expect(page.locator("#connection")).to_have_class("good")
    await desk.stack.fault("slow", "generate")
    await expect(page.locator("#faults th")).to_have_text("slow")
    assert await violations(page, "simulator") == []
    await assert_fits(page, "simulator")
    broken = """() => [...document.querySelectorAll("th, td")].flatMap((cell) => {
        const words = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT), found = [];
        while (words.nextNode()) {
            for (const { index, 0: word } of words.currentNode.data.matchAll(/\\S+/g)) {
                const range = document.createRange();
                range.setStart(words.currentNode, index);
                range.setEnd(words.currentNode, index + word.length);
                if (new Set([...range.getClientRects()].map((rect) => rect.top)).size > 1) found.push(word);
            }
        }
        return found;
    })"""
    for width in (360, 1280):
        await page.set_viewport_size({"width": width, "height": 800})
        assert await page.evaluate(broken) == [], f"at {width} px"
    scrolled = "sections => sections.filter((s) => s.scrollWidth > s.clientWidth).map((s) => s.id)"
    assert await page.locator("section").evaluate_all(scrolled) == []
    await page.get_by_role("button", name="Cabut semua").click()
    await expect(page.locator("#faults")).to_contain_text("Tidak ada")


@pytest.mark.parametrize(
    ("role", "path", "ready", "bytes_max", "requests_max"),
    [
        ("terminal", "/", "#taxpayer-name", CONSOLE_BYTES_MAX, CONSOLE_REQUESTS_MAX),
        ("ops", "/ops", ".band i", OPS_BYTES_MAX, OPS_REQUESTS_MAX),
    ],
)
async def test_a_page_is_fetched_once_and_then_only_asked_after(
    desk: Desk, role: Any, path: str, ready: str, bytes_max: int, requests_max: int
) -> None:
    await desk.sign_in(role)
    page = await desk.open(path, ready)
    files = {r.split(" ")[1] for r in desk.requests if "/v1/" not in r}
    sizes = [len(await (await desk.context.request.get(url)).body()) for url in files]
    assert len(sizes) <= requests_max
    assert sum(sizes) <= bytes_max
    desk.requests.clear()
    session = await desk.context.new_cdp_session(page)
    await session.send("Network.enable")
    fetched: list[str] = []

    def note(event: dict[str, Any]) -> None:
        if not event["response"].get("fromDiskCache"):
            fetched.append(event["response"]["url"])

    def forget(event: dict[str, Any]) -> None:
        kept.add(event["requestId"])

    kept: set[str] = set()
    session.on("Network.requestServedFromCache", forget)
    session.on("Network.responseReceived", lambda e: None if e["requestId"] in kept else note(e))
    await page.reload()
    await page.wait_for_selector(ready)
    assert [url for url in fetched if "/static/" in url] == []


async def test_who_wants_no_motion_sees_none(desk: Desk) -> None:
    page = await desk.counter()
    moving = "getComputedStyle(document.querySelector('button')).transitionDuration"
    assert await page.evaluate(moving) != "0s"
    await page.emulate_media(reduced_motion="reduce")
    assert await page.evaluate(moving) == "0s"


async def test_in_forced_colours_what_is_chosen_and_how_it_went_is_still_told_apart(desk: Desk) -> None:
    grounds = "(shown) => shown.map((e) => getComputedStyle(e).background)"
    page = await desk.counter()
    await page.emulate_media(forced_colors="active")
    chosen, other = await page.locator(".segments span").evaluate_all(grounds)
    assert chosen != other
    await desk.outage(True)
    order = await desk.submit()
    await page.goto(desk.base + order["ticket"]["url"])
    await page.wait_for_selector(".steps .past")
    past, coming, _ = await page.locator(".steps li").evaluate_all(
        "(steps) => steps.map((step) => getComputedStyle(step, '::after').background)"
    )
    assert past != coming
    await page.close()
    await desk.sign_in("ops")
    page = await desk.open("/ops", ".band i[data-state=open]")
    await page.emulate_media(forced_colors="active")
    assert len(set(await page.locator(".swatch").evaluate_all(grounds))) == 3
    length, cell = page.locator(".length").first, page.locator("td.share").first
    assert await length.evaluate_all(grounds) != await cell.evaluate_all(grounds)
    await desk.outage(False)


@pytest.mark.parametrize("theme", ["dark", "auto"])
async def test_what_is_printed_is_dark_on_white_whatever_the_theme(desk: Desk, theme: str) -> None:
    await desk.prefer(theme=theme)
    page = await desk.counter()
    await page.emulate_media(color_scheme="dark")

    def brightness(colour: str) -> int:
        return sum(map(int, re.findall(r"\d+", colour)))

    card = """() => {
        const style = getComputedStyle(document.querySelector(".card"));
        return [style.color, style.backgroundColor];
    }"""
    [ink, ground] = await page.evaluate(card)
    assert brightness(ink) > 600 > 200 > brightness(ground)
    await page.emulate_media(media="print", color_scheme="dark")
    [ink, ground] = await page.evaluate(card)
    assert brightness(ground) > 740
    assert brightness(ink) < 200


async def test_the_dictionaries_say_the_same_things() -> None:
    for one, other in (("id.js", "en.js"), ("said-id.js", "said-en.js"), ("few-id.js", "few-en.js")):
        said = [
            dict(re.findall(r'^  "?([\w.-]+)"?: "((?:[^"\\]|\\.)*)",$', (WEB / f).read_text(), re.MULTILINE))
            for f in (one, other)
        ]
        mine, theirs = ({k: v for k, v in words.items() if not k.endswith(".one")} for words in said)
        assert mine.keys() == theirs.keys()
        for key, words in mine.items():
            places = [sorted(re.findall(r"{\w+}", text)) for text in (words, theirs[key])]
            assert places[0] == places[1], key


async def test_every_word_that_a_page_asks_for_is_in_the_dictionary() -> None:
    few = (WEB / "few-id.js").read_text()
    full = "".join((WEB / name).read_text() for name in ("id.js", "said-id.js"))
    for script in WEB.glob("*.js"):
        said = few if script.name == "ticket.js" else full
        for key in re.findall(r'\b(?:t|many|ruled)\("([\w.-]+)"', script.read_text()):
            key = f"rule.{key}" if f'ruled("{key}"' in script.read_text() else key
            assert re.search(rf'^  "?{re.escape(key)}"?:', said, re.MULTILINE), f"{script.name}: {key}"


async def test_every_problem_and_state_has_words_for_people() -> None:
    said = (WEB / "id.js").read_text()
    assert [name for name in TYPES if f'"problem.{name}"' not in said] == []
    assert [state for state in State if f'"state.{state}"' not in said] == []
