"""The API's own description: the OpenAPI document, its page, and a page for every problem."""

from __future__ import annotations

from importlib import resources

from aiohttp import web

from antrean.gateway.problems import TYPES, Problem
from antrean.gateway.reference import Reference, problem_page
from antrean.gateway.routes import Access, Route

REFERENCE = web.AppKey("reference", Reference)
_STYLE = resources.files("antrean.gateway").joinpath("web", "reference.css").read_bytes()
_CACHED = {"Cache-Control": "no-cache"}


async def openapi_document(request: web.Request) -> web.StreamResponse:
    """`GET /openapi.json`."""
    body = request.app[REFERENCE].json
    return web.Response(body=body, content_type="application/json", headers=_CACHED)


async def docs(request: web.Request) -> web.StreamResponse:
    """`GET /docs`."""
    return _html(request.app[REFERENCE].page)


async def problem(request: web.Request) -> web.StreamResponse:
    """`GET /problems/{name}`: what a problem's `type` leads to."""
    name = request.match_info["name"]
    if name not in TYPES:
        raise Problem("not-found", "There is no such problem.")
    return _html(problem_page(name))


async def style(_request: web.Request) -> web.StreamResponse:
    """`GET /static/reference.css`."""
    return web.Response(body=_STYLE, content_type="text/css", charset="utf-8", headers=_CACHED)


def _html(body: bytes) -> web.StreamResponse:
    return web.Response(body=body, content_type="text/html", charset="utf-8", headers=_CACHED)


ROUTES = (
    Route("GET", "/openapi.json", openapi_document, Access.PUBLIC),
    Route("GET", "/docs", docs, Access.PUBLIC),
    Route("GET", "/problems/{name}", problem, Access.PUBLIC),
    Route("GET", "/static/reference.css", style, Access.PUBLIC),
)
