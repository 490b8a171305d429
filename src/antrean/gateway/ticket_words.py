"""What the ticket page says before its own script runs, or without one: in Indonesian, by the page's own dictionary.

The same decisions as `words()` in ticket.js. Times are Jakarta's, and say so: only the script knows the reader's own.
"""

from __future__ import annotations

import html
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import orjson

from antrean.gateway.web_files import FILES
from antrean.orders.books import WIB
from antrean.orders.states import TERMINAL, State

_LINE = re.compile(rb'^  "?([\w.-]+)"?: ("(?:[^"\\]|\\.)*"),$', re.MULTILINE)
_WORDS: Mapping[str, str] = {
    key.decode(): orjson.loads(text) for key, text in _LINE.findall(FILES["few-id.js"].body)
}
#: Where the page has room for what is known of its ticket.
_PLACE = re.compile(rb"{(number|ticket|headline|more|eta|tone|foot)}")
_DAYS = ("Senin", "Selasa", "Rabu", "Kamis", "Jumat", "Sabtu", "Minggu")
_MONTHS = ("Januari", "Februari", "Maret", "April", "Mei", "Juni", "Juli", "Agustus", "September", "Oktober",
           "November", "Desember")  # fmt: skip
_WORKING = (State.BUYING, State.BOUGHT, State.STAMPING)
_TONES = {State.COMPLETED: "good", State.REJECTED: "bad"}


@dataclass(frozen=True, slots=True)
class TicketWords:
    """The texts of the page, by the ids of their elements; `tone` is a class."""

    headline: str
    more: str = ""
    eta: str = ""
    tone: str = ""
    foot: str = ""


def filled(page: bytes, shown: Mapping[str, Any] | None) -> bytes:
    """The page with a ticket in it: as words, and as what its script goes on with. None: nothing is known yet."""
    texts = asdict(ticket_words(shown))
    texts |= {"number": str(shown["number"]) if shown else "…", "ticket": orjson.dumps(shown).decode()}
    return _PLACE.sub(lambda place: html.escape(texts[place[1].decode()]).encode(), page)


def ticket_words(shown: Mapping[str, Any] | None, now: datetime | None = None) -> TicketWords:
    """What is said of a ticket as `render_ticket` shows it; None: nothing is known yet."""
    if shown is None:
        return TicketWords(_t("asking"))
    today = (now or datetime.now(UTC)).astimezone(WIB)
    foot = _t("since", time=_moment(shown["created_at"], today))
    state, holding, ahead, eta = State(shown["state"]), shown["holding"], shown["ahead"], shown["eta"]
    if holding and state not in TERMINAL:
        place = "" if ahead is None else _t("hold.place", n=_count(ahead)) if ahead else _t("hold.first")
        name = f"hold.{holding['reason']}{'.forced' if holding['forced'] else ''}"
        headline = _t(name, since=_moment(holding["since"], today))
        return TicketWords(headline, _t("hold.more"), place, "held", foot)
    if state is State.QUEUED:
        headline = _t("ahead", n=_count(ahead)) if ahead else _t("next")
        if eta:
            when = _range(eta["earliest"], eta["latest"], today)
            return TicketWords(headline, eta=_t("eta", range=when), foot=foot)
        return TicketWords(headline, _t("eta.none"), foot=foot)
    name = "working" if state in _WORKING else state.value
    if state is State.COMPLETED and shown.get("erased"):
        return TicketWords(_t(name), _t("erased.more"), foot=foot)
    return TicketWords(_t(name), _t(f"{name}.more"), tone=_TONES.get(state, ""), foot=foot)


def _t(key: str, **values: str) -> str:
    return re.sub(r"{(\w+)}", lambda found: values[found[1]], _WORDS[key])


def _count(number: int) -> str:
    return f"{number:,}".replace(",", ".")


def _local(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(WIB)


def _clock(moment: datetime) -> str:
    return f"{moment:%H.%M}"


def _day(moment: datetime, today: datetime) -> str:
    if moment.date() == today.date():
        return ""
    year = "" if moment.year == today.year else f" {moment.year}"
    return f"{_DAYS[moment.weekday()]}, {moment.day} {_MONTHS[moment.month - 1]}{year}, "


def _moment(text: str, today: datetime) -> str:
    moment = _local(text)
    return f"{_day(moment, today)}{_clock(moment)} WIB"


def _range(earliest: str, latest: str, today: datetime) -> str:
    first, last = _local(earliest), _local(latest)
    if _clock(first) == _clock(last) and (last - first).total_seconds() < 60:
        return _moment(latest, today)
    return f"{_day(first, today)}{_clock(first)} \u2013 {_moment(latest, today)}"
