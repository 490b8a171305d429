"""Logging of every process: structlog, with the standard library's loggers (rq, aiohttp) routed through it.

Readable lines in a terminal, one JSON object a line otherwise. `order_id` and `request_id` come in through
context variables (`structlog.contextvars.bound_contextvars`). Nobody logs personal data on purpose; the last
step before a line is written takes out what slipped through all the same.
"""

from __future__ import annotations

import logging
import re
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

REDACTED = "[redacted]"

#: Keys whose values never reach a log, compared in lower case and with `_` for `-`.
SECRET_KEYS = frozenset(
    {
        "identity_number",
        "nik",
        "noidentitas",
        "name",
        "taxpayer",
        "taxpayer_name",
        "namedipungut",
        "docpass",
        "jwtoken",
        "cookie",
        "api_key",
        "bearer",
        "idempotency_key",
    }
)
#: The same for keys that hold one of these words.
SECRET_WORDS = re.compile("password|passwd|token|secret|authorization")

#: An Indonesian identity number (NIK) is 16 digits, written together or in groups.
NIK = re.compile(r"(?<!\d)\d(?:[ .-]?\d){15}(?!\d)")
_NIK_VALUES = range(10**15, 10**16)
#: What follows `Bearer` in a header that found its way into a message.
BEARER = re.compile(r"(?i)\b(bearer\s+)\S+")

#: Nesting deeper than this is cut: a log line is no place for a document.
DEPTH_MAX = 8


def redact(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """The last net, a structlog processor: secrets by key, identity numbers by shape, however deep."""
    return {key: REDACTED if _is_secret(key) else _redacted(value, 1) for key, value in event.items()}


def _is_secret(key: object) -> bool:
    name = str(key).lower().replace("-", "_")
    return name in SECRET_KEYS or SECRET_WORDS.search(name) is not None


def _redacted(value: object, depth: int) -> object:
    match value:
        case bool() | float() | None:
            return value
        case int():
            return REDACTED if value in _NIK_VALUES else value
        case _ if depth > DEPTH_MAX:
            return REDACTED
        case Mapping():
            return {k: REDACTED if _is_secret(k) else _redacted(v, depth + 1) for k, v in value.items()}
        case list() | tuple() | set() | frozenset():
            return [_redacted(item, depth + 1) for item in value]
        case bytes():
            return _redacted_text(value.decode("utf-8", "replace"))
        case _:
            return _redacted_text(value if isinstance(value, str) else str(value))


def _redacted_text(text: str) -> str:
    return BEARER.sub(rf"\1{REDACTED}", NIK.sub(REDACTED, text))


def _say_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """A library's warning as a line of the log, without its words: they may quote what a client sent."""
    del message, file, line
    logging.getLogger("py.warnings").warning("%s in %s:%d", category.__name__, Path(filename).name, lineno)


def configure_logging(level: str = "INFO", log_format: str = "auto", stream: TextIO | None = None) -> None:
    """Set up structlog and the standard library's logging, to `stream` (stderr when None).

    `log_format`: `console`, `json`, or `auto`, which is `console` where the stream is a terminal.
    Raises ValueError for another format or an unknown level. May be called again; the last call holds.
    """
    out = sys.stderr if stream is None else stream
    numeric_level = logging.getLevelNamesMapping().get(level.upper())
    if numeric_level is None:
        raise ValueError("unknown log level: ANTREAN_LOG_LEVEL is DEBUG, INFO, WARNING or ERROR")
    if log_format not in {"auto", "json", "console"}:
        raise ValueError("unknown log format: ANTREAN_LOG_FORMAT is auto, json or console")
    readable = log_format == "console" or (log_format == "auto" and out.isatty())

    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=not readable),
        structlog.stdlib.ExtraAdder(allow=("order_id", "request_id")),
    ]
    render: Processor = (
        structlog.dev.ConsoleRenderer(colors=out.isatty())
        if readable
        else structlog.processors.JSONRenderer(ensure_ascii=False)
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=before,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            # Tracebacks become text first, so that the net sees them too; locals are never shown.
            structlog.processors.format_exc_info,
            redact,
            render,
        ],
    )
    handler = logging.StreamHandler(out)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(numeric_level)
    # What these tell at INFO (every request, every connection) our own lines tell with an order id.
    for chatty in ("httpx", "httpcore", "aiohttp.access", "pikepdf"):
        logging.getLogger(chatty).setLevel(max(numeric_level, logging.WARNING))

    warnings.showwarning = _say_warning

    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *before,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
