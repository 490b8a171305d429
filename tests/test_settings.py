"""Settings that break a rule are refused by name, and what they hold is told to nobody."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from pydantic import ValidationError

from antrean.config.settings import Settings

Make = Callable[..., Settings]


@pytest.mark.parametrize(
    "url",
    [
        "redis://:geheim99/x@127.0.0.1:6379/0",
        "redis://:geheim#x@127.0.0.1:6379/0",
        "redis://geheim:12345/x@127.0.0.1:6379/0",
        "rediss://127.0.0.1:6379/geheim",
        "redis://127.0.0.1:geheim",
        "redis://127.0.0.1:99999/0",
        "redis://[::1/0",
        "redis://geheim:12345#x@127.0.0.1:6379/0",
        "redis://geheim:12345?x@127.0.0.1:6379/0",
        "redis://:ge,heim#x@127.0.0.1:6379/0",
        "redis://127.0.0.1:6379/0?socket_timeout=geheim",
        "unix:///x?db=geheim",
        "redis+sentinel://:geheim/x@s1:26379,s2:26379/antrean",
        "redis+sentinel://:geheim#x@s1:26379,s2:26379/antrean",
        "redis+sentinel://:12345?geheim@s1:26379/antrean",
        "redis+sentinel://:12345/geheim@s1:26379,s2:26379/antrean",
        "redis+sentinel://:x@s1:geheim/antrean",
        "rediss+sentinel://:geheim@s1:26379/",
    ],
)
def test_a_redis_url_that_can_not_be_read_is_refused_without_what_may_be_its_password(
    make_settings: Make, url: str
) -> None:
    with pytest.raises(ValidationError, match="can not be read") as refused:
        make_settings(redis_url=url)
    (fault,) = refused.value.errors(include_url=False, include_input=False, include_context=False)
    assert fault["loc"] == ("redis_url",)
    assert "geheim" not in fault["msg"]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "redis://127.0.0.1",
        "redis://127.0.0.1:6379/0/",
        "redis://:p%2Fw%23@[::1]:6379/",
        "rediss://valkey.example:6380/15?ssl_cert_reqs=none",
        "unix:///run/valkey/valkey.sock?db=1",
        "redis+sentinel://:p@one:26379,two:26379/antrean/0",
        "redis+sentinel://u:p%2Fw@s1:26379,s2,[::1]:26379/antrean/0?sentinel_password=x",
        "rediss+sentinel://s1:26379/antrean",
        "unix:///run/valkey.sock?db=1",
        "rediss://:pw@127.0.0.1:6379/0?ssl_cert_reqs=none",
        "redis://127.0.0.1:6379/0?protocol=2&socket_timeout=3",
    ],
)
def test_a_redis_url_of_each_form_is_taken(make_settings: Make, url: str) -> None:
    assert make_settings(redis_url=url).redis_url == url


def test_an_upstream_s_port_is_a_number(make_settings: Make) -> None:
    with pytest.raises(ValidationError, match="upstream_backend_url"):
        make_settings(upstream_backend_url="http://127.0.0.1:1x")


def test_a_first_key_has_one_role(make_settings: Make) -> None:
    with pytest.raises(ValidationError, match="a key has one role"):
        make_settings(bootstrap_terminal_key="k" * 32, bootstrap_ops_key="k" * 32)
    make_settings(bootstrap_terminal_key="k" * 32, bootstrap_ops_key="o" * 32)


@pytest.mark.parametrize(
    ("parts", "needed"),
    [
        (("backend",), {"backend", "stampv2", "adapter"}),
        (("fileupload", "stampservice"), {"backend", "stampv2", "fileupload", "stampservice"}),
        (("fileupload", "stampservice", "adapter"), {"backend", "stampv2", "adapter"}),
        (("stampservice",), {"backend", "stampv2", "adapter"}),
    ],
)
def test_what_an_upstream_needs_is_known(
    make_settings: Make, parts: tuple[str, ...], needed: set[str]
) -> None:
    urls = {f"upstream_{part}_url": f"http://{part}.example" for part in parts}
    settings = make_settings(**urls)
    assert settings.upstream_urls.keys() == needed
    assert {part for part, url in settings.upstream_urls.items() if url} == needed & set(parts)


@pytest.mark.parametrize("seconds", [0, 1e-9, 86_401, 1e12, float("nan")])
def test_a_wait_that_is_of_no_use_is_refused(make_settings: Make, seconds: float) -> None:
    with pytest.raises(ValidationError):
        make_settings(probe_interval_s=seconds)


def test_download_urls_are_a_list_of_hosts_without_users(make_settings: Make) -> None:
    made = make_settings(upstream_download_urls=" https://a.test , ,http://b.test:81/x")
    assert made.upstream_download_urls == "https://a.test,http://b.test:81/x"
    secret = "geheim"
    for wrong in ("ftp://a.test", "a.test", f"https://a.test,https://u:{secret}@b.test"):
        with pytest.raises(ValidationError) as refused:
            make_settings(upstream_download_urls=wrong)
        assert secret not in str(refused.value)
