"""What to do about each problem. Shown on the page that a problem's `type` leads to, and in docs/problems.md."""

from __future__ import annotations

_SAME_KEY = "Nothing is lost: send it again after Retry-After with the same Idempotency-Key."
_RESAVE = "Print or save the paper to a new PDF and upload that."

#: Problem name → words for whoever has it before them.
ADVICE: dict[str, str] = {
    "bad-request": "The request breaks HTTP, its form or its length. Look at what your client sends; a repetition "
    "of the same bytes ends the same.",
    "broken-json": "Send one JSON value in UTF-8, without a comma too many and without NaN.",
    "idempotency-key": "Make a new random key for each order before you send it (a UUID will do), keep it with the "
    "order, and send it in the header; in a batch as idempotency_key of each row.",
    "unauthorized": "Send `Authorization: Bearer <key>`. Where the key was right before, it was revoked or has "
    "expired: ask ops for a new one.",
    "forbidden": "The key is good but has another role or office. Use the one that is meant for this.",
    "not-our-page": "A browser's session changes something only with the header `X-Antrean-Page: 1`, which other "
    "sites can not send. A program sends its key in the Authorization header instead.",
    "not-found": "Look at the id: it is complete, of your own office, and from this server. Another office's order "
    "looks just like one that does not exist.",
    "not-available-yet": "Wait until the order is completed (GET with wait, or its events) and fetch it then.",
    "method-not-allowed": "The Allow header says which methods this path knows.",
    "timeout": "The body came too slowly and was cut off. Look at the line, then send it again; an order with the "
    "same Idempotency-Key.",
    "not-cancellable": "The stamp is being bought, was bought, may be on the paper already, or the order is at its "
    "end. Let it go on, or hand it to ops.",
    "not-replayable": "Only an order in attention can be put back, and only with a decision that "
    "GET /v1/ops/attention lists for it. Read the order again.",
    "not-refundable": "Only an order that came to nothing can be refunded, and only once. The ledger shows where its "
    "money is.",
    "not-erasable": "Personal data is needed until the order is completed, rejected or cancelled. Cancel it, or wait.",
    "pool-empty": "No serial number is left over to go on with. Decide `auto`, or refund the order.",
    "key-in-use": "A key does not revoke itself. Use another ops key, or rotate this one and revoke it with its "
    "successor.",
    "key-ended": "A key that was revoked or has expired has no successor. Make a new key.",
    "key-fixed": "A bootstrap key is not ended over HTTP, so that nobody with a stolen key can shut the others out. "
    "Run `antrean keys revoke` on the machine and take it out of the settings.",
    "purchase-not-completed": "Wait until the purchase is completed, then submit the affix with a new "
    "Idempotency-Key. One that was refused or cancelled never will be: submit the affix without it.",
    "serial-in-use": "Another order stamps with this serial number, or did. Look that order up before you buy anew.",
    "erased": "The time for which documents and personal data are kept is over, or they were erased on request. The "
    "order still shows its serial number and its history.",
    "body-too-large": "Send less: the detail says how much is taken. Split a batch; save a PDF with smaller pictures.",
    "unsupported-media-type": "Set Content-Type to what the detail names.",
    "validation": "`errors` names each field and the rule it breaks. Correct them and send it again; nothing was "
    "accepted.",
    "idempotency-key-reused": "This key belongs to an order with another content. Read that order; for a new one "
    "make a new key.",
    "document-not-found": "Upload the PDF again with a key of the same office, and use the id from the answer.",
    "purchase-not-found": "Look at purchase_order_id: it names a purchase of your own office.",
    "serial-not-found": "This serial number was bought by another office, or lies in the pool. Look it up in the "
    "order that it is to come from.",
    "pdf-not-a-pdf": "Upload the PDF itself, not a picture, an archive or an office document.",
    "pdf-encrypted": "Remove the password or the restrictions, an empty password too. " + _RESAVE,
    "pdf-damaged": "The file was cut off or is broken, and is not repaired on the quiet. " + _RESAVE,
    "pdf-without-pages": "There is nothing to stamp. Upload the paper itself.",
    "pdf-too-many-pages": "Split the paper: the detail says how many pages are taken.",
    "pdf-page-size": "A page is smaller or larger than any paper. " + _RESAVE,
    "pdf-active-content": "Scripts, program starts, forms of the XFA kind and attached files are not stamped. "
    + _RESAVE,
    "pdf-too-complex": "Checking it took more time or memory than is given to one PDF. " + _RESAVE,
    "too-many-requests": "Wait as long as Retry-After says. Use `wait` or the events in place of asking often; after "
    "wrong keys, look at the key.",
    "office-backlog-full": "The office has as many open orders as it may. Wait until some are done, or ask ops for "
    "more. " + _SAME_KEY,
    "internal-error": "Tell ops the request_id: the error is in the log under it. An order may have been accepted, "
    "so repeat it with the same Idempotency-Key only.",
    "unavailable": "A part of the server does not answer just now. Whether an order was accepted is not known. "
    + _SAME_KEY,
    "not-ready": "Orders could not be kept safely just now, so none is taken. Ops: `antrean doctor` says why. "
    + _SAME_KEY,
    "backlog-full": "The queue holds as many orders as it may. " + _SAME_KEY,
}
