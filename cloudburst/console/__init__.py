"""What people and machines are shown. The only package that imports rich."""

from cloudburst.console.audit import show_audit, show_choice, show_cleaned, show_step
from cloudburst.console.history import show_cost, show_history, show_ps, show_run
from cloudburst.console.lines import show_line
from cloudburst.console.live import JsonLines, LiveLines, Plain, Silent, watcher
from cloudburst.console.offers import show_offers
from cloudburst.console.preview import show_preview
from cloudburst.console.report import (
    show_check,
    show_error,
    show_failures,
    show_hint,
    show_interruption,
    show_note,
    show_report,
)
from cloudburst.console.scan import show_scan, show_warnings

__all__ = [
    "JsonLines",
    "LiveLines",
    "Plain",
    "Silent",
    "show_audit",
    "show_check",
    "show_choice",
    "show_cleaned",
    "show_cost",
    "show_error",
    "show_failures",
    "show_hint",
    "show_history",
    "show_interruption",
    "show_line",
    "show_note",
    "show_offers",
    "show_preview",
    "show_ps",
    "show_report",
    "show_run",
    "show_scan",
    "show_step",
    "show_warnings",
    "watcher",
]
