"""AWS calls as terraform-provider-aws makes them, with its retries and error messages."""

from __future__ import annotations

import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

import boto3
import botocore.config
from botocore.exceptions import BotoCoreError, ClientError
from botocore.parsers import ResponseParserError

from testcloud.apis.wire import PROVIDER_AGENT

if TYPE_CHECKING:
    from collections.abc import Callable

    from testcloud.provider.callers import Keys

MAX_RETRIES = 25
_NAMES = {"ec2": "EC2", "sts": "STS", "ssm": "SSM"}
_THROTTLES = {"RequestLimitExceeded", "Throttling", "ThrottlingException", "RequestThrottled"}
# The real one waits up to 20 s between attempts.
_PAUSE, _LONGEST_PAUSE = 0.02, 0.2


class AwsFailure(Exception):
    """A call that failed after all retries, with the message of the Go SDK.

    Attributes:
        code: AWS's error code, "" if there was no response.
    """

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.code = code


class Cancelled(Exception):
    """The engine asked to stop."""


class Aws:
    """An AWS client for one region and one engine process.

    Args:
        clients: returns the boto3 client of a service.
        attempts: maximum attempts of a call, from the provider's `max_retries`.
        cancelled: whether the engine asked to stop.
    """

    def __init__(
        self, clients: Callable[[str], Any], attempts: int, cancelled: Callable[[], bool]
    ) -> None:
        self._clients, self._attempts, self._cancelled = clients, attempts, cancelled

    def call(self, service: str, action: str, **parameters: Any) -> dict[str, Any]:
        """Make a call, with the retries of the real provider.

        Raises:
            AwsFailure: the call failed after all retries.
        """
        client = self._clients(service)
        method = getattr(client, _method(client, action))
        pause = _PAUSE
        for attempt in range(1, self._attempts + 1):
            try:
                return dict(method(**parameters))
            except ClientError as error:
                response = error.response
                status = int(response["ResponseMetadata"]["HTTPStatusCode"])
                code, message = response["Error"]["Code"], response["Error"].get("Message", "")
                text = (
                    f"https response error StatusCode: {status}, RequestID: {uuid.uuid4()},"
                    f" api error {code}: {message}"
                )
                transient = status >= 500 or code in _THROTTLES
            except BotoCoreError as error:
                code, transient = "", True
                text = (
                    f"https response error StatusCode: 0, RequestID: , request send failed, {error}"
                )
            except ResponseParserError as error:
                # What smithy-go says of a body that ends early; it may be asked for again.
                code, transient = "", True
                text = (
                    "https response error StatusCode: 200, RequestID: , deserialization failed,"
                    f" failed to decode response body, unexpected EOF: {str(error).splitlines()[0]}"
                )
            if transient and attempt == self._attempts:
                text = f"exceeded maximum number of attempts, {attempt}, {text}"
            if not transient or attempt == self._attempts:
                raise AwsFailure(f"operation error {_NAMES[service]}: {action}, {text}", code)
            self.pause(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        raise AssertionError

    def pause(self, seconds: float) -> None:
        """Sleep for some seconds.

        Raises:
            Cancelled: the engine asked to stop.
        """
        if self._cancelled():
            raise Cancelled
        time.sleep(seconds)


def attempts_of(max_retries: str | float | None) -> int:
    """Return the maximum attempts of a call; the Go SDK replaces 0 with its default of 3."""
    attempts = int(float(max_retries)) if max_retries not in (None, "") else MAX_RETRIES
    return attempts or 3


class Clients:
    """A cache of boto3 clients by service, region and keys, because creating one is slow."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._clients: dict[tuple[str, str, Keys], Any] = {}
        self._lock = threading.Lock()

    def get(self, service: str, region: str, keys: Keys) -> Any:
        """Return the client of a service in a region, for a caller with some keys."""
        with self._lock:
            if (service, region, keys) not in self._clients:
                config = botocore.config.Config(
                    user_agent_extra=PROVIDER_AGENT,
                    retries={"total_max_attempts": 1},
                    max_pool_connections=64,
                )
                self._clients[service, region, keys] = boto3.session.Session(
                    keys.access, keys.secret, keys.token or None
                ).client(
                    service,
                    region_name=region,
                    endpoint_url=self._url,
                    config=config,
                )
            return self._clients[service, region, keys]

    def close(self) -> None:
        """Close the connections of all clients."""
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()


def _method(client: Any, action: str) -> str:
    names = client.meta.method_to_api_mapping
    return str(next(name for name, operation in names.items() if operation == action))
