"""Holds an answer to the OpenAPI document: its status, its content type and its form are among those described."""

from __future__ import annotations

import functools
import re
from typing import Any

import orjson
from jsonschema import Draft202012Validator

from antrean.gateway.app import ROUTES
from antrean.gateway.problems import MEDIA_TYPE
from antrean.gateway.reference import Reference

DOCUMENT = Reference(ROUTES).document
#: Method in lower case, path, operation.
OPERATIONS: list[tuple[str, str, dict[str, Any]]] = [
    (method, path, operation)
    for path, item in DOCUMENT["paths"].items()
    for method, operation in item.items()
]
#: May be answered whatever the path: a wrong method, and what has no operation.
ANYWHERE = {405}


def operation_of(method: str, path: str) -> dict[str, Any] | None:
    """The operation that a request is for; one without placeholders goes before one with them."""
    path = path.partition("?")[0]
    for template, item in sorted(DOCUMENT["paths"].items(), key=lambda entry: entry[0].count("{")):
        if re.fullmatch(re.sub(r"{\w+}", "[^/]+", template), path):
            found: dict[str, Any] | None = item.get("get" if method == "HEAD" else method.lower())
            return found
    return None


def assert_fits(method: str, path: str, status: int, content_type: str, body: bytes | None) -> None:
    """`body` None: it was not read. Raises AssertionError."""
    operation = operation_of(method, path)
    if operation is None or status in ANYWHERE:
        return
    described = operation["responses"].get(str(status))
    assert described is not None, f"{method} {path} answered {status}, which is not described"
    contents = described.get("content", {})
    if body is None or method == "HEAD" or not (body or contents):
        return
    assert content_type in contents, f"{method} {path} answered {status} as {content_type}"
    if content_type in ("application/json", MEDIA_TYPE):
        _validator(operation["operationId"], str(status), content_type).validate(orjson.loads(body))


@functools.cache
def _validator(operation_id: str, status: str, content_type: str) -> Draft202012Validator:
    operation = next(o for _, _, o in OPERATIONS if o["operationId"] == operation_id)
    schema = operation["responses"][status]["content"][content_type]["schema"]
    return Draft202012Validator(schema | {"components": DOCUMENT["components"]})
