"""ECR: tokens for its private registries, and who may pull with one.

A token carries the rights of the caller that got it: docs.aws.amazon.com/AmazonECR/latest/
userguide/registry_auth.
"""

from __future__ import annotations

import base64
import re
import secrets
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from testcloud.apis.iam import Access
from testcloud.apis.wire import ACCOUNT

if TYPE_CHECKING:
    from testcloud.apis.wire import Request

# API reference of ECR, GetAuthorizationToken: "The authorization token is valid for 12 hours."
VALID_SECONDS = 12 * 3600
PULL = ("ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer")
# Long ones: how many a real token has is not documented.
_TOKEN_BYTES = 2000
_IMAGE = re.compile(
    r"(?P<host>(?P<account>\d{12})\.dkr\.ecr\.(?P<region>[a-z0-9-]+)\.amazonaws\.com(?:\.cn)?)/"
    r"(?P<name>[^:@]+)"
)


@dataclass(frozen=True)
class Issued:
    """A token that a caller got."""

    key: str
    region: str
    until: float


class Registries:
    """The private registries of ECR.

    Attributes:
        tokens: those that were issued, by the password that each one is.
    """

    def __init__(self) -> None:
        self.tokens: dict[str, Issued] = {}

    def issue(self, request: Request) -> dict[str, Any]:
        """Return the answer to GetAuthorizationToken."""
        password = secrets.token_urlsafe(_TOKEN_BYTES)
        until = time.time() + VALID_SECONDS
        self.tokens[password] = Issued(request.key, request.region, until)
        host = f"{ACCOUNT}.dkr.ecr.{request.region}.amazonaws.com"
        token = base64.b64encode(f"AWS:{password}".encode()).decode()
        data = {"authorizationToken": token, "expiresAt": until, "proxyEndpoint": f"https://{host}"}
        return {"authorizationData": [data]}

    def accepts(self, user: str, password: str, host: str) -> Issued | None:
        """Return the token of a login; None when the registry does not accept it."""
        issued = self.tokens.get(password)
        match = _IMAGE.fullmatch(f"{host}/any")
        fits = issued is not None and match is not None and issued.region == match["region"]
        return issued if fits and user == "AWS" and issued and time.time() < issued.until else None


def pulls(image: str) -> list[Access]:
    """Return what a caller must be allowed to pull an image; nothing for one of no private ECR."""
    match = _IMAGE.match(image)
    if match is None:
        return []
    arn = f"arn:aws:ecr:{match['region']}:{match['account']}:repository/{match['name']}"
    return [Access(action, arn, {"aws:RequestedRegion": match["region"]}) for action in PULL]
