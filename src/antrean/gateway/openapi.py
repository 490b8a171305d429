"""The OpenAPI 3.1 document: made from the table of routes, the operations in words, and the models of both sides."""

from __future__ import annotations

import re
from collections.abc import Iterable
from http import HTTPStatus
from typing import Any

from pydantic import BaseModel, TypeAdapter
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from antrean import __version__
from antrean.gateway import operations_ops, operations_orders, operations_pages, operations_webhooks
from antrean.gateway.answers import Problem
from antrean.gateway.keys import OFFICE_FORM
from antrean.gateway.operations import JSON, PROBLEM, Operation, Param, Shape
from antrean.gateway.problems import TYPES
from antrean.gateway.routes import ROLES, Access, Route
from antrean.orders.entropy import ALPHABET

#: By method and path.
OPERATIONS: dict[tuple[str, str], Operation] = (
    operations_orders.OPERATIONS
    | operations_ops.OPERATIONS
    | operations_pages.OPERATIONS
    | operations_webhooks.OPERATIONS
)

REF = "#/components/schemas/{model}"
#: Problems that every operation may answer, and those that come with a key, a body, the store.
_ALWAYS = ("bad-request", "internal-error")
_KEYED = ("unauthorized", "too-many-requests")
_BODY = ("broken-json", "timeout", "body-too-large", "unsupported-media-type", "validation")
#: Operations that ask nothing of the store.
_ALONE = {"getHealth", "getReadiness", "getOpenApi", "getDocs", "getProblem"}
_ID = {"type": "string", "pattern": f"^[{ALPHABET}]{{26}}$"}
_PATH = {
    "/v1/orders/{id}": _ID,
    "/v1/documents/{id}": _ID,
    "/v1/ops/keys/{id}": {"type": "string", "pattern": "^[0-9a-f]{12}$"},
    "/v1/tickets/{token}": {"type": "string", "pattern": f"^[{ALPHABET}]{{20}}$"},
    "/v1/ops/breaker/{name}": {"type": "string", "enum": ["provider", "adapter"]},
    "/v1/ops/webhook-secrets/{office}": {"type": "string", "pattern": f"^{OFFICE_FORM.pattern}$"},
    "/problems/{name}": {"type": "string", "enum": list(TYPES)},
}
#: Parameters that mean the same in every path.
_PATH_NAMES = {"page": {"type": "integer", "minimum": 1, "maximum": 100_000}}
_RATE_HEADERS = {
    name: {"description": about, "schema": {"type": kind}}
    for name, about, kind in (
        ("RateLimit-Limit", "Requests that this key may send at once.", "integer"),
        ("RateLimit-Remaining", "How many of them are left.", "integer"),
        ("RateLimit-Reset", "Seconds until all of them are there again.", "integer"),
    )
}
_RETRY = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}}


class Undescribed(LookupError):
    """A route that no operation describes."""


def is_operation(route: Route) -> bool:
    """Whether a route is part of the API; the others are files of pages."""
    return (route.method, route.path) in OPERATIONS or route.path.startswith("/v1/")


def build(routes: Iterable[Route]) -> dict[str, Any]:
    """The document. Raises Undescribed for a route of the API without words."""
    rows = [route for route in routes if is_operation(route)]
    models = _Models(OPERATIONS.values())
    paths: dict[str, dict[str, Any]] = {}
    for route in rows:
        operation = OPERATIONS.get((route.method, route.path))
        if operation is None:
            raise Undescribed(f"{route.method} {route.path}")
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, operation, models)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Antrean",
            "version": __version__,
            "summary": "A durable queue between post-office counters and the e-meterai stamp server.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": tag} for tag in dict.fromkeys(o.tag for o in OPERATIONS.values())],
        "paths": paths,
        "components": {
            "schemas": models.schemas,
            "securitySchemes": {
                "key": {"type": "http", "scheme": "bearer", "description": "An API key, by office and role."},
                "session": {"type": "apiKey", "in": "cookie", "name": "antrean"},
            },
        },
    }


class _Models:
    """All models once, each under its own name."""

    def __init__(self, operations: Iterable[Operation]) -> None:
        wanted: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {(Problem, "serialization"): None}
        self._adapters: dict[int, dict[str, Any]] = {}
        self.schemas: dict[str, Any] = {}
        for operation in operations:
            for shape in operation.body.values():
                self._take(shape, "validation", wanted)
            for answer in operation.answers.values():
                if answer is not None:
                    self._take(answer[1], "serialization", wanted)
        self._refs, document = models_json_schema(list(wanted), ref_template=REF)
        self.schemas |= document.get("$defs", {})
        for name, schema in self.schemas.items():
            schema.setdefault("title", name)

    def _take(self, shape: Shape, mode: JsonSchemaMode, wanted: dict[Any, None]) -> None:
        if isinstance(shape, TypeAdapter):
            schema = shape.json_schema(ref_template=REF, mode=mode)
            self.schemas |= schema.pop("$defs", {})
            self._adapters[id(shape)] = schema
        elif isinstance(shape, type):
            wanted[shape, mode] = None

    def of(self, shape: Shape, mode: JsonSchemaMode) -> dict[str, Any]:
        """What stands for a shape in the document."""
        if isinstance(shape, TypeAdapter):
            return self._adapters[id(shape)]
        if isinstance(shape, type):
            return self._refs[shape, mode]
        return dict(shape)


def _operation(route: Route, operation: Operation, models: _Models) -> dict[str, Any]:
    found: dict[str, Any] = {
        "operationId": operation.id,
        "tags": [operation.tag],
        "summary": operation.summary,
        "description": " ".join(filter(None, (operation.about, _who(route)))),
        "parameters": [*_path_parameters(route), *map(_parameter, operation.params)],
        "responses": _responses(route, operation, models),
        "security": [] if route.access is Access.PUBLIC else [{"key": []}, {"session": []}],
    }
    if route.access is Access.OPS_OR_LOOPBACK:
        found["security"] = [{}, {"key": []}]
    if operation.body:
        content = {kind: {"schema": models.of(s, "validation")} for kind, s in operation.body.items()}
        if operation.example is not None:
            content[JSON]["examples"] = {"usual": {"value": operation.example}}
        found["requestBody"] = {"required": operation.body_required, "content": content}
    return found


def _who(route: Route) -> str:
    if route.access is Access.PUBLIC:
        return "No key is needed."
    return f"Roles: {', '.join(sorted(ROLES[route.access]))}."


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    found = []
    for name in re.findall(r"{(\w+)}", route.path):
        schema = _PATH_NAMES.get(name) or next(s for p, s in _PATH.items() if route.path.startswith(p))
        found.append({"name": name, "in": "path", "required": True, "schema": schema})
    return found


def _parameter(param: Param) -> dict[str, Any]:
    return {
        "name": param.name,
        "in": param.place,
        "required": param.required,
        "description": param.about,
        "schema": param.schema,
    }


def _responses(route: Route, operation: Operation, models: _Models) -> dict[str, Any]:
    responses: dict[str, Any] = {}
    for status, answer in operation.answers.items():
        shown: dict[str, Any] = {"description": HTTPStatus(status).phrase}
        if answer is not None:
            kind, shape = answer
            shown["content"] = {kind: {"schema": models.of(shape, "serialization")}}
        if links := operation.links.get(status):
            shown["links"] = {
                name: {"operationId": target, "parameters": dict(parameters)}
                for name, (target, parameters) in links.items()
            }
        if status < 300:
            shown["headers"] = _headers(route, operation)
        responses[str(status)] = shown
    by_status: dict[int, list[str]] = {}
    for name in _problems(route, operation):
        by_status.setdefault(TYPES[name][0], []).append(name)
    for status, names in sorted(by_status.items()):
        _add_problem(responses, status, names, models)
    return responses


def _headers(route: Route, operation: Operation) -> dict[str, Any]:
    own = {
        name: {"description": about, "schema": {"type": "string"}}
        for name, about in operation.headers.items()
    }
    return own if route.access is Access.PUBLIC else own | _RATE_HEADERS


def _add_problem(responses: dict[str, Any], status: int, names: list[str], models: _Models) -> None:
    problem = models.of(Problem, "serialization")
    types = {"properties": {"type": {"enum": [f"/problems/{name}" for name in names]}}}
    shown = responses.setdefault(
        str(status), {"description": "; or ".join(TYPES[name][1].rstrip(".") for name in names)}
    )
    shown.setdefault("content", {})[PROBLEM] = {"schema": {"allOf": [problem, types]}}
    if status in (429, 503):
        shown["headers"] = dict(_RETRY)


def _problems(route: Route, operation: Operation) -> list[str]:
    names = [*_ALWAYS, *operation.problems]
    if route.access is not Access.PUBLIC:
        names += _KEYED
        names.append("forbidden")
        if route.method != "GET":
            names.append("not-our-page")
    if operation.body:
        names += _BODY
    if "{" in route.path:
        names.append("not-found")
    if any(p.place == "query" for p in operation.params):
        names.append("validation")
    if operation.id not in _ALONE:
        names.append("unavailable")
    return list(dict.fromkeys(names))
