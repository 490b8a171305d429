"""Builds what a worker needs of documents: the store, and the check of stamped PDFs."""

from __future__ import annotations

from redis.asyncio import Redis

from antrean.config.settings import Settings
from antrean.orders.documents import DocumentStore
from antrean.orders.pdf import PdfChecker
from antrean.orders.store_mark import StoreMark


def build_documents(settings: Settings, redis: Redis) -> DocumentStore:
    """The object store of these settings. Raises DocumentStoreUnavailable."""
    url = settings.effective_document_store
    return DocumentStore.from_url(url, StoreMark(redis, url))


def build_checker(settings: Settings) -> PdfChecker:
    """Checks PDFs in bounded processes."""
    return PdfChecker(pages_max=settings.document_pages_max)
