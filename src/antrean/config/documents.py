"""Builds what a worker needs of documents: the store, and the check of stamped PDFs."""

from __future__ import annotations

from antrean.config.settings import Settings
from antrean.orders.documents import DocumentStore
from antrean.orders.pdf import PdfChecker


def build_documents(settings: Settings) -> DocumentStore:
    """The object store of these settings. Raises DocumentStoreUnavailable."""
    return DocumentStore.from_url(settings.effective_document_store)


def build_checker(settings: Settings) -> PdfChecker:
    """Checks PDFs in bounded processes."""
    return PdfChecker(pages_max=settings.document_pages_max)
