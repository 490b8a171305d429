"""Faults in what keeps one serial number to one paper, and in what tells a counter's page of changes, for `run.py`."""

from __future__ import annotations

SUITES = (("tests/test_serials.py", "tests/test_gateway_list_tag.py"),)

#: Name, file under src/antrean, what is there, what becomes of it.
FAULTS = (
    (
        "a refusal sets a serial number free that may stand on a paper",
        "orders/fulfil.py",
        "ended = order.serial_given and turn.sent and not order.stamped_perhaps",
        "ended = order.serial_given and turn.sent",
    ),
    (
        "a worker that died while it stamped is taken for one that did not",
        "orders/lua/sweep.lua",
        "if o.state == S.STAMPING then set.perhaps = '1' end",
        "",
    ),
    (
        "a lost answer of the adapter is not noted",
        "orders/lua/release.lua",
        "if o.state == S.STAMPING and perhaps == '1' then set.perhaps = '1' end",
        "",
    ),
    (
        "a counter withdraws what may be stamped",
        "orders/lua/cancel.lua",
        "local ops_decide = o.state == S.ATTENTION and by_ops == '1'",
        "local ops_decide = o.state == S.ATTENTION",
    ),
    (
        "a change of an order leaves the tag of its office's list",
        "orders/lua/_common.lua",
        "redis.call('HINCRBY', K.COUNTS_OFFICE .. o.office, 'changes', 1)",
        "",
    ),
    (
        "a tag holds for another office",
        "gateway/list_tag.py",
        "        office,\n        changes,",
        "        changes,",
    ),
    (
        "a tag says nothing of what holds orders back",
        "gateway/list_tag.py",
        "        outlook.stops,\n        span_s,",
        "        span_s,",
    ),
    ("a tag holds for another role", "gateway/list_tag.py", "        principal.role,\n", ""),
)
