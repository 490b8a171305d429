"""Every Redis key of the domain, named once. Python uses the functions, the Lua scripts get the same names.

Keys that end in ":" take one more part. The provider's own keys (breaker, limiter, token) begin with `PROVIDER`.
"""

from __future__ import annotations

ROOT = "an:"

LAYOUT = ROOT + "layout"  # string: the newest layout of any record, where it is not the first
ORDER = ROOT + "order:"  # + order id → hash, the truth about one order
# + 12 bytes of a digest of office and key → 16 bytes, the order's id packed, and 8 of the body's fingerprint; kept
# 60 days. No byte longer, so that Valkey holds key, time and value in one block.
IDEMPOTENCY = ROOT + "i:"
# Of layout 1: + office:digest → "<order id> <fingerprint>". The last one ends 60 days after the last process of it.
IDEMPOTENCY_BEFORE = ROOT + "idem:"
PICTURE = ROOT + "qr:"  # + SN → PNG, until its order goes to the archive
DOCUMENT_STORE = ROOT + "docstore"  # hash: id and URL of the folder that documents are kept in
DOCUMENT_STORE_HELD = ROOT + "docstore-held"  # its id, while a gateway that keeps documents there is at work
DOCUMENT_STORE_HELD_MS = 30_000  # three looks of a gateway that nobody visits
DOCUMENT = ROOT + "doc:"  # + document id → hash: office, pages, bytes, sha256, sizes
TICKETS = ROOT + "tickets"  # hash: ticket token → order id
TICKET_DAY = ROOT + "ticketday:"  # + office:YYYYMMDD → counter of the day's ticket numbers
SEQUENCE = ROOT + "seq"  # counter over all orders: age, independent of clocks

LANE_BUY = ROOT + "lane:buy:"  # + office → zset of orders that need an SN, by deadline then age
LANE_FETCH = ROOT + "lane:fetch"  # zset: purchases whose SN is ours but whose picture is missing
LANE_STAMP = ROOT + "lane:stamp"  # zset: affixes that have an SN and wait for their stamp
ACTIVE_OFFICES = ROOT + "offices"  # set: offices whose buy lane is not empty
OPEN_OFFICES = ROOT + "offices:open"  # set: offices with an order that is not at its end
DISPATCHED = ROOT + "dispatched"  # zset: order id by the time its job was handed to RQ
CLAIMS = ROOT + "claims"  # zset: claimed order id by the time of the claim
STAMP_LOAD = ROOT + "stampload"  # set: those dispatched or claimed that are to be stamped
TRIALS = (
    ROOT + "trials"
)  # zset: order id by when it last made a trial of a half-open breaker (ms); the latest
LATER = ROOT + "later"  # zset: order id by the time before which it is not dispatched again
WORKERS = ROOT + "workers"  # zset: worker id by its last heartbeat
#: A worker beats every half second. One that was silent for this long, in ms, counts as dead and has lost its claims.
WORKER_SILENT_MS = 6000
#: What a worker holds that was silent for this long, in ms, likely moves no more: others may take its place in flight.
WORKER_QUIET_MS = 1500
LEADER = ROOT + "leader"  # string: the worker that runs the keeper loops, with expiry
FAIRNESS = ROOT + "fairness"  # hash: deficits of offices and the ring's cursor
WEIGHTS = ROOT + "weights"  # hash: office → weight where it is not 1

UNKNOWN = ROOT + "unknown"  # zset: order id by the time since when its outcome is unknown
ATTENTION = ROOT + "attention"  # zset: order id by the time since when it waits for a person
INDEX_ALL = ROOT + "index"  # zset: order id by its number in the sequence
INDEX_OFFICE = ROOT + "index:"  # + office → the same for one office
COUNTS = ROOT + "counts"  # hash: state → how many orders; "open" → how many not at their end
COUNTS_OFFICE = (
    ROOT + "counts:"
)  # + office → the same for one office; "changes" → how often orders of it changed
DONE = ROOT + "done:"  # + number of a span (eta.py) → orders completed in it, kept for some spans

ARCHIVED = ROOT + "archived"  # string: greatest sequence number of an order that went to the archive
SERIAL_OWNER = ROOT + "sn"  # hash: SN → order that bought it, and "@<office>" once that is archived
SERIAL_USE = ROOT + "snuse"  # hash: SN → affix order that puts it on its PDF
POOL = ROOT + "pool"  # hash: SN that is ours and belongs to no order → why it is here

LEDGER = ROOT + "ledger"  # stream: one entry a movement of money, append-only; the oldest go to the archive
LEDGER_SEGMENTS = (
    ROOT + "ledger:segments"
)  # zset, all of score 0: names of the archive's segments of the ledger
LEDGER_TOTALS = ROOT + "ledger:totals"  # hash: account → rupiah
LEDGER_DAY = ROOT + "ledger:day:"  # + day number (UTC+7) → hash: office|account → rupiah
LEDGER_DAYS = (
    ROOT + "ledger:days"
)  # hash: office|day number|account → rupiah, of before each day had its own; read only

NOTICES = ROOT + "notices"  # hash: notice id → JSON, what a webhook tells; until it is sent or dropped
NOTICES_DUE = ROOT + "notices:due"  # zset: notice id by the time (ms) of its next try
NOTICES_DEAD = ROOT + "notices:dead"  # zset: notice id by the time it was given up, the newest ones
ENDPOINTS = ROOT + "endpoints"  # hash: office|host → JSON, since when every try failed there
WEBHOOK_SECRETS = ROOT + "whsecrets"  # hash: office → its webhook secrets, sealed
ERASE = ROOT + "erase"  # zset: order id by the time of its end: its personal data is still here
UPLOADS = ROOT + "uploads"  # zset: document id by the time when an upload that no order uses is forgotten
ACCESS = ROOT + "access:"  # + order id → list: who looked at personal data, the newest first
LEASE = ROOT + "lease:"  # + name of some work → who does it just now, with expiry
RING = ROOT + "ring"  # hash: key id → the digest key sealed with it; so a wrong ring is noticed, too
RING_RETIRED = ROOT + "ring:retired"  # set: ids of keys with which nothing is sealed again
RING_SEEN = ROOT + "ring:seen"  # hash: key id → when (ms) a gateway last said that it seals with it
#: A gateway says so every ten seconds at least. After this much silence, in ms, no gateway with that key is alive.
RING_SILENT_MS = 20_000
PROMISES = ROOT + "promises"  # hash: order id → JSON of the range of times it was given
PROMISES_KEPT = ROOT + "promises:kept"  # hash: how promises turned out → how many
COURSE = (
    ROOT + "course"
)  # hash: since when the line is watched (ms), and since when it stands still, if it does
COURSE_STOPS = ROOT + "course:stops"  # list: "<start> <end>" (ms) of the line's last stops, the newest first
COURSE_CAME = ROOT + "course:came"  # list: "<ms> <orders accepted until then>", the newest first
PROMISE_RATIOS = ROOT + "promises:ratios"  # list: real wait by promised middle, the newest first

HOLDS = ROOT + "holds"  # hash: reason → JSON {since, text, actor}
QUOTA_TRIAL = (
    ROOT + "quota-trial"
)  # string: the order that may be bought although the quota is said to be used up
BALANCE = ROOT + "balance"  # hash: value, at (ms), base (bought when it was read), bought: SNs bought so far
CALLS = (
    ROOT + "calls"
)  # hash: upstream calls of all workers, "<call>|n|<outcome>", "|le|<seconds>", "|ms|" → count
EVENTS = ROOT + "events"  # pub/sub channel: "<order id> <version> <state>"
API_KEYS = ROOT + "keys"  # hash: key id → JSON record with the hash of the secret
API_KEYS_USED = ROOT + "keys:used"  # hash: key id → time (ms) of its last use
SESSION = ROOT + "session:"  # + digest of a session cookie → "<digest of its key> <end in ms>"
PROVIDER = ROOT + "up:"  # prefix of the provider room's own keys

RQ_QUEUE = "antrean"  # name of the RQ queue


def lua_names() -> dict[str, str]:
    """The names as the scripts write them (`K.ORDER`), and what stands for each."""
    names = {name: value for name, value in globals().items() if name.isupper() and isinstance(value, str)}
    return {f"K.{name}": f'"{value}"' for name, value in names.items()}
