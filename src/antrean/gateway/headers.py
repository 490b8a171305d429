"""Headers that every answer carries, so that a browser does with it what is meant and nothing else."""

from __future__ import annotations

_COMMON = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Server": "antrean",
}
#: Of answers that are no pages.
API_HEADERS = _COMMON | {"Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'"}
#: Of pages: everything they use is ours, and no script or style stands in the page itself.
PAGE_HEADERS = _COMMON | {
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'self'; img-src 'self'; script-src 'self'; connect-src 'self'; "
        "font-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
}
