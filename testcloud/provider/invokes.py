"""The provider's functions, which a program calls while it is evaluated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from testcloud.provider.sdk import Aws, AwsFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Function = Callable[[Aws, Mapping[str, Any]], dict[str, Any]]


def _get_parameter(aws: Aws, args: Mapping[str, Any]) -> dict[str, Any]:
    name = str(args["name"])
    try:
        response = aws.call("ssm", "GetParameter", Name=name, WithDecryption=True)
    except AwsFailure as failure:
        text = "couldn't find resource" if failure.code == "ParameterNotFound" else str(failure)
        raise AwsFailure(f"reading SSM Parameter ({name}): {text}", failure.code) from failure
    parameter = response["Parameter"]
    return {
        "id": name,
        "name": name,
        "arn": parameter.get("ARN", ""),
        "type": parameter["Type"],
        "value": parameter["Value"],
        "insecureValue": parameter["Value"],
        "version": parameter.get("Version", 1),
        "withDecryption": True,
    }


def _get_ami(aws: Aws, args: Mapping[str, Any]) -> dict[str, Any]:
    parameters: dict[str, Any] = {}
    if args.get("owners"):
        parameters["Owners"] = args["owners"]
    if args.get("filters"):
        parameters["Filters"] = [
            {"Name": each["name"], "Values": each["values"]} for each in args["filters"]
        ]
    images = aws.call("ec2", "DescribeImages", **parameters)["Images"]
    if not images:
        raise AwsFailure(
            "Your query returned no results. Please change your search criteria and try again."
        )
    if len(images) > 1 and not args.get("mostRecent"):
        raise AwsFailure(
            "Your query returned more than one result. Please try a more specific search criteria,"
            " or set `most_recent` attribute to true."
        )
    newest = max(images, key=lambda image: image.get("CreationDate", ""))
    return {
        "id": newest["ImageId"],
        "imageId": newest["ImageId"],
        "name": newest.get("Name", ""),
        "architecture": newest.get("Architecture", ""),
        "rootDeviceName": newest.get("RootDeviceName", ""),
        "creationDate": newest.get("CreationDate", ""),
    }


def _get_caller_identity(aws: Aws, _: Mapping[str, Any]) -> dict[str, Any]:
    identity = aws.call("sts", "GetCallerIdentity")
    account = identity["Account"]
    arn, user = identity["Arn"], identity["UserId"]
    return {"id": account, "accountId": account, "arn": arn, "userId": user}


FUNCTIONS: dict[str, Function] = {
    "aws:ssm/getParameter:getParameter": _get_parameter,
    "aws:ec2/getAmi:getAmi": _get_ami,
    "aws:index/getCallerIdentity:getCallerIdentity": _get_caller_identity,
}
