"""The AWS API on a loopback port: injects faults, adds what moto lacks, passes the rest to moto."""

from __future__ import annotations

import sys
import threading
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server
from werkzeug.test import run_wsgi_app

from testcloud.apis import iam, parameters, prices
from testcloud.apis.registry import Registries, pulls
from testcloud.apis.wire import (
    ACCOUNT,
    AwsError,
    Request,
    Response,
    error_response,
    json_response,
    message_for,
    parse_request,
)
from testcloud.machines import metadata

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from testcloud.apis.ec2 import Ec2
    from testcloud.faults import Fault, Faults

# Calls with this access key are not subject to the policy: a test prepares the account with it.
ADMINISTRATOR = "AKIAADMINISTRATOREXA"
_QUOTA_NAMES = {
    "L-1216C47A": "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances",
    "L-34B43A08": "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests",
    "L-DB2E81BA": "Running On-Demand G and VT instances",
    "L-3819A6DF": "All G and VT Spot Instance Requests",
}


@dataclass(eq=False)
class Call:
    """A recorded API call.

    Attributes:
        caller: "runner" or "provider".
        time: when the request arrived, epoch seconds.
        error: AWS's error code; "dropped" when the connection was closed without a response; ""
            on success.
        key: the caller's access key id.
    """

    service: str
    action: str
    region: str
    caller: str
    time: float
    error: str = ""
    key: str = ""


class Api:
    """The WSGI application.

    Args:
        faults: faults to inject into calls.
        calls: the list to record calls in.

    Attributes:
        policy: what callers may do, except with the administrator's key; None for everything.
        accesses: what callers asked for under the policy, and whether it was allowed.
        expired: access keys whose session has expired.
        registries: the private ones of ECR.
    """

    def __init__(self, faults: Faults, calls: list[Call]) -> None:
        self.ec2: Ec2
        self.metadata: metadata.Metadata
        self.policy: iam.Policy | None = None
        self.accesses: list[tuple[iam.Access, bool]] = []
        self.expired: set[str] = set()
        self.registries = Registries()
        self._faults, self._calls = faults, calls
        self._moto = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        """Handle one HTTP request."""
        response = self._respond(environ)
        headers = [("Content-Type", response.kind), *response.headers]
        headers.append(("Content-Length", str(len(response.body))))
        start(f"{response.status} {'OK' if response.status < 400 else 'Error'}", headers)
        return [response.body]

    def _respond(self, environ: dict[str, Any]) -> Response:
        path = environ["PATH_INFO"]
        if path == "/checkip":
            return Response(f"{self.ec2.hypervisor.caller}\n".encode())
        if path.startswith(metadata.PREFIX):
            return self.metadata.respond(environ)
        request = parse_request(environ)
        if request is None:
            return Response(b"<Error><Code>AccessDenied</Code></Error>", 403, "text/xml")
        call = Call(request.service, request.action, request.region, request.caller, time.time())
        call.key = request.key
        self._calls.append(call)
        try:
            response = self._with_fault(request, environ)
        except ConnectionAbortedError:
            call.error = "dropped"
            raise
        except Exception as error:  # noqa: BLE001 - AWS also answers its own errors with 500
            traceback.print_exc(file=sys.stderr)
            failure = AwsError("InternalError", f"in the test cloud: {error!r}")
            response = error_response(request, failure)
        call.error = response.error
        return response

    def _with_fault(self, request: Request, environ: dict[str, Any]) -> Response:
        if request.key in self.expired:
            return error_response(request, AwsError(_expired_code(request)))
        with self.ec2.hypervisor.lock:
            facts = self.ec2.facts(request)
        fault = self._faults.take(request.action, facts)
        if fault is None:
            return self._execute(request, environ)
        time.sleep(fault.delay)
        response = self._execute(request, environ) if fault.after or not _fails(fault) else None
        if fault.drop:
            # werkzeug treats this as a client disconnect and closes without a response.
            raise ConnectionAbortedError
        if fault.code:
            message = fault.message or message_for(fault.code, facts)
            return error_response(request, AwsError(fault.code, message))
        assert response is not None
        return response

    def _execute(self, request: Request, environ: dict[str, Any]) -> Response:
        try:
            with self.ec2.hypervisor.lock:
                self._authorize(request)
                return self._own(request) or self._moto_response(environ)
        except AwsError as error:
            return error_response(request, error)

    def _authorize(self, request: Request) -> None:
        """Refuse what the policy does not allow, before anything else, as AWS does."""
        if self.policy is not None and request.key != ADMINISTRATOR:
            denied = self._denied(iam.accesses(request, self.ec2.tags(request.region)))
            if denied:
                code = "AccessDeniedException" if request.json else "UnauthorizedOperation"
                raise AwsError(code, _unauthorized(denied))
            self._authorize_spot(request)
        if request.service == "ec2" and request.params.get("DryRun") == "true":
            raise AwsError("DryRunOperation")

    def _denied(self, accesses: Iterable[iam.Access]) -> iam.Access | None:
        """Note what is asked for; return the first thing that the policy does not allow."""
        for access in accesses:
            allowed = self.policy is None or self.policy.allows(access)
            self.accesses.append((access, allowed))
            if not allowed:
                return access
        return None

    def registry(self, action: str, login: Mapping[str, str]) -> str:
        """Handle docker's `login` or `pull` with a login; return its error, "" on success."""
        host = login["host"]
        issued = self.registries.accepts(login["user"], login["password"], host)
        if issued is None:
            # github.com/aws/aws-cli issue 5317, with a token of another region.
            return f"login attempt to https://{host}/v2/ failed with status: 400 Bad Request"
        if action == "pull" and issued.key != ADMINISTRATOR:
            denied = self._denied(pulls(login["image"]))
            if denied:
                # github.com/moby/moby, distribution/errors.go, with ECR's message.
                name = login["image"].partition("@")[0].partition(":")[0]
                return (
                    f"pull access denied for {name}, repository does not exist or may require "
                    f"'docker login': denied: {_unauthorized(denied)}"
                )
        return ""

    def _authorize_spot(self, request: Request) -> None:
        """Create the role for spot instances at an account's first one, if the caller may."""
        market = request.params.get("InstanceMarketOptions.MarketType")
        if self.policy is None or market != "spot" or self.ec2.spot_role:
            return
        self.ec2.spot_role = self.policy.allows(iam.SPOT_ROLE)
        self.accesses.append((iam.SPOT_ROLE, self.ec2.spot_role))
        if not self.ec2.spot_role:
            raise AwsError("AuthFailure.ServiceLinkedRoleCreationNotPermitted")

    def _own(self, request: Request) -> Response | None:
        if request.service == "ec2":
            return self.ec2.handle(request)
        if request.service == "ecr" and request.action == "GetAuthorizationToken":
            return json_response(self.registries.issue(request))
        if request.service == "ssm" and request.action == "GetParameter":
            parameter = parameters.get_parameter(request)
            return None if parameter is None else json_response(parameter)
        if request.service == "pricing" and request.action == "GetProducts":
            return json_response(prices.get_products(request.params))
        if request.service == "servicequotas":
            # A quota that was never changed may have a default only: documentation of
            # GetServiceQuota.
            known = self.ec2.quotas
            if request.action == "GetServiceQuota":
                known = {k: v for k, v in known.items() if k not in self.ec2.unchanged_quotas}
            if request.action in ("GetServiceQuota", "GetAWSDefaultServiceQuota"):
                return json_response({"Quota": _quota(request.params, known, request.region)})
        return None

    def _moto_response(self, environ: dict[str, Any]) -> Response:
        body, status, headers = run_wsgi_app(self._moto, environ, buffered=True)
        kept_headers = [
            (k, v) for k, v in headers if k.lower() not in ("content-type", "content-length")
        ]
        kind = headers.get("Content-Type", "text/xml")
        return Response(b"".join(body), int(status.split()[0]), kind, tuple(kept_headers))


def _unauthorized(access: iam.Access) -> str:
    """Return AWS's message: docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied."""
    return (
        f"You are not authorized to perform this operation. User: arn:aws:iam::{ACCOUNT}:user/"
        f"runner is not authorized to perform: {access.action} on resource: {access.resource}"
        f" because no identity-based policy allows the {access.action} action"
    )


def _expired_code(request: Request) -> str:
    """Return the code for a session that has expired, which differs between services."""
    if request.service == "ec2":
        return "RequestExpired"
    return "ExpiredTokenException" if request.json else "ExpiredToken"


def _fails(fault: Fault) -> bool:
    return bool(fault.code) or fault.drop


def _quota(params: Mapping[str, Any], quotas: Mapping[str, float], region: str) -> dict[str, Any]:
    code = str(params.get("QuotaCode", ""))
    if params.get("ServiceCode") != "ec2" or code not in quotas:
        raise AwsError(
            "NoSuchResourceException",
            "The request failed because the specified service does not exist.",
        )
    return {
        "ServiceCode": "ec2",
        "ServiceName": "Amazon Elastic Compute Cloud (Amazon EC2)",
        "QuotaArn": f"arn:aws:servicequotas:{region}:123456789012:ec2/{code}",
        "QuotaCode": code,
        "QuotaName": _QUOTA_NAMES.get(code, code),
        "Value": quotas[code],
        "Unit": "None",
        "Adjustable": True,
        "GlobalQuota": False,
    }


class _QuietHandler(WSGIRequestHandler):
    """Handles one request per connection, without logging."""

    protocol_version = "HTTP/1.0"

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002
        """Log nothing."""


class Server:
    """Serves the API in a thread."""

    def __init__(self, api: Api) -> None:
        self._server = make_server(
            "127.0.0.1", 0, api, threaded=True, request_handler=_QuietHandler
        )
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def start(self) -> None:
        """Start serving."""
        self._thread.start()

    def close(self) -> None:
        """Stop serving and wait for the thread."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
