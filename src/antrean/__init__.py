"""Antrean: a durable queue between stamp counters and the upstream stamp server."""

__version__ = "0.1.0"
