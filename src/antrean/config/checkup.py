"""What `antrean doctor` looks at. Every check ends in a finding; none of them spends anything upstream."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import os
import re
import shutil
import tempfile
import time
from email.utils import parsedate_to_datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

import httpx
import redis.asyncio
from redis.exceptions import RedisError

from antrean.config.documents import build_documents
from antrean.config.durability import Finding, Level, check_durability
from antrean.config.personal_keys import examine_ring
from antrean.config.redis_client import connect
from antrean.config.setting_names import passed_over
from antrean.config.settings import Settings
from antrean.config.start_checks import MENDED_IN_PLACE
from antrean.config.upstream import build_adapter
from antrean.orders import keys, layout
from antrean.orders.asking import asked
from antrean.orders.books import PAID, accounts_of, difference_idr
from antrean.orders.documents import DocumentStore, DocumentStoreUnavailable
from antrean.orders.model import StoreUnavailable
from antrean.provider.errors import ProviderError
from antrean.provider.peruri import PeruriAdapter

#: Deadlines, tokens and leases are compared with other machines' clocks; a `Date` header tells whole seconds.
CLOCK_WARN_S = 3.0
CLOCK_FAIL_S = 60.0

#: An order appends about 6 kB to the file until it is rewritten (docs/benchmarks.md); a document is at most some MB.
DISK_WARN_BYTES = 2 * 1024**3
DISK_FAIL_BYTES = 256 * 1024**2

#: Longest wait for one answer here; the doctor is asked by someone who waits.
ASK_TIMEOUT_S = 5.0

#: More than a file takes in its folder's own entry: a file without bytes can be made on many a full disk.
PROBE_BYTES = 64 * 1024

#: How a library tells the number of a system call's error.
_OS_ERROR = re.compile(r"(?:\(os error |^\[Errno )(\d+)")

#: User and password in a URL.
_USER_INFO = re.compile(r"//[^/@\s]+@")


async def examine(settings: Settings) -> list[Finding]:
    """All checks, in the order they are shown. Takes at most a few times `ASK_TIMEOUT_S` seconds."""
    server, upstream, documents = await asyncio.gather(
        _redis(settings), _upstream(settings), check_document_store(settings.effective_document_store)
    )
    return [_names(), *server, *upstream, documents, *_folders(settings)]


def _names() -> Finding:
    if lines := passed_over():
        advice = "Correct them, or take away what no release reads."
        return Finding("settings", Level.WARN, "\n".join(lines), advice)
    return Finding("settings", Level.OK, "all that are set are read")


async def _redis(settings: Settings) -> list[Finding]:
    client = connect(settings.effective_redis_url, settings)
    try:
        findings = await check_durability(client, replicas_min=settings.redis_replicas_min)
        if any(f.check == "reachable" and f.level is Level.FAIL for f in findings):
            return [_with_tls_hint(f) if settings.redis_url.startswith("rediss") else f for f in findings]
        return [
            *findings,
            await _layout(client),
            await _redis_clock(client),
            await _ring(settings, client),
            await _books(client),
            *await _same_documents(settings, client),
        ]
    finally:
        await client.aclose()


def _with_tls_hint(finding: Finding) -> Finding:
    """Add a hint: a server without TLS does not answer a TLS greeting, or hangs up, and the error does not say so.

    Where a certificate was refused, say what would have it trusted.
    """
    if "certificate" in finding.seen:
        advice = "Name its authority's file behind the URL (?ssl_ca_certs=/ca.pem), and the host as it does."
        return dataclasses.replace(finding, advice=advice)
    if not finding.seen.startswith("no connection"):
        return finding
    hint = "Or it speaks no TLS at this port: then let the URL begin with redis instead of rediss."
    return dataclasses.replace(finding, advice=f"{finding.advice} {hint}")


async def _layout(client: redis.asyncio.Redis) -> Finding:
    try:
        found = await layout.layout_of(client)
    except StoreUnavailable as error:
        return Finding("layout of the data", Level.WARN, str(error), "Ask again when Redis answers.")
    if found > layout.READS:
        advice = (
            "Start the release that wrote it, or a later one; to go back, restore a backup from before it."
        )
        return Finding(
            "layout of the data", Level.FAIL, f"{found}; this release knows up to {layout.READS}", advice
        )
    return Finding("layout of the data", Level.OK, f"{found}; this release writes {layout.WRITES}")


async def _ring(settings: Settings, client: redis.asyncio.Redis) -> Finding:
    try:
        return await examine_ring(settings, client)
    except StoreUnavailable as error:
        return Finding("keys of personal data", Level.WARN, str(error), "Ask again when Redis answers.")


async def _books(client: redis.asyncio.Redis) -> Finding:
    """The totals alone: `antrean ledger check` reads the entries."""
    check = "books"
    try:
        totals = accounts_of(await asked(client.hgetall(keys.LEDGER_TOTALS)))
    except StoreUnavailable as error:
        return Finding(check, Level.WARN, str(error), "Ask again when Redis answers.")
    below = [f"{account} is Rp {amount:,}" for account, amount in totals.items() if amount < 0]
    if difference := difference_idr(totals):
        below.insert(0, f"paid is Rp {difference:,} more than the sum of its parts")
    if below:
        advice = "Stop draining (PUT /v1/ops/pause) and run `antrean ledger check`: it says which entries are wrong."
        return Finding(check, Level.FAIL, "; ".join(below), advice)
    return Finding(check, Level.OK, f"Rp {totals[PAID]:,} paid is the sum of its parts, none below 0")


async def _same_documents(settings: Settings, client: redis.asyncio.Redis) -> list[Finding]:
    """Whether our folder is the one that gateways keep documents in; nothing to say of one that is not made yet."""
    check = "documents' folder"
    if (folder := _local_store(settings.effective_document_store)) is None or not _is_seen(folder):
        return []
    try:
        await build_documents(settings, client).require_ours()
    except DocumentStoreUnavailable as error:
        advice = (
            "One store for all gateways and workers; two of them with a folder each lose sight of documents."
        )
        return [Finding(check, Level.FAIL, str(error), advice)]
    return [Finding(check, Level.OK, str(folder))]


def _local_store(url: str) -> Path | None:
    return Path(unquote(urlsplit(url).path)) if url.startswith("file:") else None


async def _redis_clock(client: redis.asyncio.Redis) -> Finding:
    before = time.time()
    try:
        seconds, micros = await client.time()
    except RedisError as error:
        return Finding(
            "clock against Redis", Level.WARN, f"TIME is refused: {error}", "Allow the command TIME."
        )
    ours = (before + time.time()) / 2
    return judge_clock("clock against Redis", seconds + micros / 1e6 - ours)


def judge_clock(check: str, ahead_s: float) -> Finding:
    """`ahead_s`: seconds that the other clock is ahead of ours."""
    seen = f"{abs(ahead_s):.1f} s {'ahead of' if ahead_s >= 0 else 'behind'} ours"
    advice = "Keep all machines' clocks with NTP (`timedatectl set-ntp true`)."
    if abs(ahead_s) >= CLOCK_FAIL_S:
        return Finding(check, Level.FAIL, seen, advice)
    if abs(ahead_s) >= CLOCK_WARN_S:
        return Finding(check, Level.WARN, seen, advice)
    return Finding(check, Level.OK, seen)


async def _upstream(settings: Settings) -> list[Finding]:
    if settings.uses_simulator:
        url = f"http://127.0.0.1:{settings.effective_simulator_port}"
        findings = await _ask(
            "simulator", url, "Start `antrean up`, or set ANTREAN_UPSTREAM_… to the real upstream."
        )
        advice = "For real stamps set ANTREAN_UPSTREAM_BACKEND_URL and its sisters."
        return [Finding("upstream", Level.WARN, "none is set: the simulator stands in", advice), *findings]
    findings = []
    for name, url in settings.upstream_urls.items():
        setting = f"ANTREAN_UPSTREAM_{name.upper()}_URL"
        if url:
            findings += await _ask(f"upstream {name}", url, f"Check {setting}, the network and the firewall.")
        else:
            findings.append(Finding(f"upstream {name}", Level.FAIL, "not set", f"Set {setting}."))
    if not settings.upstream_user or not settings.upstream_password.get_secret_value():
        advice = "Set ANTREAN_UPSTREAM_USER and ANTREAN_UPSTREAM_PASSWORD."
        findings.append(Finding("upstream account", Level.FAIL, "user or password is not set", advice))
    if all(found.level is not Level.FAIL for found in findings):
        findings += await _account(settings)
    return findings


async def _account(settings: Settings) -> list[Finding]:
    """Free questions: one that needs all that a purchase needs (host, path, account, an upstream that is at work), and
    whether there is anything left to buy."""
    check = "upstream account"
    advice = "It may be away. Else check ANTREAN_UPSTREAM_USER, ANTREAN_UPSTREAM_PASSWORD, and the paths in its URLs."
    client = connect(settings.effective_redis_url, settings)
    adapter = build_adapter(settings, client)
    try:
        async with asyncio.timeout(ASK_TIMEOUT_S):
            await adapter.serial_page(1, 1)
        return [Finding(check, Level.OK, "its list of serial numbers answers"), await _quota(adapter)]
    except TimeoutError:
        return [Finding(check, Level.FAIL, f"no answer within {ASK_TIMEOUT_S:g} s", advice)]
    except ProviderError as error:
        if isinstance(error.__cause__, RedisError):
            return [Finding(check, Level.WARN, f"not asked: {error}", "Ask again when Redis answers.")]
        return [Finding(check, Level.FAIL, str(error), advice)]
    finally:
        await adapter.aclose()
        await client.aclose()


async def _quota(adapter: PeruriAdapter) -> Finding:
    check = "upstream quota"
    try:
        async with asyncio.timeout(ASK_TIMEOUT_S):
            left = await adapter.balance()
    except (TimeoutError, ProviderError) as error:
        seen = str(error) or f"no answer within {ASK_TIMEOUT_S:g} s"
        advice = (
            "Orders go on without it; a quota that is used up then shows when the first of them is refused."
        )
        return Finding(check, Level.WARN, seen, advice)
    if left <= 0:
        advice = "Have the account's quota refilled: purchases are held until then, and go on by themselves."
        return Finding(check, Level.WARN, "no stamp is left to buy", advice)
    return Finding(check, Level.OK, f"{left:,} stamps left")


async def _ask(check: str, url: str, advice: str) -> list[Finding]:
    """Whether something speaks HTTP there, and what time it has. Any status will do: nothing is asked for."""
    parts = urlsplit(url)
    root = f"{parts.scheme}://{parts.netloc}/"
    shown = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    try:
        async with httpx.AsyncClient(timeout=ASK_TIMEOUT_S, trust_env=False) as client:
            before = time.time()
            answer = await client.head(root)
            ours = (before + time.time()) / 2
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return [Finding(check, Level.FAIL, f"{shown}: {str(error) or type(error).__name__}", advice)]
    findings = [Finding(check, Level.OK, f"{shown} answers")]
    try:
        # Half a second is what a whole second's rounding costs on average.
        theirs = parsedate_to_datetime(answer.headers["date"]).timestamp() + 0.5
    except (KeyError, ValueError):
        return findings
    return [*findings, judge_clock(f"clock against {check}", theirs - ours)]


async def check_document_store(url: str) -> Finding:
    """Write a small object and delete it again; a folder that is not there is not made. `url`: `file://…` or `s3://…`."""
    advice = "Check ANTREAN_DOCUMENT_STORE, its rights and its credentials."
    folder = _local_store(url)
    if folder and (absent := _absent(folder)):
        return absent
    try:
        async with asyncio.timeout(ASK_TIMEOUT_S):
            await DocumentStore.from_url(url).check_writable()
    except TimeoutError:
        return Finding("document store", Level.FAIL, f"no answer within {ASK_TIMEOUT_S:g} s", advice)
    except DocumentStoreUnavailable as error:
        why = str(error.__cause__).splitlines()[0][:200] if str(error.__cause__) else "no reason given"
        if folder and (number := _OS_ERROR.search(why)):
            advice = MENDED_IN_PLACE.get(int(number[1]), advice)
            why = f"{why}, in {folder}"
        return Finding("document store", Level.FAIL, f"{error}: {_USER_INFO.sub('//', why)}", advice)
    return Finding("document store", Level.OK, "written and deleted a probe")


def _absent(folder: Path) -> Finding | None:
    if _is_seen(folder):
        return None
    check, seen = "document store", f"{folder} is not there"
    above = _nearest_there(folder)
    if above.is_dir() and not os.access(above, os.X_OK):
        advice = f"Ask as the user who owns {above}."
        return Finding(check, Level.FAIL, f"this user may not look for {folder}", advice)
    if not (above.is_dir() and os.access(above, os.W_OK)):
        advice = f"Give this user the right to write in {above}, or set ANTREAN_DOCUMENT_STORE."
        return Finding(check, Level.FAIL, seen, advice)
    advice = (
        "The first start makes it. Where orders were accepted before, mount it, or correct ANTREAN_DATA_DIR."
    )
    return Finding(check, Level.WARN, seen, advice)


def _nearest_there(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if _is_seen(place))


def _is_seen(place: Path) -> bool:
    """Whether it is there; False as well where this user may not look."""
    return os.path.exists(place)  # noqa: PTH110 - `Path.exists` raises then, or not, as the Python's release has it


def _folders(settings: Settings) -> list[Finding]:
    findings = []
    disks: set[int] = set()
    data = None if settings.redis_url else settings.data_dir.resolve()
    for folder, without in (
        (data, "Valkey stops when it can not write"),
        (_local_store(settings.effective_document_store), "no paper is taken in or stamped without it"),
    ):
        if folder and (disk := _nearest_there(folder).stat().st_dev) not in disks:
            disks.add(disk)
            findings.append(judge_disk(folder, without))
    if settings.upstream_adapter_url:
        findings.append(_shared(settings.effective_shared_dir))
    return findings


def _shared(shared: Path) -> Finding:
    """Whether papers can be handed to the adapter: workers write into two of the folders, and tidy all three."""
    check = "adapter's folder"
    missing, unremoved = [], ""
    for name in ("UNSIGNED", "SIGNED", "STAMP"):
        try:
            with tempfile.NamedTemporaryFile(dir=shared / name, prefix=".antrean-") as probe:
                probe.write(bytes(PROBE_BYTES))
                probe.flush()
        except FileNotFoundError:
            missing.append(name)
        except OSError as error:
            if name == "SIGNED" and error.errno == errno.EACCES:
                unremoved = name
                continue
            seen = f"{shared / name} can not be written ({error.strerror}): nothing is stamped"
            advice = "Give this user the right to write there, or set ANTREAN_ADAPTER_SHARED_DIR."
            return Finding(check, Level.FAIL, seen, MENDED_IN_PLACE.get(error.errno or 0, advice))
    if unremoved:
        seen = f"{shared / unremoved} can not be written: papers are stamped, and what the adapter signed stays there"
        return Finding(check, Level.WARN, seen, "Give this user the right to delete there.")
    if missing:
        advice = "Mount the adapter's folder there, or set ANTREAN_ADAPTER_SHARED_DIR."
        return Finding(check, Level.WARN, f"{', '.join(missing)} missing in {shared}", advice)
    return Finding(check, Level.OK, f"{shared}: wrote and removed a probe")


def judge_disk(folder: Path, without: str) -> Finding:
    """Free space where a folder is or would be made. `without`: what happens when there is none."""
    free_bytes = shutil.disk_usage(_nearest_there(folder)).free
    seen = f"{free_bytes / 1024**3:.1f} GiB free at {folder}"
    if free_bytes < DISK_FAIL_BYTES:
        return Finding("disk", Level.FAIL, seen, f"Free space now: {without}.")
    if free_bytes < DISK_WARN_BYTES:
        return Finding("disk", Level.WARN, seen, "Free space before it is used up.")
    return Finding("disk", Level.OK, seen)
