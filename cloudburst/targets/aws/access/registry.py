"""Which container images are in a private registry of ECR. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

# docs.aws.amazon.com/AmazonECR/latest/userguide/Registries, and the pattern of AWS's own
# github.com/awslabs/amazon-ecr-credential-helper, ecr-login/api/client.go: China and the European
# Sovereign Cloud have other domains, dual-stack and FIPS endpoints other names.
_HOST = re.compile(
    r"(?P<account>\d{12})\.dkr[.-]ecr(?:-fips)?\.(?P<region>[a-z0-9-]+)\."
    r"(?:amazonaws\.com(?:\.cn)?|amazonaws\.eu|on\.aws|on\.amazonwebservices\.com\.cn)"
)


@dataclass(frozen=True, slots=True)
class PrivateRegistry:
    """A private registry of ECR.

    Args:
        host: such as ``123456789012.dkr.ecr.us-east-1.amazonaws.com``.
        account: whose it is; it may be another one than the caller's.
        region: in which a login to it is made; machines elsewhere may use that, too.
    """

    host: str
    account: str
    region: str


def private_registry(image: str) -> PrivateRegistry | None:
    """Return the private registry of ECR that an image is in, None where it is in another place.

    Args:
        image: such as ``123456789012.dkr.ecr.us-east-1.amazonaws.com/name:tag``.
    """
    host, slash, _ = image.partition("/")
    match = _HOST.fullmatch(host)
    return PrivateRegistry(host, match["account"], match["region"]) if match and slash else None
