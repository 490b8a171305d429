"""Faults in what guards personal data and webhooks, for `run.py`."""

from __future__ import annotations

SUITES = (
    ("tests/test_vault.py", "tests/test_outbound.py"),
    ("tests/test_webhooks.py", "tests/test_webhook_addresses.py", "tests/test_privacy.py"),
)

#: Name, file under src/antrean, what is there, what becomes of it.
FAULTS = (
    (
        "a webhook may go anywhere",
        "workers/outbound.py",
        "if not self._allow_private and not all(is_public(address) for address in addresses):",
        "if False:",
    ),
    (
        "the name is connected to in place of the address that was checked",
        "workers/outbound.py",
        'target = parts._replace(netloc=f"{shown}:{port}", fragment="").geturl()',
        "target = url",
    ),
    (
        "TLS does not ask for the name",
        "workers/outbound.py",
        'extensions={"sni_hostname": host.removesuffix(".")}',
        "extensions={}",
    ),
    ("a redirect is followed", "workers/outbound.py", "follow_redirects=False", "follow_redirects=True"),
    (
        "two senders may have one notice",
        "orders/lua/notices_take.lua",
        "redis.call('ZADD', K.NOTICES_DUE, int(NOW + tonumber(lease)), id)",
        "local _ = 1",
    ),
    (
        "a dead address is never disabled",
        "orders/lua/notice_settle.lua",
        "if not e.disabled and NOW - e.since >= tonumber(disable_ms) then",
        "if false then",
    ),
    (
        "what is sealed is not bound to its order",
        "orders/vault.py",
        "encrypt(nonce, plain, context.encode())",
        "encrypt(nonce, plain, b'')",
    ),
    (
        "names are kept in clear beside what is sealed",
        "orders/submitting.py",
        "body_json(new, masked)",
        "body_json(new, new.taxpayer)",
    ),
    (
        "a digest needs no key",
        "orders/vault.py",
        "        keyed = self._digest.copy()\n",
        '        keyed = hmac.HMAC(b"", hashes.SHA256())\n',
    ),
    (
        "an order is sealed with a key that was retired",
        "orders/lua/submit.lua",
        "if not key_noted(pii, mark) then return {CODE.RETIRED} end\n",
        "",
    ),
    (
        "a key is retired while a gateway seals with it",
        "orders/lua/ring_retire.lua",
        "if latest then return",
        "if false then return",
    ),
    (
        "an upload is deleted under an order that needs it",
        "orders/lua/let_go.lua",
        " and redis.call('HSETNX', noted, field, '1') == 1",
        "",
    ),
    (
        "an order is erased before its end",
        "orders/erasure.py",
        "        if not order.terminal:\n",
        "        if False:\n",
    ),
    (
        "a look at a number is not noted",
        "gateway/routes_orders.py",
        '        services.access_log.note(principal, order.id, "identity")\n',
        "",
    ),
)
