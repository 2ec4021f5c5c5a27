"""This machine's public address, as AWS's own service sees it."""

from __future__ import annotations

import contextlib
import http.client
import ipaddress
import os
import urllib.error
import urllib.request

from cloudburst.errors import InfrastructureError
from cloudburst.language import tr

CHECKIP = "https://checkip.amazonaws.com"
TIMEOUT = 10.0


def public_address() -> str:
    """Return it as a CIDR block of one address, such as ``203.0.113.7/32``.

    ``CLOUDBURST_CHECKIP_URL`` names another service that answers with the bare address.

    Raises:
        InfrastructureError: it could not be asked, or the answer is no IPv4 address.
    """
    # The only variable for the test cloud; boto3 and the engine have AWS_ENDPOINT_URL and
    # PULUMI_DEBUG_PROVIDERS.
    url = os.environ.get("CLOUDBURST_CHECKIP_URL") or CHECKIP
    try:
        # Workers are reached without a proxy, and so is this: it would see the proxy's address.
        direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with direct.open(url, timeout=TIMEOUT) as answer:
            text = answer.read(100).decode("ascii", "replace").strip()
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError) as error:
        reason = getattr(error, "reason", error)
        raise InfrastructureError(
            tr(
                "this machine's public address: {url} cannot be asked ({reason}); give it as "
                "aws.ingress: ADDRESS/32 in scenes.yaml",
                url=url,
                reason=reason,
            )
        ) from error
    try:
        return f"{ipaddress.IPv4Address(text)}/32"
    except ValueError:
        raise InfrastructureError(
            tr(
                "this machine's public address: {url} answered {text!r}, no IPv4 address; give it "
                "as aws.ingress: ADDRESS/32 in scenes.yaml",
                url=url,
                text=text,
            )
        ) from None


class Ingress:
    """The CIDR block that may reach the workers.

    Args:
        given: by the user; None for this machine's address, which is asked for at once.

    Raises:
        InfrastructureError: none is given, and this machine's address could not be asked for.
    """

    def __init__(self, given: str | None) -> None:
        self._given = given
        self._latest = given or public_address()

    def current(self) -> str:
        """Return it, asked for again: a laptop may be in another network by now."""
        if self._given is None:
            with contextlib.suppress(InfrastructureError):
                self._latest = public_address()
        return self._latest
