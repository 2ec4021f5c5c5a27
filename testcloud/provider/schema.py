"""Resources by pulumi_aws's classes: unknown, missing and mistyped inputs, names of outputs."""

from __future__ import annotations

import enum
import inspect
import threading
import typing
import warnings
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

from pulumi import _types
from pulumi.runtime import rpc

INSTANCE = "aws:ec2/instance:Instance"
GROUP = "aws:ec2/securityGroup:SecurityGroup"
# pulumi_aws imports its modules on first use, which is not thread-safe.
_LOADING = threading.Lock()


@cache
def _load() -> dict[str, tuple[type, type]]:
    with warnings.catch_warnings():
        # pulumi_aws warns about its own deprecated modules on import.
        warnings.simplefilter("ignore", DeprecationWarning)
        import pulumi_aws

        ec2 = pulumi_aws.ec2
        return {
            INSTANCE: (ec2.InstanceArgs, ec2.Instance),
            GROUP: (ec2.SecurityGroupArgs, ec2.SecurityGroup),
        }


def arguments(kind: str) -> type:
    """Return the class that describes a resource's arguments."""
    with _LOADING:
        return _load()[kind][0]


def outputs(kind: str) -> list[str]:
    """List the names of a resource's outputs."""
    with _LOADING:
        described = _load()[kind][1]
    properties = (each for each in vars(described).values() if isinstance(each, property))
    names = (getattr(each.fget, "_pulumi_name", None) for each in properties)
    return [name for name in names if name]


def problems(kind: str, inputs: Mapping[str, Any]) -> list[tuple[str, str]]:
    """List the problems of a resource's inputs as (property, reason)."""
    return list(_in_class(arguments(kind), inputs, ""))


@cache
def _shape(described: type) -> tuple[dict[str, Any], frozenset[str]]:
    """Return a class's properties with their types, and the required ones."""
    kinds = _types.input_type_types(described)
    names = _types.input_type_py_to_pulumi_names(described)
    # __init__ of the generated classes is overloaded; _internal_init has the names and defaults.
    initializer = getattr(described, "_internal_init", None) or vars(described)["__init__"]
    signature = inspect.signature(initializer).parameters
    required = [
        n for n, p in signature.items() if n in names and p.default is inspect.Parameter.empty
    ]
    return dict(kinds), frozenset(names[name] for name in required)


def _in_class(
    described: type, inputs: Mapping[str, Any], path: str
) -> typing.Iterator[tuple[str, str]]:
    kinds, required = _shape(described)
    for name, value in inputs.items():
        if name.startswith("__"):
            continue
        if name not in kinds:
            yield path + name, f"Invalid or unknown key. Examine values at '{path}{name}'"
        elif value is not None:
            yield from _in_value(kinds[name], value, path + name)
    for name in sorted(required):
        if inputs.get(name) is None:
            yield path + name, f"Missing required argument. The argument '{path}{name}' is required"


def _in_value(kind: Any, value: Any, path: str) -> typing.Iterator[tuple[str, str]]:
    if value == rpc.UNKNOWN:
        return
    kind = _plain(kind)
    origin = typing.get_origin(kind)
    nested = isinstance(kind, type) and _types.is_input_type(kind)
    if nested or (origin is not None and issubclass(origin, Mapping)):
        if not isinstance(value, Mapping):
            yield path, _expected("object" if nested else "map", value)
        elif nested:
            yield from _in_class(kind, value, f"{path}.")
        else:
            for key, each in value.items():
                yield from _in_value(typing.get_args(kind)[1], each, f"{path}.{key}")
    elif origin is not None and issubclass(origin, Sequence):
        yield from _in_list(typing.get_args(kind)[0], value, path)
    elif not _matches(kind, value):
        yield path, _expected(getattr(kind, "__name__", str(kind)), value)


def _in_list(kind: Any, value: Any, path: str) -> typing.Iterator[tuple[str, str]]:
    if not isinstance(value, list):
        yield path, _expected("list", value)
        return
    for index, each in enumerate(value):
        yield from _in_value(kind, each, f"{path}[{index}]")


def _plain(kind: Any) -> Any:
    """Return an input type without None, Awaitable and Output."""
    if typing.get_origin(kind) is typing.Union:
        for each in typing.get_args(kind):
            outer = typing.get_origin(each) or each
            named = getattr(outer, "__name__", "")
            if outer is not type(None) and named not in ("Awaitable", "Output"):
                return _plain(each)
    return kind


def _matches(kind: Any, value: Any) -> bool:
    if kind is bool:
        return isinstance(value, bool)
    if kind in (int, float):
        whole = kind is float or float(value).is_integer() if _number(value) else False
        return _number(value) and whole
    if kind is str or (isinstance(kind, type) and issubclass(kind, enum.Enum)):
        return isinstance(value, str)
    return True


def _number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _expected(kind: str, value: Any) -> str:
    return f"expected type {kind!r}, got unconvertible type {type(value).__name__!r}"
