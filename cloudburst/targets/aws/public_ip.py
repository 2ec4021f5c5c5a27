"""This machine's public address, as AWS's own service sees it."""

from __future__ import annotations

import http.client
import ipaddress
import os
import urllib.error
import urllib.request

from cloudburst.errors import InfrastructureError

CHECKIP = "https://checkip.amazonaws.com"
TIMEOUT = 10.0


def public_address() -> str:
    """Ask for it; give it as a CIDR block of one address, such as ``203.0.113.7/32``.

    ``CLOUDBURST_CHECKIP_URL`` names another service that answers with the bare address.

    Raises:
        InfrastructureError: it could not be asked, or the answer is no IPv4 address.
    """
    url = os.environ.get("CLOUDBURST_CHECKIP_URL") or CHECKIP
    todo = "give it as aws.ingress: ADDRESS/32 in scenes.yaml"
    try:
        # Workers are reached without a proxy: so is this, or it would be the proxy's address.
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(url, timeout=TIMEOUT) as answer:
            text = answer.read(100).decode("ascii", "replace").strip()
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise InfrastructureError(
            f"this machine's public address: {url} cannot be asked ({reason}); {todo}"
        ) from error
    try:
        return f"{ipaddress.IPv4Address(text)}/32"
    except ValueError:
        raise InfrastructureError(
            f"this machine's public address: {url} answered {text!r}, no IPv4 address; {todo}"
        ) from None
