"""What is said of a route: what it is for, what it takes, what it answers. The OpenAPI document is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from pydantic import BaseModel, TypeAdapter

JSON = "application/json"
PROBLEM = "application/problem+json"
PDF = "application/pdf"
PNG = "image/png"
SVG = "image/svg+xml"
CSV = "text/csv"
HTML = "text/html"
TEXT = "text/plain"
EVENTS = "text/event-stream"
FORM = "multipart/form-data"

#: A model, several of which one fits, or a JSON schema as it is.
Shape: TypeAlias = "type[BaseModel] | TypeAdapter[Any] | Mapping[str, Any]"

#: Bytes that are no JSON, and text.
BINARY: Shape = {"type": "string", "format": "binary"}
PLAIN: Shape = {"type": "string"}


@dataclass(frozen=True, slots=True)
class Param:
    """A value in the query or in a header. Those of a path follow from the path."""

    name: str
    place: Literal["query", "header"]
    about: str
    schema: Mapping[str, Any]
    required: bool = False


@dataclass(frozen=True, slots=True)
class Operation:
    """One route. Problems that follow from a key, a body or a path are not listed: they are added to all."""

    id: str
    tag: str
    summary: str
    #: Status → content type and shape; None: an answer without a body.
    answers: Mapping[int, tuple[str, Shape] | None]
    about: str = ""
    params: tuple[Param, ...] = ()
    #: Content type → shape.
    body: Mapping[str, Shape] = field(default_factory=dict)
    body_required: bool = True
    #: A body that works, where the ids in it are ids of the reader's own.
    example: Mapping[str, Any] | None = None
    #: Names of problems of its own.
    problems: tuple[str, ...] = ()
    #: Status → name → target operation and its parameters, as runtime expressions.
    links: Mapping[int, Mapping[str, tuple[str, Mapping[str, str]]]] = field(default_factory=dict)
    #: Headers of the success answer: name → meaning.
    headers: Mapping[str, str] = field(default_factory=dict)


def query(name: str, about: str, **schema: Any) -> Param:
    """A value that may stand in the query."""
    return Param(name, "query", about, schema)


def header(name: str, about: str, *, required: bool = False, **schema: Any) -> Param:
    """A header that means something here."""
    return Param(name, "header", about, {"type": "string"} | schema, required)
