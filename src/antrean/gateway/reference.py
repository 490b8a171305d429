"""The reference of the API, made once when it is first asked for: the OpenAPI document, and the same as a page."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

import orjson

from antrean.gateway import openapi
from antrean.gateway.advice import ADVICE
from antrean.gateway.problems import TYPES
from antrean.gateway.routes import Route

_METHODS = ("get", "post", "put", "delete")


class Reference:
    """What is said of these routes."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = tuple(routes)

    @functools.cached_property
    def document(self) -> dict[str, Any]:
        """The OpenAPI document. Raises openapi.Undescribed."""
        return openapi.build(self._routes)

    @functools.cached_property
    def json(self) -> bytes:
        """The document as it is served."""
        return orjson.dumps(self.document)

    @functools.cached_property
    def page(self) -> bytes:
        """The document as a page that needs no script."""
        return _page("Antrean: the API", _reference(self.document)).encode()


def problem_page(name: str) -> bytes:
    """What a problem means and what to do. `name` is one of TYPES."""
    status, title = TYPES[name]
    others = "".join(f'<li><a href="/problems/{other}">{escape(TYPES[other][1])}</a></li>' for other in TYPES)
    body = (
        f"<h1>{escape(title)}</h1><p><code>/problems/{name}</code> · HTTP {status}</p>"
        f"<h2>What to do</h2><p>{escape(ADVICE[name])}</p>"
        f'<nav><h2>All problems</h2><ul>{others}</ul><p><a href="/docs">The API</a></p></nav>'
    )
    return _page(title, body).encode()


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<title>{escape(title)}</title><link rel="icon" href="/favicon.ico">'
        f'<link rel="stylesheet" href="/static/reference.css"></head><body><main>{body}</main></body></html>'
    )


def _reference(document: Mapping[str, Any]) -> str:
    info = document["info"]
    parts = [
        f"<h1>Antrean {escape(info['version'])}</h1><p>{escape(info['summary'])} "
        'The same for machines: <a href="/openapi.json">openapi.json</a>.</p>'
    ]
    for tag in document["tags"]:
        parts.append(f"<h2>{escape(tag['name'])}</h2>")
        for path, item in document["paths"].items():
            for method in _METHODS:
                if method in item and tag["name"] in item[method]["tags"]:
                    parts.append(_operation(method, path, item[method]))
    parts.append("<h2>Models</h2>")
    for name, schema in sorted(document["components"]["schemas"].items()):
        parts.append(
            f'<details><summary><b>{name}</b></summary><p id="{name}">{_prose(schema.get("description", ""))}</p>'
            f"{_fields(schema)}</details>"
        )
    return "".join(parts)


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    parts = [
        f'<details><summary><code class="{method}">{method.upper()}</code> '
        f"<code>{escape(path)}</code> {escape(operation['summary'])}</summary>"
        # A browser opens what an address inside it leads to.
        f'<p id="{operation["operationId"]}">{_prose(operation["description"])}</p>'
    ]
    if operation["parameters"]:
        parameters = [
            (
                f"<code>{escape(p['name'])}</code>",
                p["in"],
                _kind(p["schema"]),
                _prose(p.get("description", "")),
            )
            for p in operation["parameters"]
        ]
        parts.append(_table(("parameter", "in", "form", "meaning"), parameters))
    for kind, content in operation.get("requestBody", {}).get("content", {}).items():
        parts.append(f"<p>Body: <code>{kind}</code> {_kind(content['schema'])}</p>")
        for example in content.get("examples", {}).values():
            text = orjson.dumps(example["value"], option=orjson.OPT_INDENT_2).decode()
            parts.append(f"<pre>{escape(text)}</pre>")
    rows = []
    for status, answer in operation["responses"].items():
        kinds = [f"{kind} {_kind(content['schema'])}" for kind, content in answer.get("content", {}).items()]
        rows.append((status, _prose(answer["description"]), "<br>".join(kinds)))
    parts.append(_table(("status", "meaning", "answer"), rows))
    return "".join(parts) + "</details>"


def _fields(schema: Mapping[str, Any]) -> str:
    wanted = schema.get("required", ())
    rows = [
        (
            f"<code>{escape(name)}</code>{'' if name in wanted else ' (may be left out)'}",
            _kind(field),
            _prose(field.get("description", "")),
        )
        for name, field in schema.get("properties", {}).items()
    ]
    return _table(("field", "form", "meaning"), rows) if rows else ""


def _kind(schema: Mapping[str, Any]) -> str:
    """A schema in a few words."""
    if ref := schema.get("$ref"):
        name = ref.rpartition("/")[2]
        return f'<a href="#{name}">{name}</a>'
    for several in ("anyOf", "oneOf"):
        if several in schema:
            return " or ".join(_kind(one) for one in schema[several])
    if "allOf" in schema:
        types = schema["allOf"][1]["properties"]["type"]["enum"]
        return ", ".join(f'<a href="{t}">{t.rpartition("/")[2]}</a>' for t in types)
    if "enum" in schema:
        return ", ".join(f"<code>{escape(str(v))}</code>" for v in schema["enum"])
    if "const" in schema:
        return f"<code>{escape(str(schema['const']))}</code>"
    if schema.get("type") == "array":
        return f"list of {_kind(schema['items'])}"
    bounds = [f"{word} {schema[key]}" for key, word in _BOUNDS.items() if key in schema]
    return escape(" ".join([schema.get("format") or schema.get("type", "anything"), *bounds]))


_BOUNDS = {
    "minimum": "from",
    "maximum": "to",
    "minLength": "length from",
    "maxLength": "to",
    "pattern": "like",
}


def _table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    head = "".join(f"<th>{h}</th>" for h in heads)
    body = "".join(f"<tr>{''.join(f'<td>{cell}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _prose(text: str) -> str:
    """Text of ours with `code` in it."""
    parts = escape(text).split("`")
    return "".join(f"<code>{part}</code>" if i % 2 else part for i, part in enumerate(parts))
