"""The API's own description is whole, true and readable: document, page, problems."""

from __future__ import annotations

import html
from collections.abc import AsyncIterator, Iterator
from html.parser import HTMLParser
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator
from redis.asyncio import Redis

from antrean.config.settings import Settings
from antrean.gateway import openapi
from antrean.gateway.advice import ADVICE
from antrean.gateway.app import ROUTES
from antrean.gateway.keys import Role
from antrean.gateway.operations_orders import AFFIX
from antrean.gateway.problems import TYPES
from antrean.gateway.routes import ROLES, Access
from contract import DOCUMENT, OPERATIONS
from gateway_support import OFFICE, Gateway, running_gateway

IDS = [operation["operationId"] for _, _, operation in OPERATIONS]


@pytest.fixture(name="gateway")
async def _gateway(redis: Redis, settings: Settings) -> AsyncIterator[Gateway]:
    async with running_gateway(redis, settings) as gateway:
        yield gateway


def _refs(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == "$ref":
                yield inner
            yield from _refs(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _refs(inner)


def test_every_route_but_the_pages_and_their_files_is_described() -> None:
    described = {(method.upper(), path) for method, path, _ in OPERATIONS}
    others = {(r.method, r.path) for r in ROUTES} - described
    assert described == set(openapi.OPERATIONS)
    assert not {path for _, path in others if path.startswith(("/v1/", "/docs", "/problems"))}
    assert {"/metrics", "/healthz", "/readyz", "/openapi.json"} <= {path for _, path in described}


def test_a_route_of_the_api_without_words_is_an_error() -> None:
    stray = type(ROUTES[0])("GET", "/v1/stray", ROUTES[0].handler, ROUTES[0].access)
    with pytest.raises(openapi.Undescribed, match="GET /v1/stray"):
        openapi.build([*ROUTES, stray])


def test_the_document_is_sound() -> None:
    assert DOCUMENT["openapi"].startswith("3.1")
    assert len(IDS) == len(set(IDS))
    for ref in _refs(DOCUMENT):
        assert ref.removeprefix("#/components/schemas/") in DOCUMENT["components"]["schemas"]
    for schema in DOCUMENT["components"]["schemas"].values():
        Draft202012Validator.check_schema(schema)
    for _, _, operation in OPERATIONS:
        for answer in operation["responses"].values():
            for link in answer.get("links", {}).values():
                assert link["operationId"] in IDS


def test_every_problem_that_is_named_exists_and_every_one_that_exists_is_named() -> None:
    text = orjson.dumps(DOCUMENT["paths"]).decode()
    # Answered for any path and method, so by no operation.
    anywhere = {"method-not-allowed"}
    assert {name for name in TYPES if f'"/problems/{name}"' in text} == set(TYPES) - anywhere


def test_each_operation_says_who_may() -> None:
    for route in ROUTES:
        if openapi.is_operation(route) and route.access is not Access.PUBLIC:
            operation = DOCUMENT["paths"][route.path][route.method.lower()]
            assert operation["security"]
            assert all(role in operation["description"] for role in ROLES[route.access])


EXAMPLES = [
    (method, path, operation["operationId"], example["value"])
    for method, path, operation in OPERATIONS
    for content in operation.get("requestBody", {}).get("content", {}).values()
    for example in content.get("examples", {}).values()
]


def test_every_operation_with_a_json_body_has_an_example() -> None:
    with_body = {
        operation["operationId"]
        for _, _, operation in OPERATIONS
        if "application/json" in operation.get("requestBody", {}).get("content", {})
    }
    assert {operation for _, _, operation, _ in EXAMPLES} == with_body


@pytest.mark.parametrize(("method", "path", "operation", "body"), EXAMPLES, ids=[e[2] for e in EXAMPLES])
async def test_the_example_works_as_it_stands(
    gateway: Gateway, method: str, path: str, operation: str, body: dict[str, Any]
) -> None:
    order = await gateway.order()
    if operation in ("replayOrder", "refundOrder"):
        await gateway.attention(order["id"], bought=operation == "replayOrder")
    if operation == "eraseOrder":
        await gateway.parts.store.cancel(order["id"])
    _, key = await gateway.parts.keys.make(Role.TERMINAL, OFFICE)
    names = {
        "/v1/orders/{id}": order["id"],
        "/v1/ops/keys/{id}": key.id,
        "/v1/ops/breaker/{name}": "provider",
        "/v1/ops/webhook-secrets/{office}": OFFICE,
    }
    for template, value in names.items():
        path = path.replace(template, template[: template.index("{")] + value)
    role = "terminal" if path in ("/v1/orders", "/v1/batches") else "ops"
    headers = {"Idempotency-Key": "an example"}
    answer = await gateway.call(method.upper(), path, role=role, json=body, headers=headers)
    assert answer.status < 300, await answer.text()
    assert (await answer.json()).get("results", [{"status": 202}])[0]["status"] == 202


async def test_the_example_of_an_affix_works_on_a_document_of_ones_own(gateway: Gateway) -> None:
    uploaded = await (await gateway.upload()).json()
    answer = await gateway.submit(AFFIX | {"document_id": uploaded["id"]})
    assert answer.status == 202, await answer.text()


async def test_the_document_and_its_page_are_served_without_a_key_or_a_foreign_host(gateway: Gateway) -> None:
    answer = await gateway.call("GET", "/openapi.json", role=None)
    assert await answer.json() == DOCUMENT
    page = await gateway.call("GET", "/docs", role=None)
    text = await page.text()
    for operation in IDS:
        assert f'id="{operation}"' in text
    assert "<script" not in text
    assert not [link for link in _links(text) if "//" in link]
    for link in _links(text):
        if link.startswith("/"):
            assert (await gateway.call("GET", link, role=None)).status == 200, link
        else:
            assert f'id="{link[1:]}"' in text


@pytest.mark.parametrize("name", TYPES)
async def test_the_type_of_every_problem_leads_to_a_page_that_says_what_to_do(
    gateway: Gateway, name: str
) -> None:
    answer = await gateway.call("GET", f"/problems/{name}", role=None)
    assert (answer.status, answer.content_type) == (200, "text/html")
    assert html.escape(ADVICE[name]) in await answer.text()


async def test_an_unknown_problem_has_no_page(gateway: Gateway) -> None:
    assert (await gateway.call("GET", "/problems/none", role=None)).status == 404


class _Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value for name, value in attrs if name in ("href", "src") and value]


def _links(text: str) -> list[str]:
    parser = _Links()
    parser.feed(text)
    return sorted(set(parser.found))
