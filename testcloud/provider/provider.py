"""A double of the Pulumi provider `aws`, with its validation, retries, waits and error messages.

Engine processes attach to it (``PULUMI_DEBUG_PROVIDERS``); one server serves all of them. The
configuration of a provider resource is stored per stack; a resource's `region` overrides it.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn

import grpc
from google.protobuf import empty_pb2, struct_pb2
from google.protobuf.json_format import MessageToDict
from pulumi.runtime import rpc
from pulumi.runtime.proto import plugin_pb2, provider_pb2_grpc, status_pb2
from pulumi.runtime.proto import provider_pb2 as pb

from testcloud.provider import checks, groups, instances, invokes, schema, shapes
from testcloud.provider.callers import Keys, keys_of
from testcloud.provider.schema import GROUP, INSTANCE
from testcloud.provider.sdk import Aws, AwsFailure, Cancelled, Clients, attempts_of

if TYPE_CHECKING:
    from collections.abc import Mapping

VERSION = "7.51.1"
_SECRET, _SECRET_MARK = "4dabf18193072939515e22adb298388d", "1b47061264138c4ac30d75fd1eb44270"
# Outputs that are unknown until AWS has created the resource.
_UNKNOWN = {
    INSTANCE: (
        "arn",
        "instanceState",
        "privateDns",
        "privateIp",
        "publicDns",
        "publicIp",
        "spotInstanceRequestId",
        "availabilityZone",
    ),
    GROUP: ("arn", "ownerId", "vpcId"),
}
_CHANGEABLE = ("tags", "tagsAll", "volumeTags")


@dataclass
class Settings:
    """A provider's configuration for one stack."""

    region: str = "us-east-1"
    attempts: int = 25
    tags: dict[str, str] = field(default_factory=dict)


class AwsProvider(provider_pb2_grpc.ResourceProviderServicer):
    """The provider.

    Args:
        url: of the AWS API.

    Attributes:
        start_seconds: how long the plugin takes to start, which every engine process waits for.
        waiting: how it waits for an instance's state.
    """

    def __init__(self, url: str) -> None:
        self._clients = Clients(url)
        self._settings: dict[str, Settings] = {}
        self._last = Settings()
        self._cancelled: set[str] = set()
        self.start_seconds = 0.0
        self.waiting = instances.Waiting()
        self._keys: dict[str, Keys] = {}
        self._lock = threading.Lock()

    def use(self, url: str) -> None:
        """Call the AWS API at another URL."""
        self._clients.close()
        self._clients = Clients(url)

    def close(self) -> None:
        """Close the connections."""
        self._clients.close()

    # -- calls of the engine, in the order in which it makes them -------------------------------

    def GetPluginInfo(self, request: Any, context: Any) -> Any:
        return plugin_pb2.PluginInfo(version=VERSION)

    def Attach(self, request: Any, context: Any) -> Any:
        time.sleep(self.start_seconds)
        return empty_pb2.Empty()

    def Handshake(self, request: Any, context: Any) -> Any:
        return pb.ProviderHandshakeResponse(accept_secrets=False)

    def GetSchema(self, request: Any, context: Any) -> Any:
        return pb.GetSchemaResponse(schema='{"name": "aws", "version": "7.51.1"}')

    def CheckConfig(self, request: Any, context: Any) -> Any:
        # Both are strings in the recorded conversations.
        defaults = {"skipCredentialsValidation": "false", "skipRegionValidation": "true"}
        return pb.CheckResponse(inputs=_struct(defaults | _plain(request.news)))

    def DiffConfig(self, request: Any, context: Any) -> Any:
        return pb.DiffResponse(changes=pb.DiffResponse.DIFF_NONE)

    def Configure(self, request: Any, context: Any) -> Any:
        variables = {name.rpartition(":")[2]: value for name, value in request.variables.items()}
        variables |= _plain(request.args)
        settings = Settings(
            region=str(variables.get("region") or "us-east-1"),
            attempts=attempts_of(variables.get("maxRetries")),
            tags=dict(_decoded(variables.get("defaultTags")).get("tags") or {}),
        )
        with self._lock:
            self._settings[_stack(request.urn)] = self._last = settings
        keys = keys_of(context.peer())
        if keys.profile:
            text = "both a profile and keys are in the environment: the profile would be used"
            context.abort(grpc.StatusCode.UNKNOWN, f"unable to validate AWS credentials: {text}")
        with self._lock:
            self._keys[context.peer()] = keys
        # The real provider validates credentials with this call.
        if str(variables.get("skipCredentialsValidation")).lower() != "true":
            try:
                self._aws(settings, settings.region, context).call("sts", "GetCallerIdentity")
            except AwsFailure as failure:
                context.abort(
                    grpc.StatusCode.UNKNOWN,
                    "unable to validate AWS credentials.\nDetails: validating provider credentials:"
                    f" retrieving caller identity from STS: {failure}",
                )
        return pb.ConfigureResponse(
            acceptSecrets=False, supportsPreview=True, supports_autonaming_configuration=True
        )

    def Invoke(self, request: Any, context: Any) -> Any:
        args = _plain(request.args)
        settings = self._last
        aws = self._aws(settings, str(args.get("region") or settings.region), context)
        if request.tok not in invokes.FUNCTIONS:
            context.abort(
                grpc.StatusCode.UNIMPLEMENTED, f"the test cloud does not implement {request.tok}"
            )
        try:
            result = invokes.FUNCTIONS[request.tok](aws, args)
        except AwsFailure as failure:
            context.abort(grpc.StatusCode.UNKNOWN, f"invoking {request.tok}: {failure}")
        return pb.InvokeResponse(**{"return": _struct(result)})

    def Check(self, request: Any, context: Any) -> Any:
        kind = self._kind(request, context)
        inputs = _plain(request.news)
        problems = schema.problems(kind, inputs) or checks.problems(kind, inputs)
        failures = [pb.CheckFailure(property=name, reason=reason) for name, reason in problems]
        settings = self._settings_of(request.urn)
        region = str(inputs.get("region") or settings.region)
        tags = {**settings.tags, **_mapping(inputs.get("tags"))}
        filled = shapes.checked(kind, inputs, region, tags)
        if kind == GROUP and not inputs.get("name"):
            old = _plain(request.olds).get("name")
            prefix = inputs.get("namePrefix") or f"{_name(request.urn)}-"
            filled["name"] = old or f"{prefix}{secrets.token_hex(4)[:7]}"
        return pb.CheckResponse(inputs=_struct(filled), failures=failures)

    def Diff(self, request: Any, context: Any) -> Any:
        old, new = (shapes.unmarked(_plain(each)) for each in (request.old_inputs, request.news))
        changed = sorted(name for name in old.keys() | new.keys() if old.get(name) != new.get(name))
        replaces = [name for name in changed if name not in _CHANGEABLE]
        kind = pb.DiffResponse.DIFF_SOME if changed else pb.DiffResponse.DIFF_NONE
        return pb.DiffResponse(
            changes=kind, diffs=changed, replaces=replaces, deleteBeforeReplace=bool(replaces)
        )

    def Create(self, request: Any, context: Any) -> Any:
        kind = self._kind(request, context)
        inputs = shapes.unmarked(_plain(request.properties))
        settings = self._settings_of(request.urn)
        region = str(inputs.get("region") or settings.region)
        tags = {**settings.tags, **(inputs.get("tags") or {})}
        outputs = inputs | {"region": region, "tagsAll": tags}
        if request.preview:
            outputs |= {name: rpc.UNKNOWN for name in _UNKNOWN[kind] if name not in outputs}
            return pb.CreateResponse(id="", properties=_struct(outputs))
        aws = self._aws(settings, region, context)
        try:
            identity = (instances if kind == INSTANCE else groups).create(aws, inputs, tags)
        except (AwsFailure, Cancelled) as failure:
            _refuse(context, _message(failure))
        try:
            if kind == INSTANCE:
                instances.wait_running(aws, identity, self.waiting)
                instances.update_created(aws, identity, inputs)
            else:
                groups.set_rules(aws, identity, inputs)
            outputs = self._read(aws, kind, identity, outputs) or outputs
        except (AwsFailure, Cancelled) as failure:
            # The resource exists: the engine must record it, or it would never be deleted.
            _fail_initialization(context, identity, outputs, inputs, _message(failure))
        return pb.CreateResponse(id=identity, properties=_struct(outputs))

    def Read(self, request: Any, context: Any) -> Any:
        kind = self._kind(request, context)
        state, settings = _plain(request.properties), self._settings_of(request.urn)
        aws = self._aws(settings, str(state.get("region") or settings.region), context)
        try:
            outputs = self._read(aws, kind, request.id, state)
        except (AwsFailure, Cancelled) as failure:
            _refuse(context, f"reading {request.id}: {_message(failure)}")
        if outputs is None:
            return pb.ReadResponse()  # an empty id means that the resource does not exist
        return pb.ReadResponse(id=request.id, properties=_struct(outputs), inputs=request.inputs)

    def Update(self, request: Any, context: Any) -> Any:
        news, settings = shapes.unmarked(_plain(request.news)), self._settings_of(request.urn)
        aws = self._aws(settings, str(news.get("region") or settings.region), context)
        tags = {**settings.tags, **(news.get("tags") or {})}
        if not request.preview and tags:
            pairs = [{"Key": key, "Value": value} for key, value in tags.items()]
            try:
                aws.call("ec2", "CreateTags", Resources=[request.id], Tags=pairs)
            except (AwsFailure, Cancelled) as failure:
                _refuse(context, f"updating tags for {request.id}: {_message(failure)}")
        outputs = _plain(request.olds) | news | {"tagsAll": tags}
        return pb.UpdateResponse(properties=_struct(outputs))

    def Delete(self, request: Any, context: Any) -> Any:
        kind = self._kind(request, context)
        state, settings = _plain(request.properties), self._settings_of(request.urn)
        aws = self._aws(settings, str(state.get("region") or settings.region), context)
        try:
            if kind == INSTANCE:
                instances.delete(aws, request.id, state, self.waiting)
            else:
                groups.delete(aws, request.id)
        except (AwsFailure, Cancelled) as failure:
            _refuse(context, _message(failure))
        return empty_pb2.Empty()

    def Cancel(self, request: Any, context: Any) -> Any:
        # Every engine process has its own connection, so only this one is cancelled.
        with self._lock:
            self._cancelled.add(context.peer())
        return empty_pb2.Empty()

    # -- helpers --------------------------------------------------------------------------------

    def _aws(self, settings: Settings, region: str, context: Any) -> Aws:
        peer = context.peer()
        keys = self._keys.get(peer, Keys())
        return Aws(
            lambda service: self._clients.get(service, region, keys),
            settings.attempts,
            lambda: peer in self._cancelled,
        )

    def _settings_of(self, urn: str) -> Settings:
        with self._lock:
            return self._settings.get(_stack(urn), self._last)

    def _kind(self, request: Any, context: Any) -> str:
        kind = request.urn.split("::")[2].rpartition("$")[2]
        if kind not in (INSTANCE, GROUP):
            context.abort(
                grpc.StatusCode.UNIMPLEMENTED, f"the test cloud does not implement {kind}"
            )
        return str(kind)

    def _read(
        self, aws: Aws, kind: str, identity: str, known: Mapping[str, Any]
    ) -> dict[str, Any] | None:
        """Return the outputs of a resource of which inputs or state are known; None if gone."""
        found = (instances if kind == INSTANCE else groups).read(aws, identity)
        return None if found is None else shapes.created(kind, identity, {**known, **found})


def _message(failure: Exception) -> str:
    return "context canceled" if isinstance(failure, Cancelled) else str(failure)


def _refuse(context: Any, text: str) -> NoReturn:
    context.abort(grpc.StatusCode.UNKNOWN, f"1 error occurred:\n\t* {text}\n\n")
    raise AssertionError


def _fail_initialization(
    context: Any,
    identity: str,
    outputs: Mapping[str, Any],
    inputs: Mapping[str, Any],
    text: str,
) -> NoReturn:
    """Abort with details from which the engine records the resource that exists nevertheless."""
    reason = f"1 error occurred:\n\t* {text}\n\n"
    detail = pb.ErrorResourceInitFailed(
        id=identity, properties=_struct(outputs), inputs=_struct(inputs), reasons=[reason]
    )
    status = status_pb2.Status(code=grpc.StatusCode.UNKNOWN.value[0], message=reason)
    status.details.add().Pack(detail)
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(grpc.StatusCode.UNKNOWN, reason)
    raise AssertionError


def _stack(urn: str) -> str:
    return urn.split("::", maxsplit=1)[0]


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _name(urn: str) -> str:
    return urn.rpartition("::")[2]


def _plain(struct: struct_pb2.Struct) -> dict[str, Any]:
    """Return properties as Python values: secrets unwrapped, integral floats as int."""
    return dict(_unwrapped(MessageToDict(struct)))


def _unwrapped(value: Any) -> Any:
    if isinstance(value, dict):
        if value.get(_SECRET) == _SECRET_MARK:
            return _unwrapped(value.get("value"))
        return {name: _unwrapped(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_unwrapped(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _decoded(value: Any) -> dict[str, Any]:
    """Return a nested setting, which the engine sends as JSON in a string."""
    return dict(json.loads(value) if isinstance(value, str) and value else value or {})


def _struct(properties: Mapping[str, Any]) -> struct_pb2.Struct:
    struct = struct_pb2.Struct()
    struct.update(dict(properties))
    return struct


def serve(provider: AwsProvider) -> tuple[grpc.Server, int]:
    """Serve the provider on a loopback port; return the server and the port."""
    # A Create call blocks its thread until the instance runs, and many may run at once.
    server = grpc.server(ThreadPoolExecutor(max_workers=64, thread_name_prefix="aws-provider"))
    provider_pb2_grpc.add_ResourceProviderServicer_to_server(provider, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    return server, port
