"""The wire formats: parses requests, builds responses and errors for each AWS protocol."""

from __future__ import annotations

import io
import json
import re
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl
from xml.sax.saxutils import escape

if TYPE_CHECKING:
    from collections.abc import Mapping

ACCOUNT = "123456789012"
# In the user agent of every call the provider double makes; the product's clients lack it.
PROVIDER_AGENT = "pulumi-aws/7.51.1"
_SCOPE = re.compile(r"Credential=([^/]+)/\d+/([^/]+)/([^/]+)/aws4_request")
_XML_CODE = re.compile(rb"<Code>([^<]+)</Code>")

# AWS's own messages, and its HTTP status where that is not 400.
MESSAGES = {
    "InsufficientInstanceCapacity": (
        "We currently do not have sufficient {type} capacity in the Availability Zone you requested"
        " ({zone}). Our system will be working on provisioning additional capacity. You can"
        " currently get {type} capacity by not specifying an Availability Zone in your request."
    ),
    "InsufficientHostCapacity": "There is not enough capacity to fulfill your request.",
    "UnfulfillableCapacity": "Unable to fulfill capacity due to your request configuration.",
    "VcpuLimitExceeded": (
        "You have requested more vCPU capacity than your current vCPU limit of {limit} allows for"
        " the instance bucket that the specified instance type belongs to. Please visit"
        " http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit."
    ),
    "InstanceLimitExceeded": (
        "Your quota allows for 0 more running instance(s). You requested at least 1"
    ),
    "Unsupported": (
        "Your requested instance type ({type}) is not supported in your requested Availability"
        " Zone ({zone}). Please retry your request by not specifying an Availability Zone or"
        " choosing {zones}."
    ),
    "UnauthorizedOperation": "You are not authorized to perform this operation.",
    # Verbatim but for the attribute: github.com/hashicorp/terraform-provider-aws pull 41206.
    "UnsupportedOperation": "Modifying '{attribute}' is not supported for spot instances.",
    # Of the account: docs.aws.amazon.com/AWSEC2/latest/APIReference/errors-overview.html lists
    # Blocked, OptInRequired and PendingVerification among the codes of every action; the
    # messages and the statuses are as users have reported them: github.com/thecodeteam/labs issue
    # 43, github.com/Appliscale/cloud-security-audit issue 24, github.com/openshift/installer issue
    # 1709.
    "Blocked": (
        "This account is currently blocked and not recognized as a valid account. Please contact"
        " aws-verification@amazon.com if you have questions."
    ),
    "OptInRequired": (
        "You are not subscribed to this service. Please go to http://aws.amazon.com to subscribe."
    ),
    "PendingVerification": (
        "Your request for accessing resources in this region is being validated, and you will not"
        " be able to launch additional resources in this region until the validation is complete."
        " We will notify you by email once your request has been validated. While normally resolved"
        " within minutes, please allow up to 4 hours for this process to complete. If the issue"
        " still persists, please let us know by writing to aws-verification@amazon.com for further"
        " assistance."
    ),
    # Not in EC2's list; the original tool reports it.
    "AccountBlocked": "This account is currently blocked.",
    "DryRunOperation": "Request would have succeeded, but DryRun flag is set.",
    # github.com/aws/karpenter-provider-aws pull 7998, github.com/dstackai/dstack issue 886.
    "AuthFailure.ServiceLinkedRoleCreationNotPermitted": (
        "The provided credentials do not have permission to create the service-linked role for EC2"
        " Spot Instances."
    ),
    "AuthFailure": "AWS was not able to validate the provided access credentials",
    "RequestLimitExceeded": "Request limit exceeded.",
    "InsufficientFreeAddressesInSubnet": (
        "There are not enough free addresses in subnet to satisfy the requested number of"
        " instances."
    ),
    "MaxSpotInstanceCountExceeded": "Max spot instance count exceeded",
    "SpotMaxPriceTooLow": (
        "Your Spot request price of {max_price} is lower than the minimum required Spot request"
        " fulfillment price of {price}."
    ),
    "InvalidParameterValue": "Value () for parameter is invalid.",
    "InternalError": "An internal error has occurred",
    "DependencyViolation": "resource {group} has a dependent object",
    "ExpiredToken": "The security token included in the request is expired",
    "ExpiredTokenException": "The security token included in the request is expired",
    "RequestExpired": "Request has expired.",
    "ThrottlingException": "Rate exceeded",
    "AccessDeniedException": "User is not authorized to perform this action",
}
STATUS = {
    "InsufficientInstanceCapacity": 500,
    "InsufficientHostCapacity": 500,
    "UnfulfillableCapacity": 500,
    "InternalError": 500,
    "InternalErrorException": 500,
    "UnauthorizedOperation": 403,
    "AccessDenied": 403,
    "ExpiredToken": 403,
    "AuthFailure": 401,
    "AuthFailure.ServiceLinkedRoleCreationNotPermitted": 403,
    "OptInRequired": 401,
    "DryRunOperation": 412,
    "RequestLimitExceeded": 503,
    "Unavailable": 503,
}


class AwsError(Exception):
    """An error response with AWS's code and message."""

    def __init__(self, code: str, message: str | None = None, **facts: object) -> None:
        self.code = code
        self.message = message_for(code, facts) if message is None else message
        super().__init__(f"{code}: {self.message}")


def message_for(code: str, facts: Mapping[str, object]) -> str:
    """Return AWS's message for an error code, filled in with facts of the request."""
    known = {"type": "c5.2xlarge", "zone": "us-east-1a", "zones": "another one", "limit": 64}
    known |= {"max_price": "0.010000", "price": "0.100000", "group": "sg-0"}
    known |= {"attribute": "disableApiTermination"}
    known |= {name: value for name, value in facts.items() if value}
    return MESSAGES.get(code, "The request failed.").format_map(known)


@dataclass(frozen=True)
class Request:
    """A request to an AWS service.

    Attributes:
        service: its signing name, such as ec2.
        params: flat for the query protocols (``Filter.1.Name``), nested for JSON.
        caller: "runner", or "provider" for the provider double's own calls.
        key: the caller's access key id.
    """

    service: str
    action: str
    region: str
    caller: str
    json: bool
    params: Mapping[str, Any] = field(repr=False)
    key: str = ""

    def listed(self, name: str) -> list[str]:
        """Return the values of a query list: ``name.1``, ``name.2`` …, in order."""
        values = {k: v for k, v in self.params.items() if re.fullmatch(rf"{name}\.\d+", k)}
        return [values[key] for key in sorted(values, key=lambda key: int(key.rpartition(".")[2]))]

    def filters(self) -> dict[str, list[str]]:
        """Return the filters of a query request by name."""
        names = {k.split(".")[1]: v for k, v in self.params.items() if _is_filter_name(k)}
        return {name: self.listed(rf"Filter\.{number}\.Value") for number, name in names.items()}


def _is_filter_name(key: str) -> bool:
    return re.fullmatch(r"Filter\.\d+\.Name", key) is not None


@dataclass(frozen=True)
class Response:
    """An HTTP response."""

    body: bytes
    status: int = 200
    kind: str = "text/plain"
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def error(self) -> str:
        """The AWS error code, or "" for a successful response."""
        if self.status < 400:
            return ""
        if match := _XML_CODE.search(self.body):
            return match[1].decode()
        try:
            error_type = str(json.loads(self.body).get("__type", ""))
        except ValueError:
            error_type = ""
        return error_type.rpartition("#")[2] or str(self.status)


def parse_request(environ: dict[str, Any]) -> Request | None:
    """Parse a signed request; its body can be read again afterwards.

    Returns None for a request without an AWS signature.
    """
    length = int(environ.get("CONTENT_LENGTH") or 0)
    body = environ["wsgi.input"].read(length) if length else b""
    environ["wsgi.input"] = io.BytesIO(body)
    scope = _SCOPE.search(environ.get("HTTP_AUTHORIZATION", ""))
    if scope is None:
        return None
    key, region, service = scope.groups()
    caller = "provider" if PROVIDER_AGENT in environ.get("HTTP_USER_AGENT", "") else "runner"
    if target := environ.get("HTTP_X_AMZ_TARGET", ""):
        action = target.rpartition(".")[2]
        return Request(service, action, region, caller, True, json.loads(body or b"{}"), key)
    text = body.decode(errors="replace") or environ.get("QUERY_STRING", "")
    params = dict(parse_qsl(text, keep_blank_values=True))
    action = str(params.get("Action") or f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
    return Request(service, action, region, caller, False, params, key)


def error_response(request: Request, error: AwsError) -> Response:
    """Return an error in the format of the protocol of the requested service."""
    request_id, status = str(uuid.uuid4()), STATUS.get(error.code, 400)
    if request.json:
        body = json.dumps(
            {"__type": error.code, "message": error.message, "Message": error.message}
        )
        headers = (("x-amzn-RequestId", request_id), ("x-amzn-ErrorType", error.code))
        return Response(body.encode(), status, "application/x-amz-json-1.1", headers)
    code, message = escape(error.code), escape(error.message)
    if request.service == "ec2":
        xml = (
            f"<Response><Errors><Error><Code>{code}</Code><Message>{message}</Message></Error>"
            f"</Errors><RequestID>{request_id}</RequestID></Response>"
        )
    else:
        blame = "Sender" if status < 500 else "Receiver"
        xml = (
            f"<ErrorResponse><Error><Type>{blame}</Type><Code>{code}</Code>"
            f"<Message>{message}</Message></Error><RequestId>{request_id}</RequestId></ErrorResponse>"
        )
    return Response(f'<?xml version="1.0" encoding="UTF-8"?>\n{xml}'.encode(), status, "text/xml")


def ec2_response(request: Request, content: Mapping[str, Any]) -> Response:
    """Return an EC2 result: mappings become elements, list entries ``<item>`` elements."""
    xml = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<{request.action}Response xmlns="http://ec2.amazonaws.com/doc/2016-11-15/">'
        f"<requestId>{uuid.uuid4()}</requestId>{_xml(content)}</{request.action}Response>"
    )
    return Response(xml.encode(), kind="text/xml")


def json_response(content: object) -> Response:
    """Return a result of a JSON protocol."""
    return Response(json.dumps(content).encode(), kind="application/x-amz-json-1.1")


def _xml(content: object) -> str:
    if isinstance(content, dict):
        return "".join(f"<{name}>{_xml(value)}</{name}>" for name, value in content.items())
    if isinstance(content, list):
        return "".join(f"<item>{_xml(value)}</item>" for value in content)
    return escape(str(content))
