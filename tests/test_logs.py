"""A log tells the story of an order and nothing of a person."""

from __future__ import annotations

import io
import json
import logging
import warnings
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from antrean.config.logs import REDACTED, configure_logging, redact

NIK = "1271010101900001"


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers, root.level
    chatty = [logging.getLogger(name) for name in ("httpx", "httpcore", "aiohttp.access")]
    levels = [logger.level for logger in chatty]
    yield
    root.handlers, root.level = handlers, level
    for logger, before in zip(chatty, levels, strict=True):
        logger.setLevel(before)
    structlog.reset_defaults()


def written(log_format: str = "json") -> io.StringIO:
    stream = io.StringIO()
    configure_logging("INFO", log_format, stream)
    return stream


def test_a_line_is_json_where_nobody_watches_and_carries_the_order() -> None:
    stream = written("auto")
    with structlog.contextvars.bound_contextvars(order_id="o-1", request_id="r-1"):
        structlog.get_logger("antrean.test").info("claimed", attempts=2)

    line = json.loads(stream.getvalue())
    assert (line["event"], line["order_id"], line["request_id"]) == ("claimed", "o-1", "r-1")
    assert (line["attempts"], line["level"], line["logger"]) == (2, "info", "antrean.test")
    assert line["timestamp"].endswith("Z")


def test_other_libraries_come_the_same_way_and_are_netted_too() -> None:
    stream = written()
    logging.getLogger("rq.worker").warning("job for %s, token=%s", NIK, "abc")

    line = json.loads(stream.getvalue())
    assert line["logger"] == "rq.worker"
    assert line["event"] == f"job for {REDACTED}, token=abc"


def test_a_librarys_warning_is_a_line_without_its_words() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        stream = written()
        warnings.warn(f'form-data; filename="{NIK} Budi', UserWarning, stacklevel=1)

    line = json.loads(stream.getvalue())
    assert (line["level"], line["logger"]) == ("warning", "py.warnings")
    assert line["event"].startswith("UserWarning in test_logs.py:")
    assert "Budi" not in stream.getvalue()


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_secret_and_no_identity_number_gets_through(log_format: str) -> None:
    stream = written(log_format)
    try:
        raise ValueError(f"bad number {NIK}")
    except ValueError:
        structlog.get_logger("antrean.test").exception(
            "refused",
            identity_number="12",
            name="Budi",
            upstream_password="hunter2",
            headers={"Authorization": "Bearer abc.def", "Accept": "x"},
            rows=[{"nik": "12"}, f"id {NIK}"],
            number=int(NIK),
            note=f"1271 0101 0190 0001 and {NIK}",
            said="sent with Bearer abc.def",
        )

    seen = stream.getvalue()
    for secret in (NIK, "Budi", "hunter2", "abc.def", "0190 0001"):
        assert secret not in seen
    assert "refused" in seen
    assert "ValueError" in seen


@given(
    st.recursive(
        st.just(NIK),
        lambda x: (
            st.lists(x, min_size=1, max_size=3)
            | st.dictionaries(st.text(max_size=3), x, min_size=1, max_size=3)
        ),
        max_leaves=20,
    )
)
def test_an_identity_number_is_found_however_deep(value: object) -> None:
    assert NIK not in str(redact(None, "info", {"event": "x", "value": value})["value"])


def test_numbers_of_other_lengths_stay() -> None:
    event = {
        "event": "x",
        "port": 8080,
        "nanoseconds": 1_795_507_900_705_123_456,
        "text": "took 17 of 12345678",
    }
    assert redact(None, "info", dict(event)) == event


@pytest.mark.parametrize(("level", "log_format"), [("LOUD", "json"), ("INFO", "xml")])
def test_an_unknown_level_or_format_is_refused(level: str, log_format: str) -> None:
    with pytest.raises(ValueError, match="unknown log"):
        configure_logging(level, log_format, io.StringIO())
