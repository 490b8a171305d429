"""The Peruri adapter: the provider's protocol spoken as the upstream's integrators speak it, over HTTP.

It holds no policy: no breaker, no limit, and no retry but the one after code 01. Those are put around it in
`resilience`. Only `translate` decides what an answer, or its absence, may have done upstream.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote

import httpx

from antrean.provider.cloud import CloudStamper
from antrean.provider.errors import ProviderError, Rejected, Unavailable
from antrean.provider.late import LATE_CALLS_MAX, LateCalls
from antrean.provider.onpremise import OnPremiseStamper
from antrean.provider.pictures import is_png, png_from_base64
from antrean.provider.protocol import (
    CallMeter,
    Generated,
    GenerateRequest,
    SerialPage,
    SerialRecord,
    StampRequest,
)
from antrean.provider.serials import is_serial, read_balance, read_page, read_status
from antrean.provider.signing import Stamper
from antrean.provider.token import SharedToken, payload
from antrean.provider.translate import (
    NO_PICTURE,
    Effect,
    NoPicture,
    NotServed,
    TokenRefused,
    lost,
    of_a_serial,
    read_answer,
)
from antrean.provider.transport import Http1Transport
from antrean.provider.wire import Wire

T = TypeVar("T")

#: Price of the duty the stamp stands for, in rupiah, as text (`nilaidoc`).
DUTY_IDR = "10000"
#: A generate goes on in the background for LATE_TIMEOUTS timeouts, but for no more than LATE_MAX_S seconds.
LATE_TIMEOUTS = 10
LATE_MAX_S = 120.0
#: Calls beside the orders': login, questions, pictures.
CALLS_EXTRA = 16
#: Names under which a token's payload may hold the account's id.
ID_CLAIMS = ("id", "userId", "user_id", "UserID", "userid", "uid", "sub")
#: Longest token taken, in characters.
TOKEN_MAX = 8192


@dataclass(frozen=True, slots=True)
class PeruriConfig:
    """Base URLs, account and bounds. With `adapter_url` stamping is on-premise, without it in the cloud.

    `timeout_s`: longest wait for one answer. `probe_timeout_s`: the same for a probe. `concurrency_max`: most calls
    in flight of this process. `remote_dir`: the adapter's path of `shared_dir`; the same when empty. `download_urls`:
    other base URLs from which a PDF stamped in the cloud may be fetched.
    """

    backend_url: str
    stampv2_url: str
    user: str
    password: str = field(repr=False)
    adapter_url: str = ""
    shared_dir: Path | None = None
    remote_dir: str = ""
    fileupload_url: str = ""
    stampservice_url: str = ""
    download_urls: tuple[str, ...] = ()
    timeout_s: float = 30.0
    probe_timeout_s: float = 5.0
    concurrency_max: int = 64

    @property
    def account(self) -> str:
        """Tells accounts apart where their token is shared."""
        return f"{self.user}@{self.backend_url}"


class PeruriAdapter:
    """Implements `Provider` on Peruri's API. `transport`: what carries the requests; a pool of our own when None."""

    def __init__(
        self, config: PeruriConfig, tokens: SharedToken, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._config = config
        self._tokens = tokens
        calls_max = config.concurrency_max + LATE_CALLS_MAX + CALLS_EXTRA
        self._wire = Wire(transport or Http1Transport(calls_max), config.timeout_s)
        self._late = LateCalls()
        self._backend = config.backend_url.rstrip("/")
        self._stampv2 = config.stampv2_url.rstrip("/")
        self._stamper = self._make_stamper()
        self._list_id: str | None = None
        self._probes_by_login = False
        self._lists_not_served = 0

    def _make_stamper(self) -> Stamper | None:
        config = self._config
        if config.adapter_url and config.shared_dir is not None:
            return OnPremiseStamper(self._wire, config.adapter_url, config.shared_dir, config.remote_dir)
        if config.fileupload_url and config.stampservice_url:
            others = (config.backend_url, config.stampv2_url, *config.download_urls)
            return CloudStamper(self._wire, config.fileupload_url, config.stampservice_url, others)
        return None

    # ---- the two halves of a stamp

    async def generate(self, request: GenerateRequest, meter: CallMeter) -> Generated:
        """Buy one SN. After `timeout_s` the call goes on by itself and is handed out as `OutcomeUnknown.late`."""

        async def buy(token: str) -> Generated:
            await meter.sending()
            return await self._late.run(self._buy(request, token, meter), self._config.timeout_s)

        return await self._with_token(buy)

    async def stamp(self, request: StampRequest, meter: CallMeter) -> bytes:
        """Put the SN on the PDF. Raises Unavailable where neither adapter nor cloud is set up."""
        stamper = self._stamper
        if stamper is None:
            raise Unavailable("no signing service is set up")
        return await self._with_token(lambda token: stamper.stamp(request, token, meter))

    async def qr_image(self, serial_number: str, meter: CallMeter) -> bytes:
        """The QR picture of an SN, from JSON or bare base64 (or the PNG itself). SerialUnusable for codes 97 and 92."""

        async def fetch(token: str) -> bytes:
            await meter.sending()
            url = f"{self._stampv2}/snqr/qrimage"
            try:
                return _picture(
                    await self._wire.ask_raw(url, token=token, params={"serialnumber": serial_number})
                )
            except NotServed as error:
                if error.page:
                    raise
                raise NoPicture(error.message) from None
            except Rejected as error:
                raise of_a_serial(error) from None

        return await self._with_token(fetch)

    # ---- free questions

    async def serial_status(self, serial_number: str) -> SerialRecord | None:
        """What the upstream knows of one SN."""
        answer = await self._ask(
            "GET", f"{self._backend}/api/chanel/stamp/ext", params={"filter": serial_number}
        )
        return read_status(answer, serial_number)

    async def serial_page(self, page: int, size: int) -> SerialPage:
        """A page of the account's SNs.

        The account's id in the list's URL is the one in the token, or the login's user (assumed: sources differ). The
        first page is asked for under each id until one shows SNs, because an empty list under the wrong id would read
        as "nothing was bought". That id is used from then on. Nobody knows how a wrong id is answered: by a rejection,
        a status, a refused token or silence.
        """

        async def fetch(token: str) -> SerialPage:
            ids = self._list_ids(token)
            empty: SerialPage | None = None
            failed: list[ProviderError] = []
            for user_id in ids[:1] if page > 1 and self._list_id else ids:
                url = self._list_url(user_id)
                params = {"page": str(page), "size": str(size)}
                try:
                    found = read_page(
                        await self._wire.ask("GET", url, Effect.FREE, token=token, params=params)
                    )
                except (Rejected, Unavailable) as error:
                    # The account's own list: an empty one under the other id proves nothing.
                    if user_id == self._list_id:
                        raise
                    failed.append(error)
                    continue
                if found.records:
                    self._list_id = user_id
                    return found
                empty = found
            if unclear := [e for e in failed if not isinstance(e, Rejected | TokenRefused | NotServed)]:
                raise unclear[0]  # this may be the account's own list, which can not be read just now
            if failed and empty is None:
                raise next((e for e in failed if isinstance(e, TokenRefused)), failed[0])
            return empty or SerialPage((), last=True)

        return await self._with_token(fetch)

    def _list_ids(self, token: str) -> list[str]:
        """The ids that the account's list may be under; the one that has shown SNs comes first."""
        return list(dict.fromkeys(filter(None, (self._list_id, _user_id(token), self._config.user))))

    def _list_url(self, user_id: str) -> str:
        return f"{self._stampv2}/chanel/sale/stamp/ext/{quote(user_id, safe='')}"

    async def balance(self) -> int:
        """Stamps left on the account."""
        return read_balance(await self._ask("POST", f"{self._backend}/function/saldopos"))

    async def document_types(self) -> dict[str, str]:
        """Names of the document types by their code."""
        answer = await self._ask("GET", f"{self._stampv2}/jenisdoc")
        rows = answer.get("result")
        if not isinstance(rows, list):
            raise Unavailable("the upstream's document types can not be read", sent=True)
        return {
            str(row["kode"]): str(row.get("nama", ""))
            for row in rows
            if isinstance(row, dict) and "kode" in row
        }

    # ---- the probes

    async def probe(self, after_trial: bool = False) -> None:
        """Make exactly one free call: the balance where a token is held, else a login. Raises ProviderError.

        Any answer will do: a balance in a form that we do not know, or a refused token (the next call logs in). After
        a probe that failed, the next one logs in: the balance alone may be broken. `after_trial`: ask for the list of
        SNs, which the host that sells them answers; that host may be away while the other is not.
        """
        timeout_s = min(self._config.probe_timeout_s, self._config.timeout_s)
        token = await self._tokens.held()
        if token is None or (self._probes_by_login and not after_trial):
            self._probes_by_login = False
            await self._tokens.renew(lambda: self._login(timeout_s))
            return
        try:
            if after_trial:
                ids = self._list_ids(token)
                url = self._list_url(ids[self._lists_not_served % len(ids)])
                params = {"page": "1", "size": "1"}
                await self._wire.ask("GET", url, Effect.FREE, token=token, params=params, timeout_s=timeout_s)
                return
            url = f"{self._backend}/function/saldopos"
            self._probes_by_login = True
            await self._wire.ask("POST", url, Effect.FREE, token=token, timeout_s=timeout_s)
        except TokenRefused:
            await self._tokens.refused(token)
        except NotServed:
            self._lists_not_served += after_trial  # the next probe asks under the account's other id
            raise
        self._probes_by_login = False

    async def adapter_reachable(self) -> None:
        """A TCP connection to the signing service, and nothing more. Raises Unavailable."""
        if self._stamper is None:
            raise Unavailable("no signing service is set up")
        await self._stamper.reachable(min(self._config.probe_timeout_s, self._config.timeout_s))

    async def tidy(self) -> bool:
        """Remove what old attempts have left in the folder shared with the adapter; True where there is more."""
        return isinstance(self._stamper, OnPremiseStamper) and await self._stamper.tidy()

    # ---- the token

    def token_ready(self) -> bool:
        """Whether a token is in memory that is still good."""
        return self._tokens.ready

    async def token_held(self) -> bool:
        """Whether a call could be made without a login. Raises Unavailable with Redis away."""
        return await self._tokens.held() is not None

    async def ensure_token(self) -> None:
        """Log in where nobody has. Raises Unavailable."""
        await self._tokens.get(self._login)

    async def aclose(self) -> None:
        """Give up on late answers and close connections. Bounded."""
        await self._late.aclose()
        await self._wire.aclose()

    # ---- inside

    async def _buy(self, request: GenerateRequest, token: str, meter: CallMeter) -> Generated:
        private = (request.identity_number, request.name, *request.name.split())
        answer = await self._wire.ask(
            "POST",
            f"{self._stampv2}/chanel/stampv2",
            Effect.SPENDS,
            token=token,
            json={
                "isUpload": False,
                "namadoc": request.type_code,
                "namafile": f"{request.order_ref}.pdf",
                "nilaidoc": DUTY_IDR,
                "namejidentitas": request.identity_type,
                "noidentitas": request.identity_number,
                "namedipungut": request.name,
                "snOnly": False,
                "nodoc": request.document_number,
                "tgldoc": request.document_date,
            },
            private=private,
            timeout_s=min(self._config.timeout_s * LATE_TIMEOUTS, max(LATE_MAX_S, self._config.timeout_s)),
            meter=meter,
        )
        result = answer.get("result")
        serial = result.get("sn") if isinstance(result, dict) else None
        if not isinstance(result, dict) or not isinstance(serial, str) or not is_serial(serial):
            raise lost(Effect.SPENDS, "the upstream said yes without a serial number")
        # Where the picture is missing (`filenameQR`) or broken, the QR call fetches it: the SN is ours either way.
        image = result.get("image")
        return Generated(serial, png_from_base64(image) if isinstance(image, str) else None)

    async def _login(self, timeout_s: float | None = None) -> str:
        config = self._config
        answer = await self._wire.ask(
            "POST",
            f"{self._backend}/api/users/login",
            Effect.FREE,
            json={"user": config.user, "password": config.password},
            private=(config.user, config.password),
            timeout_s=timeout_s,
        )
        token = answer.get("token")
        if (
            not isinstance(token, str)
            or not 0 < len(token) <= TOKEN_MAX
            or not token.isascii()
            or not token.isprintable()
            or " " in token
        ):
            raise Unavailable("the login was answered without a token", sent=True)
        return token

    async def _ask(self, method: str, url: str, params: dict[str, str] | None = None) -> dict[str, Any]:
        return await self._with_token(
            lambda token: self._wire.ask(method, url, Effect.FREE, token=token, params=params)
        )

    async def _with_token(self, call: Callable[[str], Awaitable[T]]) -> T:
        """Call with a token. Code 01 means that nothing happened: log in again and repeat, once."""
        token = await self._tokens.get(self._login)
        try:
            return await call(token)
        except TokenRefused:
            await self._tokens.refused(token)
        return await call(await self._tokens.get(self._login))


def _user_id(token: str) -> str | None:
    claims = payload(token)
    for name in ID_CLAIMS:
        value = claims.get(name)
        if isinstance(value, int | str) and not isinstance(value, bool) and str(value):
            return str(value)
    return None


def _picture(body: bytes) -> bytes:
    """Raises Unavailable for what is no answer, as a page of a proxy; Rejected for an answer without a picture."""
    if is_png(body):
        return body
    text = body.decode("utf-8", "replace").strip()
    if text.startswith("<"):
        raise Unavailable("the upstream answered with a page in place of a picture", sent=True)
    if text.startswith("{"):
        answer = read_answer(httpx.Response(200), body, Effect.FREE)
        result = answer.get("result")
        text = result if isinstance(result, str) else str(answer.get("image", ""))
    picture = png_from_base64(text.strip('"'))
    if picture is None:
        raise Rejected(NO_PICTURE, "the upstream answered without a picture of the serial number")
    return picture
