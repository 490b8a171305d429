"""The controls under `/_sim`: ask what really happened, and switch faults. No fault ever acts on them.

There is no key: listen on loopback. A browser's call from another site is turned away.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from importlib.resources import files
from typing import Any, Final

import orjson
from aiohttp import web

from antrean.simulator.account import AccountFull, QuotaUsedUp, Serial
from antrean.simulator.answers import BadRequest, answer, read_object, wib
from antrean.simulator.calls import CALL_KINDS, LOG_MAX
from antrean.simulator.faults import (
    INSTANT_KINDS,
    OUTAGE_KINDS,
    Fault,
    FaultInvalid,
    FaultSpec,
    fault_kinds,
    number,
    parse_fault,
)
from antrean.simulator.machine import Simulator
from antrean.simulator.modes import MODE_CHOICES

SERIALS_PAGE_MAX: Final = 100_000
SEED_COUNT_MAX: Final = 10_000
QUOTA_MAX: Final = 100_000_000
_PAGE_CSP: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_ASSETS: Final = {
    "/": ("page.html", "text/html"),
    "/_sim/page.js": ("page.js", "text/javascript"),
    "/_sim/page.css": ("page.css", "text/css"),
}

Control = Callable[[web.Request], Awaitable[web.StreamResponse]]


def control_routes(simulator: Simulator) -> list[web.RouteDef]:
    """The routes of the controls and of the page."""
    controls = Controls(simulator)
    table: list[tuple[str, str, Control]] = [
        ("GET", "/_sim/state", controls.state),
        ("GET", "/_sim/serials", controls.serials),
        ("GET", "/_sim/calls", controls.calls),
        ("PUT", "/_sim/quota", controls.put_quota),
        ("POST", "/_sim/reset", controls.reset),
        ("POST", "/_sim/seed-serial", controls.seed_serial),
        ("GET", "/_sim/modes", controls.modes),
        ("PUT", "/_sim/modes", controls.put_modes),
        ("GET", "/_sim/faults", controls.faults),
        ("GET", "/_sim/fault-kinds", controls.kinds),
        ("PUT", "/_sim/faults", controls.put_faults),
        ("POST", "/_sim/faults", controls.post_fault),
        ("DELETE", "/_sim/faults", controls.delete_faults),
        ("DELETE", "/_sim/faults/{id}", controls.delete_fault),
        ("PUT", "/_sim/outage", controls.put_outage),
        ("DELETE", "/_sim/outage", controls.delete_outage),
    ]
    routes = [web.route(method, path, _guarded(handler)) for method, path, handler in table]
    routes += [web.get(path, _asset(name, kind)) for path, (name, kind) in _ASSETS.items()]
    return routes


def _guarded(handler: Control) -> Control:
    async def call(request: web.Request) -> web.StreamResponse:
        if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin"):
            return answer({"error": "called from another site"}, 403)
        try:
            return await handler(request)
        except BadRequest:
            return answer({"error": "the body must be a JSON object"}, 400)
        except ValueError as error:
            return answer({"error": str(error)}, 400)

    return call


def _asset(name: str, content_type: str) -> Control:
    content = (files(__package__) / name).read_bytes()

    async def call(_: web.Request) -> web.StreamResponse:
        headers = {
            "Content-Security-Policy": _PAGE_CSP,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-cache",
        }
        return web.Response(body=content, content_type=content_type, charset="utf-8", headers=headers)

    return call


class Controls:
    """Handlers; each answers JSON, and `{"error"}` with 400 where it is asked for what cannot be."""

    def __init__(self, simulator: Simulator) -> None:
        self._simulator = simulator

    async def state(self, _: web.Request) -> web.Response:
        """The books, the calls and the faults in one answer."""
        simulator = self._simulator
        return answer(
            {
                "now": simulator.clock(),
                "user": simulator.config.user,
                "user_id": simulator.user_id,
                **simulator.account.summary(),
                "calls": simulator.calls.summary(),
                "faults": [fault.describe() for fault in simulator.faults.active()],
                "fault_hits": dict(simulator.faults.hits),
                "outage": self._outage(),
                "modes": simulator.modes.as_dict(),
            }
        )

    async def serials(self, request: web.Request) -> web.Response:
        """`?offset=&limit=`, oldest first, or `?sn=` for one."""
        account = self._simulator.account
        if "sn" in request.query:
            found = account.find(request.query["sn"])
            return answer({"total": account.count(), "serials": [] if found is None else [_serial(found)]})
        offset = _query_number(request, "offset", 0, 10**9)
        limit = _query_number(request, "limit", 10_000, SERIALS_PAGE_MAX)
        rows = [_serial(serial) for serial in account.oldest_first(offset, limit)]
        return answer({"total": account.count(), "serials": rows})

    async def calls(self, request: web.Request) -> web.Response:
        """`?limit=&kind=`: the newest calls, newest first."""
        kind = request.query.get("kind")
        if kind is not None and kind not in CALL_KINDS:
            raise FaultInvalid(f"kind: must be of {', '.join(CALL_KINDS)}")
        limit = _query_number(request, "limit", 100, LOG_MAX)
        rows = [
            {
                "at": call.at,
                "kind": call.kind,
                "status": call.status,
                "took_s": call.took_s,
                "during_outage": call.during_outage,
            }
            for call in self._simulator.calls.recent(limit, kind)
        ]
        return answer({"calls": rows})

    async def put_quota(self, request: web.Request) -> web.Response:
        """`{"quota": n}`: from now on n stamps are left."""
        body = await read_object(request)
        self._simulator.account.set_quota(int(number("quota", body.get("quota"), 0, QUOTA_MAX, whole=True)))
        return await self.state(request)

    async def reset(self, request: web.Request) -> web.Response:
        """`{"what": "counters"}` (the default) or `{"what": "all"}`: books, faults and modes too."""
        what = (await read_object(request)).get("what", "counters") if request.can_read_body else "counters"
        if what not in ("counters", "all"):
            raise FaultInvalid('what: must be "counters" or "all"')
        simulator = self._simulator
        if what == "all":
            simulator.account.reset()
            simulator.modes.reset()
            simulator.uploads.clear()
            simulator.stamped_files.clear()
            simulator.batches.clear()
            simulator.outage_fault_id = None
            simulator.faults.clear()
            simulator.faults.hits.clear()
            simulator.faults_changed()
        simulator.calls.reset()
        return await self.state(request)

    async def seed_serial(self, request: web.Request) -> web.Response:
        """`{"file"?, "sn"?, "count"?, "spend"?}`: SNs on the account that no call bought; `spend` takes quota."""
        body = await read_object(request) if request.can_read_body else {}
        count = int(number("count", body.get("count", 1), 1, SEED_COUNT_MAX, whole=True))
        file = body.get("file", "bukan-pesanan.pdf")
        sn = body.get("sn")
        if not isinstance(file, str) or len(file) > 255:
            raise FaultInvalid("file: must be text of at most 255 characters")
        if sn is not None and (
            count != 1 or not isinstance(sn, str) or not re.fullmatch(r"[0-9A-Z]{8,25}", sn)
        ):
            raise FaultInvalid("sn: must be one of 8 to 25 capital letters and digits")
        try:
            made = [
                self._simulator.account.seed(file, serial_number=sn, spend=body.get("spend") is True)
                for _ in range(count)
            ]
        except QuotaUsedUp:
            raise FaultInvalid("no quota is left") from None
        except AccountFull:
            raise FaultInvalid("the account is full") from None
        return answer({"serials": [_serial(serial) for serial in made]}, 201)

    async def modes(self, _: web.Request) -> web.Response:
        """The shapes of answers in force, and the choices."""
        return answer({"modes": self._simulator.modes.as_dict(), "choices": MODE_CHOICES})

    async def put_modes(self, request: web.Request) -> web.Response:
        """Switch some of the shapes."""
        self._simulator.modes.update(await read_object(request))
        return await self.modes(request)

    async def faults(self, _: web.Request) -> web.Response:
        """The faults in force."""
        return answer({"faults": [fault.describe() for fault in self._simulator.faults.active()]})

    async def kinds(self, _: web.Request) -> web.Response:
        """Every kind of fault and of call, for whoever builds a form."""
        return answer({"kinds": fault_kinds(), "calls": CALL_KINDS, "outages": sorted(OUTAGE_KINDS)})

    async def put_faults(self, request: web.Request) -> web.Response:
        """A list, as `{"faults": [...]}` or bare, takes the place of all; those that act at once do so."""
        specs = [parse_fault(each) for each in await _read_list(request)]
        self._simulator.faults.replace([spec for spec in specs if spec.kind not in INSTANT_KINDS])
        self._simulator.outage_fault_id = None
        self._simulator.faults_changed()
        for spec in specs:
            if spec.kind in INSTANT_KINDS:
                self._act_at_once(spec)
        return await self.faults(request)

    async def post_fault(self, request: web.Request) -> web.Response:
        """Add one; one that acts at once answers 200 and is not kept."""
        spec = parse_fault(await read_object(request))
        if spec.kind in INSTANT_KINDS:
            self._act_at_once(spec)
            return answer({"kind": spec.kind, "instant": True, **spec.params})
        return answer(self._simulator.faults.add(spec).describe(), 201)

    async def delete_faults(self, request: web.Request) -> web.Response:
        """Lift all."""
        self._simulator.faults.clear()
        self._simulator.outage_fault_id = None
        self._simulator.faults_changed()
        return await self.faults(request)

    async def delete_fault(self, request: web.Request) -> web.Response:
        """Lift one."""
        if not self._simulator.faults.remove(request.match_info["id"]):
            return answer({"error": "no fault of that id is on"}, 404)
        self._simulator.faults_changed()
        return await self.faults(request)

    async def put_outage(self, request: web.Request) -> web.Response:
        """`{"on": true, "mode": "down"|"refuse"|"hang"}`: all calls at once; `{"on": false}` lifts it."""
        body = await read_object(request)
        if not isinstance(body.get("on", True), bool):
            raise FaultInvalid("on: must be true or false")
        mode = body.get("mode", "down")
        if mode not in OUTAGE_KINDS:
            raise FaultInvalid(f"mode: must be one of {', '.join(sorted(OUTAGE_KINDS))}")
        self._lift_outage()
        if body.get("on", True):
            fault = self._simulator.faults.add(parse_fault({"kind": mode, "scope": "*"}))
            self._simulator.outage_fault_id = fault.id
        return answer({"outage": self._outage()})

    async def delete_outage(self, _: web.Request) -> web.Response:
        """Lift it."""
        self._lift_outage()
        return answer({"outage": self._outage()})

    def _lift_outage(self) -> None:
        if self._simulator.outage_fault_id is not None:
            self._simulator.faults.remove(self._simulator.outage_fault_id)
            self._simulator.outage_fault_id = None
            self._simulator.faults_changed()

    def _outage(self) -> dict[str, Any]:
        faults: list[Fault] = self._simulator.faults.active()
        fault = next((each for each in faults if each.id == self._simulator.outage_fault_id), None)
        if fault is None:
            return {"on": False, "mode": None, "since": None}
        return {"on": True, "mode": fault.spec.kind, "since": fault.since}

    def _act_at_once(self, spec: FaultSpec) -> None:
        if spec.kind == "token_end":
            self._simulator.tokens.end_all()
        else:
            self._simulator.account.drift_by(spec.params["count"])
        self._simulator.faults.hits[spec.kind] += 1


async def _read_list(request: web.Request) -> list[Any]:
    try:
        raw = orjson.loads(await request.read())
    except orjson.JSONDecodeError as error:
        raise BadRequest from error
    listed = raw.get("faults") if isinstance(raw, dict) else raw
    if not isinstance(listed, list):
        raise FaultInvalid("a list of faults is needed")
    return listed


def _query_number(request: web.Request, name: str, default: int, high: int) -> int:
    text = request.query.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 12 or int(text) > high:
        raise FaultInvalid(f"{name}: must be a number up to {high}")
    return int(text)


def _serial(serial: Serial) -> dict[str, Any]:
    return {
        "sn": serial.serial_number,
        "file": serial.file,
        "status": serial.status,
        "origin": serial.origin,
        "sold_at": serial.sold_at,
        "updated_at": wib(serial.updated_at),
        "document_sha256": serial.document_sha256,
    }
