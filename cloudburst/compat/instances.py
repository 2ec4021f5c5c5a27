"""The original's instance types, in the order in which they are tried. Pure."""

from __future__ import annotations

from typing import Any

Config = dict[str, Any]

# vCPUs and memory: aws.amazon.com/ec2/instance-types. No prices: they are looked up.
CONFIGS: tuple[Config, ...] = (
    {
        "priority": 1,
        "instance_type": "c5.2xlarge",
        "name": "CPU_HIGH_PERFORMANCE",
        "description": "Compute optimized: 8 vCPUs, 16 GB of memory",
        "category": "CPU-Optimized",
        "expected_performance": "Highest of the three",
        "cost_efficiency": "Medium",
        "fallback_reason": "Most vCPUs for rendering",
    },
    {
        "priority": 2,
        "instance_type": "m5.xlarge",
        "name": "MEMORY_OPTIMIZED",
        "description": "General purpose: 4 vCPUs, 16 GB of memory",
        "category": "Memory-Optimized",
        "expected_performance": "Balanced",
        "cost_efficiency": "Best",
        "fallback_reason": "Half the vCPUs of the first choice, within smaller quotas",
    },
    {
        "priority": 3,
        "instance_type": "g4dn.xlarge",
        "name": "GPU_NVIDIA_T4",
        "description": "NVIDIA T4: 4 vCPUs, 16 GB of memory, 16 GB of GPU memory",
        "category": "GPU-Optimized",
        "expected_performance": "As its 4 vCPUs unless the image encodes on the GPU",
        "cost_efficiency": "Medium",
        "fallback_reason": "A quota of its own",
    },
)
FALLBACKS: tuple[Config, ...] = (
    {
        "instance_type": "t3.xlarge",
        "name": "FALLBACK_GENERAL",
        "description": "Burstable: 4 vCPUs, 16 GB of memory",
        "category": "Fallback",
    },
    {
        "instance_type": "t3.large",
        "name": "FALLBACK_SMALL",
        "description": "Burstable: 2 vCPUs, 8 GB of memory",
        "category": "Fallback",
    },
    {
        "instance_type": "m5.large",
        "name": "FALLBACK_MEMORY",
        "description": "General purpose: 2 vCPUs, 8 GB of memory",
        "category": "Fallback",
    },
)


_KNOWN = {str(config["instance_type"]): config for config in (*CONFIGS, *FALLBACKS)}


def by_priority(priority: int) -> Config:
    """Return the configuration of a priority; of any other number the first one's."""
    return dict(next((one for one in CONFIGS if one["priority"] == priority), CONFIGS[0]))


def named(instance_type: str, base: Config) -> Config:
    """Return the configuration of an instance type.

    Args:
        instance_type: of AWS, or what another target calls its workers.
        base: has the priority.
    """
    known = _KNOWN.get(instance_type)
    unknown = {"instance_type": instance_type, "name": instance_type, "description": instance_type}
    return {"priority": base["priority"], **(known or unknown)}


def ladder(first: str) -> list[str]:
    """Return all instance types in the order in which they are tried, `first` ahead of them."""
    return [first, *(name for name in _KNOWN if name != first)]


def used(config: Config, instance_type: str) -> Config:
    """Return the configuration of the machine that there was.

    Args:
        config: that was asked for.
        instance_type: that was launched.
    """
    if instance_type == config["instance_type"]:
        return dict(config)
    actual = named(instance_type, config)
    if instance_type in _KNOWN:
        actual |= {"original_instance_type": config["instance_type"], "fallback_used": True}
    return actual
