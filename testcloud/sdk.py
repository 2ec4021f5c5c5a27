"""AWS calls as terraform-provider-aws makes them: its retries, and its words when they fail."""

from __future__ import annotations

import threading
import time
import uuid
from typing import TYPE_CHECKING, Any

import boto3
import botocore.config
from botocore.exceptions import BotoCoreError, ClientError

from testcloud.wire import PROVIDER_AGENT

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_RETRIES = 25
_NAMES = {"ec2": "EC2", "sts": "STS", "ssm": "SSM"}
_THROTTLES = {"RequestLimitExceeded", "Throttling", "ThrottlingException", "RequestThrottled"}
# The real one waits up to 20 s between attempts.
_PAUSE, _LONGEST_PAUSE = 0.02, 0.2


class AwsFailure(Exception):
    """A call that failed for good, in the words of the Go SDK.

    Attributes:
        code: AWS's error code, "" when there was no answer.
    """

    def __init__(self, text: str, code: str = "") -> None:
        super().__init__(text)
        self.code = code


class Cancelled(Exception):
    """The engine asked to stop."""


class Aws:
    """Calls of one region, for one engine process.

    Args:
        clients: gives a client of a service.
        attempts: what the provider's `max_retries` amounts to.
        cancelled: whether the engine asked to stop.
    """

    def __init__(
        self, clients: Callable[[str], Any], attempts: int, cancelled: Callable[[], bool]
    ) -> None:
        self._clients, self._attempts, self._cancelled = clients, attempts, cancelled

    def call(self, service: str, action: str, **asked: Any) -> dict[str, Any]:
        """Make a call, again and again where the real provider would.

        Raises:
            AwsFailure: it failed for good.
        """
        client = self._clients(service)
        method = getattr(client, _method(client, action))
        pause = _PAUSE
        for attempt in range(1, self._attempts + 1):
            try:
                return dict(method(**asked))
            except ClientError as error:
                answer = error.response
                status = int(answer["ResponseMetadata"]["HTTPStatusCode"])
                code, message = answer["Error"]["Code"], answer["Error"].get("Message", "")
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
            if transient and attempt == self._attempts:
                text = f"exceeded maximum number of attempts, {attempt}, {text}"
            if not transient or attempt == self._attempts:
                raise AwsFailure(f"operation error {_NAMES[service]}: {action}, {text}", code)
            self.pause(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)
        raise AssertionError

    def pause(self, seconds: float) -> None:
        """Wait a moment.

        Raises:
            Cancelled: the engine asked to stop.
        """
        if self._cancelled():
            raise Cancelled
        time.sleep(seconds)


def attempts_of(max_retries: str | float | None) -> int:
    """Say how often a call is made at most; the Go SDK counts attempts, and takes 0 for its 3."""
    wanted = int(float(max_retries)) if max_retries not in (None, "") else MAX_RETRIES
    return wanted or 3


class Clients:
    """The boto3 clients, one for each service and region; making one takes long."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._made: dict[tuple[str, str], Any] = {}
        self._lock = threading.Lock()

    def get(self, service: str, region: str) -> Any:
        """Give a client."""
        with self._lock:
            if (service, region) not in self._made:
                config = botocore.config.Config(
                    user_agent_extra=PROVIDER_AGENT,
                    retries={"total_max_attempts": 1},
                    max_pool_connections=64,
                )
                self._made[service, region] = boto3.Session().client(
                    service,
                    region_name=region,
                    endpoint_url=self._url,
                    aws_access_key_id="provider",
                    aws_secret_access_key="provider",  # noqa: S106 - the double wants none
                    config=config,
                )
            return self._made[service, region]

    def close(self) -> None:
        """Close their connections."""
        with self._lock:
            for client in self._made.values():
                client.close()
            self._made.clear()


def _method(client: Any, action: str) -> str:
    names = client.meta.method_to_api_mapping
    return next(name for name, operation in names.items() if operation == action)
