"""The test cloud: AWS on one machine for the duration of a test or a command."""

from __future__ import annotations

import math
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from moto.core.base_backend import BackendDict

from testcloud.apis import prices, spot
from testcloud.apis.api import ADMINISTRATOR, Api, Call, Server
from testcloud.apis.ec2 import ALIVE, Ec2
from testcloud.apis.iam import Policy
from testcloud.faults import Fault, Faults, MachineFault
from testcloud.machines.hypervisor import Hypervisor
from testcloud.machines.metadata import PREFIX, Metadata
from testcloud.provider.instances import Waiting
from testcloud.provider.provider import AwsProvider, serve

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from testcloud.apis.iam import Access
    from testcloud.machines.machine import Machine
    from testcloud.machines.network import Wire

__all__ = ["ADMINISTRATOR", "Bill", "Call", "Cloud", "Fault", "MachineFault"]

_SHORTEST_BILL = 60
_ENDED_WITHIN = 10.0


@dataclass(frozen=True)
class Bill:
    """The cost of a machine by AWS's billing rules.

    Attributes:
        launched, ended: epoch seconds; ended is None while it runs.
        seconds: billed seconds, at least 60; up to now while it runs.
        usd_per_hour: the list price, or the spot price.
    """

    machine: str
    type: str
    zone: str
    market: str
    launched: float
    ended: float | None
    seconds: int
    usd_per_hour: float
    usd: float


class Cloud:
    """AWS on one machine.

    Args:
        folder: where machines keep their files.
        minute: seconds that one minute of a machine's ``shutdown +N`` lasts.
        policy: IAM policy of the callers, as JSON; None allows everything. It does not apply to
            calls with the key `ADMINISTRATOR`.
        installs: whether pip in a container that begins as Python alone installs what it is asked
            to; otherwise it links the same versions from this environment, in a moment.

    Attributes:
        calls: every API call received, in order.
        faults: faults to inject into API calls.
        machine_faults: faults of machines that boot from now on.
        images: by name of a container image, the command of its server instead of the video API
            of this environment; ``{address}`` and ``{port}`` in it are replaced.
        expect_remaining: the test leaves resources behind on purpose.
    """

    def __init__(
        self,
        folder: Path,
        *,
        minute: float = 60.0,
        policy: str | None = None,
        installs: bool = False,
    ) -> None:
        self.calls: list[Call] = []
        self.faults = Faults()
        self.machine_faults: list[MachineFault] = []
        self.images: dict[str, list[str]] = {}
        self.expect_remaining = False
        self._folder, self._minute = folder, minute
        self._installs = installs
        self._policy = None if policy is None else Policy.parse(policy)

    def __enter__(self) -> Self:
        BackendDict.reset()
        self._hypervisor = Hypervisor(self._minute, self.machine_faults, self.images)
        self._hypervisor.installs = self._installs
        api = self._api = Api(self.faults, self.calls)
        api.policy = self._policy
        self._server = Server(api)
        control = f"{self._server.url}{PREFIX.rstrip('/')}"
        self._ec2 = api.ec2 = Ec2(self._hypervisor, self._folder, control)
        api.metadata = Metadata(self._hypervisor, api.registry)
        self._server.start()
        self._provider = AwsProvider(self._server.url)
        self._grpc, self._port = serve(self._provider)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # ExitStack runs every callback even if one raises.
        with ExitStack() as closing:
            closing.callback(BackendDict.reset)
            closing.callback(self._server.close)
            closing.callback(self._hypervisor.close)
            closing.callback(self._provider.close)
            closing.callback(self._grpc.stop(0.5).wait)
        if error is None and self._hypervisor.clock.errors:
            raise RuntimeError(self._hypervisor.clock.errors[0])

    def environment(self) -> dict[str, str]:
        """Return the environment variables that point a program at this cloud."""
        return {
            "AWS_ENDPOINT_URL": self._server.url,
            "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
            "AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            "AWS_REGION": "us-east-1",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": "/dev/null",
            "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
            "PULUMI_DEBUG_PROVIDERS": f"aws:{self._port}",
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "CLOUDBURST_CHECKIP_URL": f"{self._server.url}/checkip",
        }

    @property
    def url(self) -> str:
        """The API's URL."""
        return self._server.url

    def through(self, url: str) -> None:
        """Let the provider's calls go through a proxy of the API at a URL."""
        self._provider.use(url)

    def set_policy(self, policy: Policy | None) -> None:
        """Change what callers may do from now on; None allows everything."""
        self._api.policy = policy

    def expire(self, key: str) -> None:
        """Let the session of an access key expire: it is refused everything from now on."""
        self._api.expired.add(key)

    @property
    def accesses(self) -> list[tuple[Access, bool]]:
        """What callers asked for under the policy, in order, and whether it was allowed."""
        return self._api.accesses

    # -- resources ------------------------------------------------------------------------------

    @property
    def machines(self) -> list[Machine]:
        """All machines ever launched, in order."""
        return list(self._hypervisor.machines)

    def running(self) -> list[Machine]:
        """Return the machines that are pending or running."""
        return [machine for machine in self.machines if machine.state in ALIVE]

    def remaining(self) -> list[str]:
        """List the resources that still exist in the API, and processes of machines.

        Waits for machines that are shutting down.
        """
        self._settle()
        with self._hypervisor.lock:
            resources = self._ec2.remaining()
        for machine in self.machines:
            resources += [f"process {pid} of {machine.id}" for pid in machine.alive()]
        return resources

    # Scripts that order faults were written for release 0.1, in which this was its name.
    left = remaining

    def _settle(self) -> None:
        deadline = time.monotonic() + _ENDED_WITHIN
        while any(m.state in ("shutting-down", "stopping") for m in self.machines):
            if time.monotonic() > deadline:
                return
            time.sleep(0.01)

    def bills(self) -> list[Bill]:
        """Return the bill of every machine, up to now if it runs."""
        return [_bill(machine) for machine in self.machines]

    @property
    def quotas(self) -> dict[str, float]:
        """VCPUs allowed, by quota code."""
        return self._ec2.quotas

    # -- delays ---------------------------------------------------------------------------------

    @property
    def visible_after(self) -> float:
        """Seconds for which DescribeInstances does not show a new instance."""
        return self._ec2.visible_after

    @visible_after.setter
    def visible_after(self, seconds: float) -> None:
        self._ec2.visible_after = seconds

    def hide(self, seconds: float) -> None:
        """Hide instances younger than so many seconds."""
        self.visible_after = seconds

    @property
    def boot_seconds(self) -> float:
        """Seconds for which an instance is pending."""
        return self._hypervisor.boot_seconds

    @boot_seconds.setter
    def boot_seconds(self, seconds: float) -> None:
        self._hypervisor.boot_seconds = seconds

    @property
    def shutdown_seconds(self) -> float:
        """Minimum seconds for which an instance is shutting-down."""
        return self._hypervisor.shutdown_seconds

    @shutdown_seconds.setter
    def shutdown_seconds(self, seconds: float) -> None:
        self._hypervisor.shutdown_seconds = seconds

    def real_time(self, scale: float) -> None:
        """Let everything take as long as on AWS, times a factor.

        About 18 s from RunInstances to running and 45 s from TerminateInstances to terminated, 5 s
        for the start of the provider plugin; the provider looks 10 s after each call for the first
        time and every 3 s from then on (terraform-provider-aws, internal/service/ec2/wait.go: Delay
        and MinTimeout of the instance waiters). The first three were not measured on an account.
        """
        self._hypervisor.boot_seconds = 15 * scale
        self._hypervisor.shutdown_seconds = 45 * scale
        self._provider.start_seconds = 5 * scale
        self._provider.waiting = Waiting(delay=10 * scale, every=3 * scale)

    @property
    def caller(self) -> str:
        """The runner's public address, as /checkip returns it."""
        return self._hypervisor.caller

    @caller.setter
    def caller(self, address: str) -> None:
        self._hypervisor.caller = address

    # -- events ---------------------------------------------------------------------------------

    def spot_notice(self, machine: Machine, seconds: float = 2.0) -> None:
        """Reclaim a spot machine: notice now, termination so many seconds later."""
        self._hypervisor.notify_spot(machine, seconds)

    def kill(self, machine: Machine, reason: str = "Server.InternalError") -> None:
        """Terminate a machine as a hardware failure does."""
        self._hypervisor.end(machine, reason)

    def power_off(self, machine: Machine) -> None:
        """Power a machine off from within."""
        self._hypervisor.power_off(machine)

    def reboot(self, machine: Machine) -> None:
        """Reboot a machine."""
        self._hypervisor.reboot(machine)

    def wires(self, machine: Machine) -> list[Wire]:
        """Return what is between the runner and a machine, a wire for each port; see `wired`."""
        return self._hypervisor.wires(machine)

    def all_wires(self) -> list[Wire]:
        """Return the wires of all machines, also of those that have ended."""
        return list(self._hypervisor.all_wires)

    @property
    def wired(self) -> bool:
        """Whether machines that boot from now on are behind wires, which a test may cut."""
        return self._hypervisor.wired

    @wired.setter
    def wired(self, wired: bool) -> None:
        self._hypervisor.wired = wired

    @property
    def namespaces(self) -> bool:
        """Whether machines get system folders of their own, where this computer allows it."""
        return self._hypervisor.namespaces

    @namespaces.setter
    def namespaces(self, namespaces: bool) -> None:
        self._hypervisor.namespaces = namespaces

    def end_lease(self, machine: Machine) -> None:
        """Run the power-off that a machine's user-data has scheduled now."""
        self._hypervisor.run_scheduled_power_off(machine)


def _bill(machine: Machine) -> Bill:
    until = machine.ended if machine.ended is not None else time.time()
    # Floating-point noise must not round up to another billed second.
    seconds = max(_SHORTEST_BILL, math.ceil(until - machine.launched - 1e-6))
    on_demand = prices.on_demand(machine.type, machine.region)
    hourly = spot.price(machine.type, machine.zone) if machine.market == "spot" else on_demand
    return Bill(
        machine=machine.id,
        type=machine.type,
        zone=machine.zone,
        market=machine.market,
        launched=machine.launched,
        ended=machine.ended,
        seconds=seconds,
        usd_per_hour=hourly or 0.0,
        usd=(hourly or 0.0) * seconds / 3600,
    )
