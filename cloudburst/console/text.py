"""Text that rich shows as it is."""

from __future__ import annotations


def safe(text: str) -> str:
    """Take brackets for brackets, not for markup."""
    return text.replace("[", r"\[")
