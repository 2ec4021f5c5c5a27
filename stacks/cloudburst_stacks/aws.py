"""One worker on AWS: an instance with an agent and a dead-man switch, and its firewall."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pulumi

# By name, not as `pulumi_aws.ec2`: that is imported lazily at its first use, which is not
# thread-safe, and the programs of several stacks run in parallel threads.
from pulumi_aws import Provider
from pulumi_aws.ec2 import (
    Instance,
    InstanceInstanceMarketOptionsArgs,
    InstanceInstanceMarketOptionsSpotOptionsArgs,
    InstanceMetadataOptionsArgs,
    InstanceRootBlockDeviceArgs,
    SecurityGroup,
    SecurityGroupEgressArgs,
    SecurityGroupIngressArgs,
)
from pulumi_aws.ssm import get_parameter_output

from cloudburst_stacks import payload

if TYPE_CHECKING:
    from cloudburst.models import MachineSpec, Rung, WorkerSpec

# Amazon Linux 2023 with Docker, so that no package is installed while the machine is billed.
# docs.aws.amazon.com/AmazonECS/latest/developerguide/retrieve-ecs-optimized_AMI.html
AMI_PARAMETER = "/aws/service/ecs/optimized-ami/amazon-linux-2023/{kind}recommended/image_id"
# The provider's default of 25 retries a full zone for most of an hour; the failover is faster.
MAX_RETRIES = 3


def ami_parameter(instance_type: str, architecture: str) -> str:
    """Return the name of the public SSM parameter with the newest AMI for an instance type.

    Args:
        instance_type: those with a GPU have an AMI of their own.
        architecture: ``amd64`` or ``arm64``.
    """
    kind = "arm64/" if architecture == "arm64" else "gpu/" if has_gpu(instance_type) else ""
    return AMI_PARAMETER.format(kind=kind)


def has_gpu(instance_type: str) -> bool:
    """Whether an instance type has NVIDIA GPUs."""
    return instance_type.startswith(("g4dn", "g5.", "g6", "gr6", "p"))


def program(spec: WorkerSpec, machine: MachineSpec) -> None:
    """Declare the instance, its security group and the stack's outputs.

    Args:
        spec: the worker.
        machine: settings of the instance.
    """
    rung = spec.rung
    provider = Provider("aws", region=rung.region, max_retries=MAX_RETRIES)
    options = pulumi.ResourceOptions(provider=provider)
    groups = machine.security_groups or (_security_group(spec, machine, options).id,)
    spot = InstanceInstanceMarketOptionsArgs(
        market_type="spot",
        spot_options=InstanceInstanceMarketOptionsSpotOptionsArgs(
            spot_instance_type="one-time", instance_interruption_behavior="terminate"
        ),
    )
    instance = Instance(
        "worker",
        region=rung.region,
        instance_type=rung.type,
        availability_zone=None if machine.subnet else rung.zone,
        ami=machine.ami or _newest_ami(rung, machine.architecture, provider),
        instance_market_options=spot if rung.market == "spot" else None,
        # The dead-man switch shuts the instance down: only termination ends the bill. A one-time
        # spot instance is terminated by it anyway, and the provider sets the attribute with a call
        # of its own after the launch, which EC2 refuses for spot instances.
        instance_initiated_shutdown_behavior=None if rung.market == "spot" else "terminate",
        user_data=pulumi.Output.secret(
            payload.script(
                minutes=machine.lease_minutes,
                config=_agent(spec, machine),
                certificate=machine.identity.certificate,
                key=machine.identity.key,
            )
        ),
        vpc_security_group_ids=[*groups],
        subnet_id=machine.subnet,
        associate_public_ip_address=True,
        key_name=machine.key_name,
        metadata_options=InstanceMetadataOptionsArgs(
            http_endpoint="enabled", http_tokens="required", http_put_response_hop_limit=1
        ),
        root_block_device=InstanceRootBlockDeviceArgs(
            volume_type="gp3",
            volume_size=machine.disk_gb,
            encrypted=True,
            kms_key_id=machine.kms_key,
            delete_on_termination=True,
        ),
        # Tagged in the call that creates them, so that orphans of a crash can be found.
        tags=machine.tags,
        volume_tags=machine.tags,
        opts=pulumi.ResourceOptions.merge(
            options, pulumi.ResourceOptions(additional_secret_outputs=["userData"])
        ),
    )
    pulumi.export("id", instance.id)
    pulumi.export("address", instance.public_ip)
    # For a later run that takes the worker over, and for a manual download.
    pulumi.export("key", pulumi.Output.secret(spec.key))
    pulumi.export("certificate", pulumi.Output.secret(machine.identity.certificate))


def _agent(spec: WorkerSpec, machine: MachineSpec) -> dict[str, Any]:
    return payload.agent_config(
        image=machine.image,
        key=spec.key,
        lease_seconds=machine.lease_seconds,
        cap_minutes=machine.lease_minutes,
        port=machine.port,
        room=spec.room,
        gpu=has_gpu(spec.rung.type),
        login=machine.login,
        command=machine.command,
        name=machine.name,
        language=machine.language,
    )


def _security_group(
    spec: WorkerSpec, machine: MachineSpec, options: pulumi.ResourceOptions
) -> SecurityGroup:
    return SecurityGroup(
        "firewall",
        region=spec.rung.region,
        name=f"cloudburst-{spec.stack}",
        description="CloudBurst: the runner alone reaches the agent",
        vpc_id=machine.vpc,
        ingress=[
            SecurityGroupIngressArgs(
                description="the agent, for the runner",
                protocol="tcp",
                from_port=machine.port,
                to_port=machine.port,
                cidr_blocks=[machine.ingress],
            )
        ],
        egress=[
            SecurityGroupEgressArgs(
                description="the container image",
                protocol="-1",
                from_port=0,
                to_port=0,
                cidr_blocks=["0.0.0.0/0"],
            )
        ],
        tags=machine.tags,
        opts=options,
    )


def _newest_ami(rung: Rung, architecture: str, provider: Provider) -> pulumi.Output[str]:
    # Looked up in the stack: AMI ids differ by region, and a rung may be in any of them.
    parameter = get_parameter_output(
        name=ami_parameter(rung.type, architecture),
        region=rung.region,
        opts=pulumi.InvokeOutputOptions(provider=provider),
    )
    # The SDK marks every parameter's value as a secret; this one is public.
    return pulumi.Output.unsecret(parameter.value)
