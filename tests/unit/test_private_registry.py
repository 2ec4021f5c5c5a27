"""Which images need a login to ECR."""

from __future__ import annotations

import pytest

from cloudburst.targets.aws.access.registry import PrivateRegistry, private_registry
from cloudburst.targets.aws.refusals import of_code

ACCOUNT = "123456789012"


@pytest.mark.parametrize(
    ("host", "region"),
    [
        (f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com", "us-east-1"),
        (f"{ACCOUNT}.dkr.ecr.cn-north-1.amazonaws.com.cn", "cn-north-1"),
        (f"{ACCOUNT}.dkr.ecr-fips.us-gov-west-1.amazonaws.com", "us-gov-west-1"),
        (f"{ACCOUNT}.dkr-ecr.eu-west-1.on.aws", "eu-west-1"),
        (f"{ACCOUNT}.dkr.ecr.eusc-de-east-1.amazonaws.eu", "eusc-de-east-1"),
    ],
)
@pytest.mark.parametrize("name", ["me", "team/me:1.2", f"me@sha256:{'a' * 64}"])
def test_private_ones(host: str, region: str, name: str) -> None:
    assert private_registry(f"{host}/{name}") == PrivateRegistry(host, ACCOUNT, region)


@pytest.mark.parametrize(
    "image",
    [
        "public.ecr.aws/x/y:1",
        "betashow/video-generation-api:latest",
        "ubuntu",
        f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com",
        f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com.evil.example/me:1",
        f"evil.example/{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/me:1",
        f"1{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com/me",
        "12345.dkr.ecr.us-east-1.amazonaws.com/me",
        f"{ACCOUNT}.dkr.ecr.us-east-1.amazonaws.com:443/me",
    ],
)
def test_others(image: str) -> None:
    assert private_registry(image) is None


def test_a_refused_login_names_the_statements() -> None:
    text = "User: x is not authorized to perform: ecr:GetAuthorizationToken on resource: *"
    assert "EcrLogin and EcrPull" in of_code("AccessDeniedException", text).advice
    other = "User: x is not authorized to perform: ssm:GetParameter on resource: *"
    assert of_code("AccessDeniedException", other).advice.endswith("the policy in docs/aws.md")
    denied = f"{text} with an explicit deny in a service control policy"
    assert "organization" in of_code("AccessDeniedException", denied).advice
