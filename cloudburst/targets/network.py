"""Whether an error message is of a network that failed. Pure.

Messages of a provider carry a code; where the network fails, only text says so.
"""

from __future__ import annotations

import re

# Words of Go's and Python's HTTP clients, of gRPC, and of terraform's retries.
_FAILED = re.compile(
    r"(?i)timeout|timed out|deadline exceeded|connection (reset|refused|closed)|send failed|"
    r"broken pipe|\bEOF\b|no such host|max(imum)? number of attempts|could not connect|"
    r"connection was closed|code = Unavailable|network is unreachable"
)


def has_failed(message: str) -> bool:
    """Whether a message is about a connection that broke off or could not be made."""
    return _FAILED.search(message) is not None
