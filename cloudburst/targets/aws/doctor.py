"""Checks an AWS account for what a run needs; creates nothing there."""

from __future__ import annotations

import os
from dataclasses import replace
from importlib.metadata import version
from typing import TYPE_CHECKING

from cloudburst import environment
from cloudburst.engine import plugins
from cloudburst.engine.toolchain import existing_engine
from cloudburst.errors import CloudRefused, InfrastructureError, PriceUnknown
from cloudburst.language import tr
from cloudburst.models import Check, Finding, Verdict
from cloudburst.paths import PROJECT, state_folder
from cloudburst.targets import public_ip as address
from cloudburst.targets.aws.access.credentials import Credentials
from cloudburst.targets.aws.access.registry import private_registry
from cloudburst.targets.aws.described import port_of
from cloudburst.targets.aws.ec2 import Aws
from cloudburst.targets.aws.prices.quotes import price_book
from cloudburst.targets.aws.refusals import NO_CREDENTIALS, family
from cloudburst.targets.aws.regions import in_use, offered
from cloudburst.targets.aws.rungs import QUOTAS, allowances, quota_of, rungs
from cloudburst_stacks.aws import ami_parameter

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from cloudburst.models import Rung
    from cloudburst.targets.aws.settings import AwsSettings

ATTACHED = "PULUMI_DEBUG_PROVIDERS"
_POLICY = "give the caller the policy in docs/aws.md"


def examine(settings: AwsSettings, machines: int) -> Iterator[Check]:
    """Check everything that a run needs, on the ladder's first rung; fetch the engine's provider.

    Args:
        settings: what the user asks for.
        machines: how many are rented at once, for the quotas.
    """
    yield from _account(settings, machines)
    yield _provider()  # last: a download takes its time


def _account(settings: AwsSettings, machines: int) -> Iterator[Check]:
    try:
        aws = Aws(Credentials(environment.additions, next(iter(settings.regions), "")))
        account, caller = aws.account()
    except CloudRefused as error:
        yield _refused("credentials", error, tr(NO_CREDENTIALS))
        return
    yield Check("credentials", Finding.OK, f"account {masked(account)}, {_who(caller)}")
    regions = settings.regions or (aws.home_region,)
    yield Check("region", Finding.OK, ", ".join(regions))
    yield _address(settings)
    yield _image(settings)
    yield from _registry(aws, settings.image)
    for region in regions:
        yield from _region(aws, settings, region, machines)
    aws.close()


def _provider() -> Check:
    """Check that the engine has its AWS provider; download it, so that no run waits for that.

    A run downloads what is missing, so a failure is a warning, and not an error.
    """
    wanted, state = version("pulumi-aws"), state_folder()
    if "aws:" in os.environ.get(ATTACHED, ""):
        text = tr("pulumi-aws {version}, attached by {name}", version=wanted, name=ATTACHED)
        return Check("provider", Finding.OK, text)
    command = f'eval "$({PROJECT} env)"; pulumi plugin install resource aws v{wanted}'
    try:
        if plugins.is_installed("aws", wanted, state):
            text = tr("pulumi-aws {version} is installed", version=wanted)
            return Check("provider", Finding.OK, text)
        if not plugins.may_download(os.environ):
            text = tr(
                "pulumi-aws {version} is not installed, and {name} forbids its download",
                version=wanted,
                name=plugins.NO_DOWNLOADS,
            )
            fix = tr("unset {name}, or: {command}", name=plugins.NO_DOWNLOADS, command=command)
            return Check("provider", Finding.WARNING, text, fix)
        return _download(wanted, state, command)
    except InfrastructureError as error:
        return Check("provider", Finding.WARNING, str(error), command)


def _download(wanted: str, state: Path, command: str) -> Check:
    """Download the provider of a version; `command` does it by hand."""
    cli = existing_engine()
    if cli is None:
        text = tr("pulumi-aws {version} is not installed: no engine yet", version=wanted)
        return Check("provider", Finding.WARNING, text, tr("see engine, above"))
    reason = plugins.install(cli, "aws", wanted, state)
    if reason is None:
        text = tr("pulumi-aws {version} has been downloaded", version=wanted)
        return Check("provider", Finding.OK, text)
    text = tr("downloading pulumi-aws {version}: {reason}", version=wanted, reason=reason)
    fix = tr(
        "check the connection, or the proxy (HTTPS_PROXY); a run tries again. By hand: {command}",
        command=command,
    )
    return Check("provider", Finding.WARNING, text, fix)


def masked(account: str) -> str:
    """Return an account number that only its owner recognises."""
    return f"{account[:2]}{'*' * (len(account) - 4)}{account[-2:]}"


def _who(arn: str) -> str:
    return arn.rpartition(":")[2]


def _address(settings: AwsSettings) -> Check:
    if settings.ingress:
        return Check("address", Finding.OK, f"{settings.ingress}, as given")
    try:
        return Check("address", Finding.OK, f"{address.public_address()} alone reaches the workers")
    except InfrastructureError as error:
        return Check("address", Finding.ERROR, str(error), "aws.ingress: ADDRESS/32")


def _image(settings: AwsSettings) -> Check:
    image = settings.image
    if settings.bundled:
        text = f"bundled: the video API of {settings.renderer}, in {settings.container}"
        return Check("image", Finding.OK, text)
    pinned = "@sha256:" in image
    return Check("image", Finding.OK, image if pinned else f"{image} (not pinned by its digest)")


def _registry(aws: Aws, image: str) -> Iterator[Check]:
    """Check that the account may log in to the registry of a private image."""
    registry = private_registry(image)
    if registry is None:
        return
    try:
        aws.registry_token(registry.region)
    except CloudRefused as error:
        yield _refused("registry", error, error.refusal.advice)
        return
    yield Check("registry", Finding.OK, tr("{host}: a login is allowed", host=registry.host))


def _region(aws: Aws, settings: AwsSettings, region: str, machines: int) -> Iterator[Check]:
    types = settings.instance_types
    try:
        offers, kinds = offered(aws, settings, region)
    except CloudRefused as error:
        yield _refused(f"{region} types", error)
        return
    except InfrastructureError as error:
        fix = "change aws.instance_types"
        yield Check(f"{region} types", Finding.ERROR, str(error), fix)
        return
    vcpus = {name: kind.vcpus for name, kind in kinds.items()}
    steps = [rung for rung in rungs(settings, offers) if rung.region == region]
    missing = [kind for kind in types if not offers.get((region, kind))]
    if not steps:
        fix = "change aws.instance_types, aws.zones or aws.regions"
        yield Check(f"{region} types", Finding.ERROR, f"no zone offers {', '.join(types)}", fix)
        return
    first = steps[0]
    without = f"; not here: {', '.join(missing)}" if missing else ""
    text = f"first choice {first}, {vcpus[first.type]} vCPUs; {len(steps)} rungs{without}"
    yield Check(f"{region} types", Finding.OK, text)
    yield _quota(aws, first, vcpus, machines)
    vpc, network = _network(aws, settings, region)
    yield network
    if settings.security_groups:
        yield _firewalls(aws, settings, region, vpc)
    ami, check = _ami(aws, settings, first, kinds[first.type].architecture)
    yield check
    if ami:
        yield _launch(aws, settings, first, ami)
    if vpc and not settings.security_groups:
        yield _firewall(aws, settings, region, vpc)
    yield _price(aws, settings, first)


def _quota(aws: Aws, rung: Rung, known: dict[str, int], machines: int) -> Check:
    """Check that the vCPUs that are free are enough for all machines at once."""
    name, vcpus = f"{rung.region} quota", known[rung.type]
    code = QUOTAS.get((rung.market, family(rung.type)))
    if code is None:
        return Check(name, Finding.WARNING, f"not known for {rung.type}", "look in Service Quotas")
    try:
        limits = {quota_of(rung): aws.quota(rung.region, code)}
        free = allowances(limits, in_use(aws, rung.region, known))[quota_of(rung)]
    except CloudRefused as error:
        return replace(_refused(name, error), finding=Finding.WARNING)
    limit = limits[quota_of(rung)]
    used = "" if free == limit else f", {limit - free:.0f} in use"
    text = (
        f"{vcpus * machines} vCPUs for {machines} machine(s), of {limit:.0f}{used} "
        f"({rung.market}, {code})"
    )
    if vcpus * machines <= free:
        return Check(name, Finding.OK, text)
    fits = int(free // vcpus)
    finding = Finding.WARNING if fits else Finding.ERROR
    fix = f"{fits} fit(s) at once: ask for more in Service Quotas, or fewer or smaller machines"
    return Check(name, finding, text, fix)


def _network(aws: Aws, settings: AwsSettings, region: str) -> tuple[str, Check]:
    """Check the network; return the VPC too, empty when it is not known."""
    name = f"{region} network"
    try:
        if settings.subnet:
            zone, vpc = aws.subnet(region, settings.subnet)
            where = f"{settings.subnet} in {zone}"
        else:
            vpc = aws.default_vpc(region) or ""
            where = f"default VPC {vpc}"
        if not vpc:
            fix = "name aws.subnet in scenes.yaml"
            return "", Check(name, Finding.ERROR, "no default VPC", fix)
        if not aws.has_way_out(region, vpc, settings.subnet):
            fix = "add a route 0.0.0.0/0 to an internet gateway, or name another aws.subnet"
            return vpc, Check(name, Finding.ERROR, f"{where} has no way to the internet", fix)
    except CloudRefused as error:
        return "", _refused(name, error)
    return vpc, Check(name, Finding.OK, f"{where}, with a route to the internet")


def _firewalls(aws: Aws, settings: AwsSettings, region: str, vpc: str) -> Check:
    """Check that the user's security groups exist, belong together and let this machine in."""
    name = f"{region} firewall"
    try:
        firewalls = aws.firewalls(region, settings.security_groups)
        block = settings.ingress or address.public_address()
    except CloudRefused as error:
        return _refused(name, error)
    except InfrastructureError as error:
        return Check(name, Finding.ERROR, str(error), "aws.ingress: ADDRESS/32")
    foreign = [f"{one.id} is in {one.vpc}" for one in firewalls if vpc and one.vpc != vpc]
    if foreign:
        fix = f"name security groups of {vpc}, or another aws.subnet"
        return Check(name, Finding.ERROR, "; ".join(foreign), fix)
    named, port = ", ".join(settings.security_groups), port_of(settings.port, firewalls, block)
    if not any(firewall.admits(block, port) for firewall in firewalls):
        fix = f"add an inbound rule to one of them: TCP {port} from {block}"
        text = f"{named}: no rule for a CIDR block admits {block} to port {port}"
        return Check(name, Finding.WARNING, text, fix)
    return Check(name, Finding.OK, f"{named}: {block} reaches port {port}")


def _ami(aws: Aws, settings: AwsSettings, rung: Rung, architecture: str) -> tuple[str, Check]:
    """Check the machine image; return its id too, empty when there is none."""
    name = f"{rung.region} AMI"
    if settings.ami:
        return settings.ami, Check(name, Finding.OK, f"{settings.ami}, as given")
    try:
        ami = aws.parameter(rung.region, ami_parameter(rung.type, architecture))
    except CloudRefused as error:
        return "", _refused(name, error, "name aws.ami in scenes.yaml")
    return ami, Check(name, Finding.OK, f"{ami}, Amazon's newest with Docker")


def _tags(settings: AwsSettings) -> dict[str, str]:
    """Return the tags that a policy, the account's or an organization's, may ask for."""
    return dict(settings.tags) | {"project": "cloudburst"}


def _firewall(aws: Aws, settings: AwsSettings, region: str, vpc: str) -> Check:
    """Check that the account may create security groups, by a dry run."""
    name = f"{region} firewall"
    try:
        aws.try_firewall(region, vpc, _tags(settings))
    except CloudRefused as error:
        return _refused_dry_run(name, error)
    return Check(name, Finding.OK, f"a dry run of a security group in {vpc} is allowed")


def _launch(aws: Aws, settings: AwsSettings, rung: Rung, ami: str) -> Check:
    """Check that the account may launch machines, by a dry run."""
    name = f"{rung.region} launch"
    try:
        aws.try_launch(rung, ami, settings.subnet, _tags(settings))
    except CloudRefused as error:
        return _refused_dry_run(name, error)
    return Check(name, Finding.OK, f"a dry run of {rung} is allowed")


def _refused_dry_run(name: str, error: CloudRefused) -> Check:
    """Return the check of a dry run that AWS refused: only a final refusal is an error."""
    check = _refused(name, error)
    final = error.refusal.verdict is Verdict.STOP
    return check if final else replace(check, finding=Finding.WARNING, fix="try again later")


def _refused(name: str, error: CloudRefused, fix: str = _POLICY) -> Check:
    """Return the check of a call that AWS refused.

    Args:
        name: of the check.
        error: says what is wrong.
        fix: unless the account is what is wrong.
    """
    refusal = error.refusal
    fix = refusal.advice if refusal.cause else fix
    # The line below says it.
    text = str(error).removesuffix(f" ({fix})")
    return Check(name, Finding.ERROR, text, fix, refusal.code or "")


def _price(aws: Aws, settings: AwsSettings, rung: Rung) -> Check:
    name = f"{rung.region} price"
    book = price_book(aws, settings)
    try:
        listed = book.on_demand(rung.type, rung.region).price
        text = f"{rung.type} ${listed.usd_per_hour:.4f}/h on demand ({listed.source})"
        if rung.market == "spot":
            spot = aws.spot_price(rung.type, rung.region, rung.zone)
            text += f", ${spot:.4f}/h spot now" if spot else ", no spot price"
    except PriceUnknown as error:
        return Check(name, Finding.ERROR, str(error), "aws.price_per_hour in scenes.yaml")
    except CloudRefused as error:
        return _refused(name, error)
    return Check(name, Finding.OK, text)
