"""The provider's functions: what a program may ask AWS while it is evaluated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from testcloud.sdk import Aws, AwsFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Function = Callable[[Aws, Mapping[str, Any]], dict[str, Any]]


def _get_parameter(aws: Aws, args: Mapping[str, Any]) -> dict[str, Any]:
    name = str(args["name"])
    try:
        found = aws.call("ssm", "GetParameter", Name=name, WithDecryption=True)["Parameter"]
    except AwsFailure as failure:
        text = "couldn't find resource" if failure.code == "ParameterNotFound" else str(failure)
        raise AwsFailure(f"reading SSM Parameter ({name}): {text}", failure.code) from failure
    return {
        "id": name,
        "name": name,
        "arn": found.get("ARN", ""),
        "type": found["Type"],
        "value": found["Value"],
        "insecureValue": found["Value"],
        "version": found.get("Version", 1),
        "withDecryption": True,
    }


def _get_ami(aws: Aws, args: Mapping[str, Any]) -> dict[str, Any]:
    asked: dict[str, Any] = {}
    if args.get("owners"):
        asked["Owners"] = args["owners"]
    if args.get("filters"):
        asked["Filters"] = [
            {"Name": each["name"], "Values": each["values"]} for each in args["filters"]
        ]
    found = aws.call("ec2", "DescribeImages", **asked)["Images"]
    if not found:
        raise AwsFailure(
            "Your query returned no results. Please change your search criteria and try again."
        )
    if len(found) > 1 and not args.get("mostRecent"):
        raise AwsFailure(
            "Your query returned more than one result. Please try a more specific search criteria,"
            " or set `most_recent` attribute to true."
        )
    newest = max(found, key=lambda image: image.get("CreationDate", ""))
    return {
        "id": newest["ImageId"],
        "imageId": newest["ImageId"],
        "name": newest.get("Name", ""),
        "architecture": newest.get("Architecture", ""),
        "rootDeviceName": newest.get("RootDeviceName", ""),
        "creationDate": newest.get("CreationDate", ""),
    }


def _get_caller_identity(aws: Aws, _: Mapping[str, Any]) -> dict[str, Any]:
    found = aws.call("sts", "GetCallerIdentity")
    account = found["Account"]
    return {"id": account, "accountId": account, "arn": found["Arn"], "userId": found["UserId"]}


KNOWN: dict[str, Function] = {
    "aws:ssm/getParameter:getParameter": _get_parameter,
    "aws:ec2/getAmi:getAmi": _get_ami,
    "aws:index/getCallerIdentity:getCallerIdentity": _get_caller_identity,
}
