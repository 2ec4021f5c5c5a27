"""How long a test waits: no bound on time may depend on how busy the machine is."""

from __future__ import annotations

# Seconds: what is done at once takes no longer on the busiest machine. What a test guards against
# takes longer than this, by minutes or for ever.
SOON = 60.0
