"""Settings that break a rule are refused by name, and what they hold is told to nobody."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

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
        "redis://127.0.0.1:6379/0?geheim=1",
        "redis://127.0.0.1:6379/0?ssl_cert_reqs=none",
        "rediss://127.0.0.1:6379/0?ssl_cert_reqs=geheim",
        "rediss://127.0.0.1:6379/0?ssl_ca_certs=/geheim.pem",
        "redis+sentinel://s1:26379/antrean?geheim=1",
        "redis+sentinel://s1:26379/antrean?ssl_cert_reqs=none",
        "rediss+sentinel://s1:26379/antrean?ssl_ca_certs=/geheim.pem",
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
        "rediss+sentinel://s1:26379/antrean?sentinel_password=x&ssl_check_hostname=false&ssl_cert_reqs=none",
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


BASE_URLS = [
    *(f"upstream_{part}_url" for part in ("backend", "stampv2", "inventory", "adapter")),
    *("upstream_fileupload_url", "upstream_stampservice_url", "upstream_download_urls"),
    *("public_url", "otel_endpoint"),
]


@pytest.mark.parametrize("name", BASE_URLS)
@pytest.mark.parametrize(
    "url",
    [
        "http:///geheim",
        "http://:80/geheim",
        "http://geheim h",
        "http://geheim\n.test",
        "http://h.test/\tp",
        "http://h.test?q=geheim",
        "http://h.test?",
        "http://h.test/p#geheim",
        "http://h.test:0",
    ],
)
def test_a_url_that_no_path_can_follow_is_refused_without_its_value(
    make_settings: Make, name: str, url: str
) -> None:
    with pytest.raises(ValidationError, match="must name a host") as refused:
        make_settings(**{name: url})
    (fault,) = refused.value.errors(include_url=False, include_input=False, include_context=False)
    assert fault["loc"] == (name,)
    assert "geheim" not in str(refused.value)


@pytest.mark.parametrize("name", BASE_URLS)
@pytest.mark.parametrize(
    "url", ["", "http://h.test", "https://h.test/", "HTTP://h_1:81/p/q/", "http://u:p%23w@[::1]:8080/p"]
)
def test_a_url_that_a_path_can_follow_is_taken(make_settings: Make, name: str, url: str) -> None:
    if not (name == "upstream_download_urls" and "@" in url):  # these name no user
        assert getattr(make_settings(**{name: url}), name) == url


@pytest.mark.parametrize(
    ("name", "most"),
    [
        ("redis_replicas_min", 1000),
        ("breaker_min_calls", 1_000_000_000),
        ("unknown_settle_s", 604_800),
        ("document_bytes_max", 1024**3),
        ("document_pages_max", 1_000_000),
        ("key_rate_per_s", 1_000_000_000),
        ("office_backlog_max", 1_000_000_000),
        ("backlog_max", 1_000_000_000),
        ("personal_retention_days", 36_500),
        ("archive_after_s", 36_500 * 86_400),
    ],
)
def test_a_number_beyond_its_bound_is_refused_and_the_bound_is_told(
    make_settings: Make, name: str, most: int
) -> None:
    assert getattr(make_settings(**{name: most}), name) == most
    for beyond in (most + 1, 99999999999999999999):
        with pytest.raises(ValidationError, match=f"less than or equal to {most}"):
            make_settings(**{name: beyond})


def test_a_key_s_rate_that_would_ask_it_to_wait_for_years_is_refused(make_settings: Make) -> None:
    assert make_settings(key_rate_per_s=0.001).key_rate_per_s == 0.001
    with pytest.raises(ValidationError, match=r"greater than or equal to 0\.001"):
        make_settings(key_rate_per_s=1e-300)


def test_every_number_has_a_least_and_a_most() -> None:
    for name, field in Settings.model_fields.items():
        if field.annotation in (int, float):
            rules = {
                rule for each in field.metadata for rule in ("ge", "gt", "le", "lt") if hasattr(each, rule)
            }
            assert len(rules) == 2, name


@pytest.mark.parametrize("name", ["bootstrap_terminal_key", "bootstrap_ops_key"])
@pytest.mark.parametrize("key", [" " * 40, "geheim" * 8 + "\n", "\t" + "geheim" * 8, " geheim"])
def test_a_first_key_that_no_header_carries_is_refused_without_being_shown(
    make_settings: Make, name: str, key: str
) -> None:
    with pytest.raises(ValidationError, match="begins or ends with white space") as refused:
        make_settings(**{name: key})
    assert "geheim" not in str(refused.value)
    kept = make_settings(**{name: "any text, of 32 characters or more"})
    assert getattr(kept, name) == SecretStr("any text, of 32 characters or more")


def test_a_path_may_begin_with_the_home_folder(make_settings: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/siti")
    made = make_settings(data_dir="~/antrean", adapter_shared_dir="~/share")
    assert made.data_dir == Path("/home/siti/antrean")
    assert made.effective_shared_dir == Path("/home/siti/share")
    with pytest.raises(ValidationError, match="no user of that name"):
        make_settings(data_dir="~no-such-user/x")


def test_a_mark_at_the_begin_of_the_file_hides_no_setting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("ANTREAN_HTTP_PORT=24407\n", encoding="utf-8-sig")
    monkeypatch.chdir(tmp_path)
    assert Settings().http_port == 24407


def test_quotes_in_the_file_do_what_the_page_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parent.parent / "docs" / "settings.md").read_text()
    rows = re.findall(r"^\| `(ANTREAN_UPSTREAM_PASSWORD=.*)` \| `(.*)` \|$", page, re.MULTILINE)
    assert len(rows) == 6
    monkeypatch.chdir(tmp_path)
    for line, value in rows:
        (tmp_path / ".env").write_text(line + "\n")
        assert Settings().upstream_password.get_secret_value() == value, line


@pytest.mark.parametrize(
    "url",
    [
        "file://data/documents",
        "file://documents",
        "file://localhost",
        "file:///srv/documents ",
        "file:///srv/documents#1",
        "file:///srv/documents?x=1",
    ],
)
def test_a_document_folder_that_would_be_taken_for_another_is_refused(make_settings: Make, url: str) -> None:
    with pytest.raises(ValidationError, match="a whole path behind three slashes"):
        make_settings(document_store=url)


def test_a_document_folder_is_one_however_its_scheme_is_written(make_settings: Make) -> None:
    for url in ("FILE:///srv/a%20b/c", "file:///srv/a%20b/c", "file:////srv//a%20b/c"):
        assert make_settings(document_store=url).document_store == "file:///srv/a%20b/c"
    assert make_settings(document_store="file://localhost/srv").document_store == "file://localhost/srv"
    assert make_settings(document_store="S3://bucket/folder").document_store == "s3://bucket/folder"


def test_the_environment_counts_for_more_than_the_file_also_where_it_says_empty(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text(
        "ANTREAN_UPSTREAM_BACKEND_URL=https://real\nANTREAN_WORKERS=2\nANTREAN_HTTP_PORT=81\nANTREAN_LOG_LEVEL=\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ANTREAN_UPSTREAM_BACKEND_URL", "")
    monkeypatch.setenv("ANTREAN_WORKERS", "3")
    found = Settings()
    assert found.uses_simulator
    assert (found.workers, found.http_port, found.log_level) == (3, 81, "INFO")
