"""The AWS API on a loopback port: faults, what moto lacks, and moto behind it."""

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

from testcloud import metadata, prices
from testcloud.wire import Answer, Ask, AwsError, failure, json_answer, recognise, words

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from testcloud.ec2 import Ec2
    from testcloud.faults import Fault, Faults

_QUOTA_NAMES = {
    "L-1216C47A": "Running On-Demand Standard (A, C, D, H, I, M, R, T, Z) instances",
    "L-34B43A08": "All Standard (A, C, D, H, I, M, R, T, Z) Spot Instance Requests",
    "L-DB2E81BA": "Running On-Demand G and VT instances",
    "L-3819A6DF": "All G and VT Spot Instance Requests",
}


@dataclass(eq=False)
class Call:
    """A request that came.

    Attributes:
        caller: "runner" or "provider".
        time: when it came, epoch seconds.
        error: AWS's code; "dropped" when it got no answer; "" when all was well.
    """

    service: str
    action: str
    region: str
    caller: str
    time: float
    error: str = ""


class Api:
    """The WSGI application.

    Args:
        faults: what calls are to suffer.
        calls: where they are recorded.
    """

    def __init__(self, faults: Faults, calls: list[Call]) -> None:
        self.ec2: Ec2
        self.metadata: metadata.Metadata
        self._faults, self._calls = faults, calls
        self._moto = DomainDispatcherApplication(create_backend_app)

    def __call__(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        """Answer one HTTP request."""
        answer = self._answer(environ)
        headers = [("Content-Type", answer.kind), *answer.headers]
        headers.append(("Content-Length", str(len(answer.body))))
        start(f"{answer.status} {'OK' if answer.status < 400 else 'Error'}", headers)
        return [answer.body]

    def _answer(self, environ: dict[str, Any]) -> Answer:
        path = environ["PATH_INFO"]
        if path == "/checkip":
            return Answer(f"{self.ec2.hypervisor.caller}\n".encode())
        if path.startswith(metadata.PREFIX):
            return self.metadata.answer(environ)
        ask = recognise(environ)
        if ask is None:
            return Answer(b"<Error><Code>AccessDenied</Code></Error>", 403, "text/xml")
        call = Call(ask.service, ask.action, ask.region, ask.caller, time.time())
        self._calls.append(call)
        try:
            answer = self._with_fault(ask, environ)
        except ConnectionAbortedError:
            call.error = "dropped"
            raise
        except Exception as error:  # noqa: BLE001 - AWS too answers 500 for its own mistakes
            traceback.print_exc(file=sys.stderr)
            answer = failure(ask, AwsError("InternalError", f"in the test cloud: {error!r}"))
        call.error = answer.error
        return answer

    def _with_fault(self, ask: Ask, environ: dict[str, Any]) -> Answer:
        with self.ec2.hypervisor.lock:
            facts = self.ec2.facts(ask)
        fault = self._faults.take(ask.action, facts)
        if fault is None:
            return self._plain(ask, environ)
        time.sleep(fault.delay)
        answer = self._plain(ask, environ) if fault.after or not _refuses(fault) else None
        if fault.drop:
            # The server takes it for a client that has gone, and closes without an answer.
            raise ConnectionAbortedError
        if fault.code:
            message = fault.message or words(fault.code, facts)
            return failure(ask, AwsError(fault.code, message))
        assert answer is not None
        return answer

    def _plain(self, ask: Ask, environ: dict[str, Any]) -> Answer:
        try:
            with self.ec2.hypervisor.lock:
                return self._ours(ask) or self._theirs(environ)
        except AwsError as error:
            return failure(ask, error)

    def _ours(self, ask: Ask) -> Answer | None:
        if ask.service == "ec2":
            return self.ec2.before(ask)
        if ask.service == "pricing" and ask.action == "GetProducts":
            return json_answer(prices.get_products(ask.params))
        if ask.service == "servicequotas" and ask.action == "GetServiceQuota":
            return json_answer({"Quota": _quota(ask.params, self.ec2.quotas, ask.region)})
        return None

    def _theirs(self, environ: dict[str, Any]) -> Answer:
        body, status, headers = run_wsgi_app(self._moto, environ, buffered=True)
        kept = [(k, v) for k, v in headers if k.lower() not in ("content-type", "content-length")]
        kind = headers.get("Content-Type", "text/xml")
        return Answer(b"".join(body), int(status.split()[0]), kind, tuple(kept))


def _refuses(fault: Fault) -> bool:
    return bool(fault.code) or fault.drop


def _quota(asked: Mapping[str, Any], quotas: Mapping[str, float], region: str) -> dict[str, Any]:
    code = str(asked.get("QuotaCode", ""))
    if asked.get("ServiceCode") != "ec2" or code not in quotas:
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


class _Quiet(WSGIRequestHandler):
    """One request a connection, and nothing said of it."""

    protocol_version = "HTTP/1.0"

    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


class Server:
    """Serves the API in a thread."""

    def __init__(self, api: Api) -> None:
        self._server = make_server("127.0.0.1", 0, api, threaded=True, request_handler=_Quiet)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def start(self) -> None:
        """Begin to serve."""
        self._thread.start()

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
