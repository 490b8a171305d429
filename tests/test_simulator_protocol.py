"""Every call of the protocol, as an integration would make it."""

from __future__ import annotations

import asyncio
import base64
import zlib
from collections.abc import AsyncIterator
from typing import Any

import orjson
import pytest
import segno

from antrean.simulator.qr import qr_png
from simulated_upstream import PASSWORD, SALE, USER, Clock, Upstream, simulated

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def upstream(clock: Clock) -> AsyncIterator[Upstream]:
    async with simulated(clock, quota=100, seed=7) as running:
        yield running


async def test_a_login_gives_a_jwt_that_says_when_it_ends(upstream: Upstream, clock: Clock) -> None:
    payload = upstream.token.split(".")[1]
    claims = orjson.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert claims["exp"] == clock.now + 86_400


@pytest.mark.parametrize(("user", "password"), [(USER, "salah"), ("lain", PASSWORD), ("", "")])
async def test_a_wrong_login_gives_no_token(upstream: Upstream, user: str, password: str) -> None:
    url = f"{upstream.urls['backend']}/api/users/login"
    _, answer = await upstream.call("POST", url, json={"user": user, "password": password})
    assert answer["statusCode"] != "00"
    assert "token" not in answer


async def test_generate_sells_an_sn_with_its_picture_and_takes_one_from_the_balance(
    upstream: Upstream,
) -> None:
    answer = await upstream.generate()
    number = answer["result"]["sn"]
    assert len(number) == 22
    assert number.isalnum()
    assert number == number.upper()
    assert base64.b64decode(answer["result"]["image"]) == qr_png(number)
    assert await upstream.balance() == 99


@pytest.mark.parametrize("token", ["", "x", "a.b.c", "e30.e30.e30"])
async def test_a_token_that_is_not_ours_answers_01_and_sells_nothing(upstream: Upstream, token: str) -> None:
    upstream.token = token
    assert (await upstream.generate())["statusCode"] == "01"
    assert (await upstream.state())["sold"] == 0


async def test_a_token_past_its_exp_answers_01_until_the_next_login(upstream: Upstream, clock: Clock) -> None:
    clock.now += 86_401
    assert (await upstream.generate())["statusCode"] == "01"
    await upstream.login()
    assert (await upstream.generate())["statusCode"] == "00"


@pytest.mark.parametrize(
    "change",
    [
        {"namafile": ""},
        {"namadoc": "zz"},
        {"nilaidoc": "6000"},
        {"noidentitas": "12"},
        {"tgldoc": "04-09-2024"},
        {"isUpload": "no"},
        {"namedipungut": None},
        {"nodoc": "x" * 300},
    ],
)
async def test_a_wrong_field_is_refused_by_name_and_sells_nothing(
    upstream: Upstream, change: dict[str, Any]
) -> None:
    answer = await upstream.generate(**change)
    assert answer["statusCode"] == "14"
    assert next(iter(change)) in answer["message"]
    assert SALE["noidentitas"] not in answer["message"]
    assert (await upstream.state())["sold"] == 0


async def test_a_body_that_is_no_json_object_is_refused(upstream: Upstream) -> None:
    url = f"{upstream.urls['stampv2']}/chanel/stampv2"
    for body in (b"", b"[1]", b"{"):
        status, answer = await upstream.call("POST", url, data=body)
        assert (status, answer["statusCode"]) == (400, "14")


async def test_a_body_over_the_bound_is_refused(upstream: Upstream) -> None:
    url = f"{upstream.urls['stampv2']}/chanel/stampv2"
    async with upstream.http.post(url, data=b" " * 600_000) as response:
        assert response.status == 413


async def test_no_quota_answers_93_until_there_is_some(upstream: Upstream) -> None:
    quota = f"{upstream.origin}/_sim/quota"
    await upstream.call("PUT", quota, json={"quota": 1})
    await upstream.buy()
    assert (await upstream.generate())["statusCode"] == "93"
    await upstream.call("PUT", quota, json={"quota": 5})
    assert (await upstream.generate())["statusCode"] == "00"
    assert await upstream.balance() == 4


async def test_document_types_are_listed_with_id_code_and_name(upstream: Upstream) -> None:
    _, answer = await upstream.call("GET", f"{upstream.urls['stampv2']}/jenisdoc")
    assert answer["statusCode"] == "00"
    assert all(set(row) == {"id", "kode", "nama"} for row in answer["result"])
    assert SALE["namadoc"] in {row["kode"] for row in answer["result"]}


async def test_an_sn_is_told_with_its_order_file_and_status(upstream: Upstream) -> None:
    number = await upstream.buy("order-9.pdf")
    answer = await upstream.status(number)
    assert answer["result"]["total"] == 1
    assert answer["result"]["data"] == [
        {
            "serialnumber": number,
            "status": "NOTSTAMP",
            "file": "order-9.pdf",
            "tglupdate": "2024-08-30T13:40:00+07:00",
        }
    ]


@pytest.mark.parametrize(
    ("shape", "result"),
    [("list", []), ("string", "Data tidak ditemukan"), ("empty_data", {"total": 0, "data": []})],
)
async def test_an_unknown_sn_answers_nothing_in_each_known_shape(
    upstream: Upstream, shape: str, result: object
) -> None:
    await upstream.call("PUT", f"{upstream.origin}/_sim/modes", json={"none_found": shape})
    assert (await upstream.status("TIDAKADA"))["result"] == result


async def test_the_list_shows_every_sn_once_newest_first(upstream: Upstream) -> None:
    bought = [await upstream.buy(f"order-{n}.pdf") for n in range(5)]
    pages = [(await upstream.listed(page, 2))["result"] for page in (1, 2, 3, 4)]
    seen = [row["serialnumber"] for page in pages for row in page["data"]]
    assert seen == bought[::-1]
    assert {page["total"] for page in pages} == {5}


async def test_a_page_past_the_last_may_repeat_it(upstream: Upstream) -> None:
    await upstream.buy()
    await upstream.call("PUT", f"{upstream.origin}/_sim/modes", json={"past_last_page": "repeat"})
    assert await upstream.listed(9, 10) == await upstream.listed(1, 10)


async def test_the_list_answers_to_the_login_name_and_to_the_id_in_the_token(upstream: Upstream) -> None:
    await upstream.buy()
    assert await upstream.listed(user=upstream.simulator.user_id) == await upstream.listed()
    assert (await upstream.listed(user="orang-lain"))["statusCode"] == "14"


async def test_a_sale_comes_on_the_list_only_after_its_lag(clock: Clock) -> None:
    async with simulated(clock, list_lag_s=30) as upstream:
        old = await upstream.buy("old.pdf")
        clock.now += 31
        await upstream.buy("new.pdf")
        assert [row["serialnumber"] for row in (await upstream.listed())["result"]["data"]] == [old]
        clock.now += 31
        assert (await upstream.listed())["result"]["total"] == 2


@pytest.mark.parametrize("mode", ["json", "bare"])
async def test_the_picture_of_an_sn_can_be_had_again(upstream: Upstream, mode: str) -> None:
    number = (await upstream.generate())["result"]["sn"]
    await upstream.call("PUT", f"{upstream.origin}/_sim/modes", json={"qrimage": mode})
    url = f"{upstream.urls['stampv2']}/snqr/qrimage"
    headers = {"Authorization": f"Bearer {upstream.token}"}
    async with upstream.http.get(url, params={"serialnumber": number}, headers=headers) as response:
        body = await response.read()
    encoded = orjson.loads(body)["result"] if mode == "json" else body
    assert base64.b64decode(encoded) == qr_png(number)


async def test_generate_may_name_the_picture_in_place_of_giving_it(upstream: Upstream) -> None:
    await upstream.call("PUT", f"{upstream.origin}/_sim/modes", json={"generate_qr": "filenameQR"})
    result = (await upstream.generate())["result"]
    assert result == {"sn": result["sn"], "filenameQR": f"{result['sn']}.png"}


async def test_data_of_an_sn_can_be_changed_while_it_is_not_stamped(upstream: Upstream) -> None:
    number = await upstream.buy()
    url = f"{upstream.urls['stampv2']}/stamping/update-data"
    assert (await upstream.call("POST", f"{url}/{number}", json=SALE))[1]["statusCode"] == "00"
    assert (await upstream.call("POST", f"{url}/TIDAKADA", json=SALE))[1]["statusCode"] == "92"
    serial = upstream.simulator.account.find(number)
    assert serial is not None
    upstream.simulator.account.mark_stamped(serial, "0" * 64)
    assert (await upstream.call("POST", f"{url}/{number}", json=SALE))[1]["statusCode"] == "14"


async def test_a_batch_sells_each_good_document_and_tells_of_each(upstream: Upstream) -> None:
    documents = [{**SALE, "namafile": "b-1.pdf"}, {**SALE, "namafile": "b-2.pdf", "namadoc": "zz"}]
    url = f"{upstream.urls['inventory']}/api/v2/serialnumber/batch"
    body = {"return_url": "", "tipe": "x", "partial": True, "document": documents}
    _, answer = await upstream.call("POST", url, json=body)
    params = {"batchId": answer["result"]["batchId"]}
    _, status = await upstream.call("GET", f"{upstream.urls['stampv2']}/snqr/status-batch", params=params)
    assert [row["statusCode"] for row in status["result"]["data"]] == ["00", "14"]
    assert (await upstream.state())["sold"] == 1


async def test_a_batch_that_is_not_partial_sells_all_or_none(upstream: Upstream) -> None:
    await upstream.call("PUT", f"{upstream.origin}/_sim/quota", json={"quota": 1})
    url = f"{upstream.urls['inventory']}/api/v2/serialnumber/batch"
    for documents, code in (([SALE, SALE], "93"), ([SALE, {}], "14")):
        _, answer = await upstream.call("POST", url, json={"partial": False, "document": documents})
        assert answer["statusCode"] == code
    assert (await upstream.state())["sold"] == 0


async def test_sales_at_once_never_sell_more_than_the_quota(upstream: Upstream) -> None:
    answers = await asyncio.gather(*(upstream.generate(namafile=f"{n}.pdf") for n in range(120)))
    sold = [answer["result"]["sn"] for answer in answers if answer["statusCode"] == "00"]
    assert len(sold) == len(set(sold)) == 100
    assert await upstream.balance() == 0


def test_the_picture_is_the_qr_code_of_the_sn_with_a_quiet_zone() -> None:
    number = "389UY343AP0GE9A40000A9"
    picture = qr_png(number)
    assert picture.startswith(PNG)
    # Version 1 has 21 modules a side, and 4 quiet ones on each; a module is 6 pixels wide.
    side_px = int.from_bytes(picture[16:20], "big")
    assert side_px == (21 + 8) * 6
    at = picture.index(b"IDAT")
    raw = zlib.decompress(picture[at + 4 : at + 4 + int.from_bytes(picture[at - 4 : at], "big")])
    line_bytes = 1 + (side_px + 7) // 8

    def dark(row: int, column: int) -> int:
        x, y = column * 6 + 3, row * 6 + 3
        return 1 - (raw[y * line_bytes + 1 + x // 8] >> (7 - x % 8) & 1)

    modules = [[dark(row, column) for column in range(29)] for row in range(29)]
    code = segno.make(number, error="l", version=1, mask=0, micro=False, boost_error=False)
    assert modules == [list(row) for row in code.matrix_iter(border=4)]
