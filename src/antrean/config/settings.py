"""Every setting of Antrean, typed, with unit and default, read once from `ANTREAN_…` variables or `.env`."""

from __future__ import annotations

import functools
import hashlib
import os
import re
from pathlib import Path
from typing import Annotated
from urllib.parse import quote, urlsplit

from pydantic import Field, SecretStr, ValidationInfo, field_validator
from pydantic_settings import (
    BaseSettings,
    DotEnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from antrean.config.urls import SENTINEL_SCHEMES, url_parts
from antrean.orders.vault import parse_ring

#: Longest path of a unix socket we use, in bytes; Linux takes 107 and a closing zero.
SOCKET_PATH_BYTES_MAX = 100
_UNREADABLE = (
    "its host, its port or what follows can not be read; "
    "in a password write %2F for /, %23 for #, %3F for ?, %40 for @"
)

#: A wait: nothing here is of use for longer than a day.
Seconds = Annotated[float, Field(ge=0.001, le=86_400)]
Rate = Annotated[float, Field(gt=0, le=1)]
#: Far above what any machine serves or keeps, and below what a server or a script still counts exactly.
COUNT_MAX = 1_000_000_000
#: Longest that anything is put off: a hundred years.
DAYS_MAX = 36_500

_NO_BASE = (
    "must name a host, and hold no port 0, no white space, no ? and no #; "
    "in a password write %23 for #, %3F for ?, %20 for a space"
)

_NO_FOLDER = (
    "must be a whole path behind three slashes (file:///srv/documents), without white space at its end; "
    "write %23 for #, %3F for ?"
)

#: What may stand behind the hosts: a database, or a service and a database.
_REDIS_PATHS = {name: re.compile(r"(?:/\d{0,5})?/?") for name in ("redis", "rediss")} | {
    name: re.compile(r"/[A-Za-z0-9._-]+(?:/\d{0,5})?/?") for name in SENTINEL_SCHEMES
}


class Settings(BaseSettings):
    """Settings of all processes. A field `foo_s` is in seconds, `foo_bytes` in bytes, `foo_max` a count."""

    model_config = SettingsConfigDict(
        env_prefix="ANTREAN_",
        env_file=".env",
        env_file_encoding="utf-8-sig",  # some editors begin a file with a mark
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        env_ignore_empty=True,
        allow_inf_nan=False,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment counts for more than `.env`, also where it says empty, which stands for the default: whoever
        empties the upstream's addresses to try something must not buy."""
        if isinstance(dotenv_settings, DotEnvSettingsSource):
            said = {name.lower() for name in os.environ}
            left = {name: value for name, value in dotenv_settings.env_vars.items() if name not in said}
            dotenv_settings.env_vars = left
        return init_settings, env_settings, dotenv_settings

    # The gateway
    http_host: str = Field("127.0.0.1", description="Address the gateway listens on.")
    http_port: int = Field(8080, ge=1, le=65535, description="Port the gateway listens on.")
    public_url: str = Field(
        "", description="Base of links in tickets and notices; empty: links are relative."
    )
    data_dir: Path = Field(Path("data"), description="Folder for Valkey's files, documents, logs and keys.")
    log_level: str = Field("INFO", description="DEBUG, INFO, WARNING or ERROR.")
    log_format: str = Field("auto", description="auto (readable in a terminal, else JSON), json or console.")

    otel_endpoint: str = Field(
        "", description="OTLP/HTTP collector for traces (extra `otel`); empty: none are written."
    )

    # Redis or Valkey
    redis_url: str = Field("", description="Redis/Valkey URL; empty: the embedded Valkey in the data dir.")
    redis_timeout_s: Seconds = Field(5, description="Longest wait for one answer of Redis, in seconds.")
    redis_replicas_min: int = Field(
        0,
        ge=0,
        le=1000,
        description="Replicas that must have an order on disk before 202 is answered (WAITAOF).",
    )

    # The upstream: its base URLs and account
    upstream_backend_url: str = Field("", description="Base URL `backend`; empty with `up`: the simulator.")
    upstream_stampv2_url: str = Field("", description="Base URL `stampv2`.")
    upstream_inventory_url: str = Field("", description="Base URL `inventory` (not called yet).")
    upstream_adapter_url: str = Field("", description="Base URL of the on-premise signing adapter.")
    upstream_fileupload_url: str = Field(
        "", description="Base URL `fileupload`; with stampservice: cloud variant."
    )
    upstream_stampservice_url: str = Field("", description="Base URL `stampservice` of the cloud variant.")
    upstream_download_urls: str = Field(
        "",
        description="Base URLs, comma-separated, of hosts that a PDF stamped in the cloud may be fetched from, beside "
        "those of `backend`, `stampv2`, `fileupload` and `stampservice`.",
    )
    upstream_user: str = Field("", description="Account at the upstream.")
    upstream_password: SecretStr = Field(SecretStr(""), description="Its password.")
    upstream_timeout_s: Seconds = Field(30, description="Longest wait for one upstream answer, in seconds.")
    upstream_concurrency_max: int = Field(
        64,
        ge=1,
        le=4096,
        description="Most upstream calls in flight, all workers together. A call that was given up is not counted "
        "any more, though its late answer is still listened for.",
    )
    adapter_concurrency_max: int = Field(4, ge=1, le=1024, description="The same for the signing adapter.")
    adapter_shared_dir: Path | None = Field(
        None, description="Our path of the folder shared with the adapter."
    )
    adapter_remote_dir: str = Field("", description="The adapter's path of that folder; empty: the same.")

    # Outage and recovery
    probe_interval_s: Seconds = Field(
        5, description="Seconds between two free probes while a breaker is open, all workers together."
    )
    breaker_window_s: Seconds = Field(30, description="Length of the breaker's window, in seconds.")
    breaker_min_calls: int = Field(
        10, ge=1, le=COUNT_MAX, description="Least calls in the window before its rates are judged."
    )
    breaker_failure_rate: Rate = Field(
        0.5, description="Share of failed calls that opens the breaker, from 0 to 1."
    )
    breaker_slow_call_s: Seconds = Field(
        20, description="A call that takes this long, in seconds, counts as slow."
    )
    breaker_slow_rate: Rate = Field(
        0.8, description="Share of slow calls that opens the breaker, from 0 to 1."
    )
    unknown_settle_s: float = Field(
        120,
        ge=0,
        le=7 * 86_400,
        description="Seconds after which a sale surely shows on the account's SN list.",
    )

    # Documents
    document_store: str = Field("", description="file://… or s3://…; empty: documents/ in the data dir.")
    document_bytes_max: int = Field(
        10 * 1024 * 1024, ge=1024, le=1024**3, description="Largest PDF accepted, in bytes."
    )
    document_pages_max: int = Field(1000, ge=1, le=1_000_000, description="Most pages of a PDF accepted.")

    # Bounds
    gateways: int = Field(
        1,
        ge=1,
        le=64,
        description="Gateway processes that `up` starts, all on the one port. Each fills at most one core.",
    )
    workers: int = Field(1, ge=1, le=64, description="Worker processes that `up` starts.")
    key_rate_per_s: float = Field(
        2000, ge=0.001, le=COUNT_MAX, description="Most requests per second with one key at one gateway."
    )
    office_backlog_max: int = Field(
        100_000, ge=1, le=COUNT_MAX, description="Most open orders of one office."
    )
    backlog_max: int = Field(
        1_000_000,
        ge=1,
        le=COUNT_MAX,
        description="Most open orders of all offices; above it 503 is answered.",
    )
    webhook_allow_private: bool = Field(
        False, description="Allow webhooks to private addresses and plain http."
    )
    pii_keys: SecretStr = Field(
        SecretStr(""),
        description="Keys that personal data is encrypted with, `id:base64` of 32 bytes, comma-separated: the first "
        "encrypts, all decrypt; empty: `personal.keys` in the data dir. Needed on more than one host.",
    )
    personal_retention_days: float = Field(
        60, gt=0, le=DAYS_MAX, description="Days from an order's end until its personal data is erased."
    )
    archive_after_s: float = Field(
        86400,
        ge=0,
        le=DAYS_MAX * 86_400,
        description="Seconds from an order's end until it moves from Redis to the archive, which is looked at "
        "every five minutes.",
    )
    drain_s: Seconds = Field(
        20, description="Longest time a process may take to stop in good order, in seconds."
    )

    # First start
    bootstrap_terminal_key: SecretStr | None = Field(
        None, description="Fixed terminal key of office DEMO-01."
    )
    bootstrap_ops_key: SecretStr | None = Field(None, description="Fixed ops key.")

    # The simulator that `up` starts where no upstream is set
    simulator_port: int = Field(0, ge=0, le=65535, description="Its port; 0: the HTTP port + 1.")

    @field_validator("data_dir", "adapter_shared_dir")
    @classmethod
    def _at_home(cls, value: Path | None) -> Path | None:
        """No shell has read `.env`, so that `~` is still to be read here."""
        try:
            return value and value.expanduser()
        except RuntimeError:
            raise ValueError("begins with ~ and no user of that name has a home here") from None

    @field_validator("bootstrap_terminal_key", "bootstrap_ops_key")
    @classmethod
    def _sendable(cls, value: SecretStr | None) -> SecretStr | None:
        if value is None:
            return None
        text = value.get_secret_value()
        if text != text.strip():
            # A header is read without the spaces around it: nobody could show such a key.
            raise ValueError("a bootstrap key neither is blank nor begins or ends with white space")
        if len(text) < 32:
            raise ValueError("a bootstrap key needs 32 characters or more")
        return value

    @field_validator("bootstrap_ops_key")
    @classmethod
    def _another_key(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if value is not None and value == info.data.get("bootstrap_terminal_key"):
            raise ValueError("must be another key than ANTREAN_BOOTSTRAP_TERMINAL_KEY: a key has one role")
        return value

    @field_validator("redis_url")
    @classmethod
    def _is_redis(cls, value: str) -> str:
        if not _url(value, "redis", "rediss", "unix", *SENTINEL_SCHEMES):
            return value
        # Not all who read settings need a client of Redis.
        from redis.asyncio.connection import parse_url

        from antrean.config.redis_options import try_options
        from antrean.config.sentinel import SentinelUrl

        try:
            several = SentinelUrl.parse(value)
            options = dict(parse_url(value)) if several is None else several.connection_options
        except ValueError:
            # What it found may be a piece of the password. Neither that nor the cause is shown.
            raise ValueError(_UNREADABLE) from None
        try_options(options)
        return value

    @field_validator("document_store")
    @classmethod
    def _is_a_store(cls, value: str) -> str:
        parts = url_parts(_url(value, "file", "s3"))
        place = value.partition("://")[2]
        if parts.scheme == "file":
            whole = parts.netloc in ("", "localhost") and parts.path.startswith("/")
            if not whole or re.search(r"[?#]|\s$", place):
                raise ValueError(_NO_FOLDER)
            place = re.sub("/+", "/", place)
        return f"{parts.scheme}://{place}" if value else value

    @field_validator(
        "upstream_backend_url",
        "upstream_stampv2_url",
        "upstream_inventory_url",
        "upstream_adapter_url",
        "upstream_fileupload_url",
        "upstream_stampservice_url",
        "public_url",
        "otel_endpoint",
    )
    @classmethod
    def _is_http(cls, value: str) -> str:
        return _base_url(value)

    @field_validator("upstream_download_urls")
    @classmethod
    def _are_http(cls, value: str) -> str:
        urls = [_base_url(url) for part in value.split(",") if (url := part.strip())]
        if any("@" in urlsplit(url).netloc for url in urls):
            raise ValueError("must name no user: what is fetched from there is asked for without one")
        return ",".join(urls)

    @field_validator("pii_keys")
    @classmethod
    def _is_a_ring(cls, value: SecretStr) -> SecretStr:
        text = value.get_secret_value()
        if text and not parse_ring(text):
            raise ValueError("holds no key")
        return value

    @property
    def embedded_socket(self) -> Path:
        """Unix socket of the embedded Valkey, the same for every process with the same data dir.

        A kernel bounds a socket's path at 108 bytes. Where the data dir's is longer, the socket stands in a
        private folder under /tmp whose name follows from the data dir; `embedded_valkey` makes it and checks
        that it is ours alone.
        """
        folder = self.data_dir.resolve() / "valkey"
        socket = folder / "valkey.sock"
        if len(os.fsencode(socket)) <= SOCKET_PATH_BYTES_MAX:
            return socket
        digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
        return Path("/tmp") / f"antrean-{os.getuid()}-{digest}" / "valkey.sock"  # noqa: S108 - see above

    @property
    def effective_redis_url(self) -> str:
        """The URL to connect to: the setting, or the embedded Valkey's socket."""
        return self.redis_url or f"unix://{quote(str(self.embedded_socket))}"

    @property
    def uses_simulator(self) -> bool:
        """Whether `up` starts the simulator: no base URL of an upstream is set."""
        return not any(
            (
                self.upstream_backend_url,
                self.upstream_stampv2_url,
                self.upstream_inventory_url,
                self.upstream_adapter_url,
                self.upstream_fileupload_url,
                self.upstream_stampservice_url,
            )
        )

    @property
    def upstream_urls(self) -> dict[str, str]:
        """Base URLs that work needs, by their part; empty where one is not set. On-premise, or else in the cloud."""
        cloud = self.upstream_fileupload_url and self.upstream_stampservice_url
        stamping = ("fileupload", "stampservice") if cloud and not self.upstream_adapter_url else ("adapter",)
        return {part: getattr(self, f"upstream_{part}_url") for part in ("backend", "stampv2", *stamping)}

    @property
    def effective_document_store(self) -> str:
        """URL of the object store for documents."""
        return self.document_store or (self.data_dir.absolute() / "documents").as_uri()

    @property
    def effective_shared_dir(self) -> Path:
        """Our path of the folder shared with the on-premise adapter."""
        return (self.adapter_shared_dir or self.data_dir / "sharefolder").absolute()

    @property
    def effective_simulator_port(self) -> int:
        """Port of the simulator that `up` starts."""
        return self.simulator_port or self.http_port + 1


@functools.cache
def load_settings() -> Settings:
    """Read the settings once a process. Raises pydantic.ValidationError with the variables at fault."""
    return Settings()


def _url(value: str, *schemes: str) -> str:
    """The value, where it is empty or a URL of one of these kinds. Raises ValueError, without the value."""
    scheme, separator, rest = value.partition("://")
    if value and not (separator and rest and scheme.lower() in schemes):
        raise ValueError(f"must be a URL: {', '.join(f'{s}://…' for s in schemes)}")
    try:
        parts = url_parts(value)
        _ = None if parts.scheme in SENTINEL_SCHEMES else parts.port  # several hosts: read by `SentinelUrl`
    except ValueError:
        # What is in the place of a port may be the end of a password. Neither it nor the cause is shown.
        raise ValueError(_UNREADABLE) from None
    path = _REDIS_PATHS.get(parts.scheme)
    if path and (parts.fragment or "@" in parts.query or not path.fullmatch(parts.path)):
        raise ValueError(_UNREADABLE)
    return value


def _base_url(value: str) -> str:
    """The value, where it is empty or what paths can be put behind. Raises ValueError, without the value."""
    parts = urlsplit(_url(value, "http", "https"))
    # `urlsplit` takes line ends out, so the value itself is looked at.
    if value and (not parts.hostname or parts.port == 0 or re.search(r"[\s\x00-\x1f\x7f?#]", value)):
        raise ValueError(_NO_BASE)
    return value
