"""Public parameters of Systems Manager, from moto's recording of AWS's.

moto makes all 5,518 of a region anew for each account that is asked for one, which takes a fifth
of a second.
"""

from __future__ import annotations

import time
from functools import cache
from typing import TYPE_CHECKING, Any

from moto.ssm.utils import convert_to_params
from moto.utilities.utils import load_resource

if TYPE_CHECKING:
    from testcloud.apis.wire import Request

_PUBLIC = "/aws/service/ecs/optimized-ami/"


def get_parameter(request: Request) -> dict[str, Any] | None:
    """Return the response of GetParameter; None for what moto answers: all else, and errors."""
    name = str(request.params.get("Name", ""))
    value = _images(request.region).get(name) if name.startswith(_PUBLIC) else None
    if value is None:
        return None
    parameter = {
        "ARN": f"arn:aws:ssm:{request.region}::parameter{name}",
        "DataType": "text",
        "LastModifiedDate": time.time(),
        "Name": name,
        "Type": "String",
        "Value": value,
        "Version": 1,
    }
    return {"Parameter": parameter}


@cache
def _images(region: str) -> dict[str, str]:
    try:
        recorded = load_resource(f"ssm/resources/ecs/optimized_amis/{region}.json")
    except FileNotFoundError:
        return {}
    return {
        item["Name"]: item["Value"]
        for item in convert_to_params(recorded)
        if isinstance(item["Value"], str)
    }
