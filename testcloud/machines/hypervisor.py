"""Runs machines: boots them, powers them off, terminates them, and ends all of their processes."""

from __future__ import annotations

import contextlib
import ipaddress
import math
import secrets
import signal
import socket
import threading
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from moto.ec2.models.instances import StateReason

from testcloud.machines.clock import Clock
from testcloud.machines.machine import send
from testcloud.machines.network import BlackHole, Wire, make_certificate

if TYPE_CHECKING:
    from collections.abc import Callable

    from testcloud.faults import MachineFault
    from testcloud.machines.machine import Machine

PORT = 5000
STATES = {"pending": 0, "running": 16, "shutting-down": 32, "terminated": 48, "stopping": 64}
STATES |= {"stopped": 80}
_POLL = 0.05
_REASONS = {
    "Client.UserInitiatedShutdown": "User initiated shutdown",
    "Client.InstanceInitiatedShutdown": "Instance initiated shutdown",
    "Server.SpotInstanceTermination": "Spot instance termination",
    "Server.InternalError": "Internal error on launch",
}
_SPOT_STATUS = {
    "Client.UserInitiatedShutdown": "instance-terminated-by-user",
    "Client.InstanceInitiatedShutdown": "instance-terminated-by-user",
    "Server.SpotInstanceTermination": "instance-terminated-no-capacity",
}


class Hypervisor:
    """Runs machines.

    Args:
        minute: seconds that one minute of a machine lasts.
        faults: faults of machines that boot.
        images: commands of container images, see `Cloud`.

    Attributes:
        machines: all machines ever launched.
        lock: held while the state that the API shows is read or changed.
        boot_seconds: how long an instance is pending.
        shutdown_seconds: minimum time an instance is shutting-down.
        caller: the address from which the runner reaches machines.
        wired: whether every machine is behind a `Wire`, which a test may cut.
        installs: whether pip in containers installs packages, see `Cloud`.
        namespaces: whether machines get system folders of their own, see `Machine`.
    """

    def __init__(
        self, minute: float, faults: list[MachineFault], images: dict[str, list[str]]
    ) -> None:
        self.minute = minute
        self.machines: list[Machine] = []
        self.faults = faults
        self.images = images
        self.lock = threading.RLock()
        self.clock = Clock()
        self.boot_seconds = 0.1
        self.shutdown_seconds = 0.2
        self.caller = "127.0.0.1"
        self.wired = False
        self.namespaces = True
        self.installs = True
        self._power_offs: dict[str, Callable[[], None]] = {}
        self._wires: dict[tuple[str, int], Wire] = {}
        self.all_wires: list[Wire] = []  # those of machines that have ended, too
        self._holes: dict[tuple[str, int], BlackHole] = {}
        self._troubled: set[str] = set()

    # -- life cycle of a machine ----------------------------------------------------------------

    def launch(self, machine: Machine) -> None:
        """Add a machine and schedule its boot."""
        self.machines.append(machine)
        set_state(machine, "pending")
        self.clock.after(self.boot_seconds, lambda: self._boot(machine))

    def _boot(self, machine: Machine) -> None:
        with self.lock:
            if machine.state != "pending":
                return
            for fault in self.faults:
                if fault.take(machine.facts):
                    machine.faults[fault.kind] = fault.seconds
                    machine.lasts[fault.kind] = fault.lasts
            if machine.instance.public_wanted:
                machine.address = free_address({other.address for other in self.machines})
                machine.instance.nics[0].public_ip = machine.address
            machine.images, machine.installs = self.images, self.installs
            machine.minute, machine.namespace = self.minute, self.namespaces
            set_state(machine, "running")
        self.clock.after(machine.faults.get("slow_boot", 0.0), machine.start)

    def end(self, machine: Machine, reason: str, *, stop: bool = False) -> None:
        """Shut a machine down, to terminated or stopped; no-op while it already shuts down."""
        with self.lock:
            if machine.state in ("shutting-down", "terminated", "stopping"):
                return
            machine.ended = machine.ended or time.time()
            machine.reason = reason
            set_state(machine, "stopping" if stop else "shutting-down", reason)
            if machine.spot_request is not None:
                code = _SPOT_STATUS.get(reason, "instance-terminated-no-capacity")
                machine.spot_request.close(code)
        began = time.monotonic()

        def finish() -> None:
            machine.stop()
            delay = self.shutdown_seconds - (time.monotonic() - began)
            self.clock.after(delay, lambda: self._ended(machine, reason, stop=stop))

        self.clock.after(0, finish)

    def _ended(self, machine: Machine, reason: str, *, stop: bool) -> None:
        with self.lock:
            self._unplug(machine)
            if stop:
                machine.instance.nics[0].public_ip = None
                set_state(machine, "stopped", reason)
            else:
                machine.instance.terminate()
                machine.instance.security_groups = []
                set_state(machine, "terminated", reason)
            machine.address = ""

    def notify_spot(self, machine: Machine, seconds: float) -> None:
        """Give a spot machine notice; terminate it after so many seconds."""
        with self.lock:
            if machine.spot_request is None:
                raise ValueError(f"{machine.id} is not a spot instance")
            machine.notice = time.time() + seconds
            machine.spot_request.code = "marked-for-termination"
        self.clock.after(seconds, lambda: self.end(machine, "Server.SpotInstanceTermination"))

    # -- requests of machines -------------------------------------------------------------------

    def find(self, identity: str) -> Machine | None:
        """Return the machine with an instance id, or None."""
        return next((machine for machine in self.machines if machine.id == identity), None)

    def schedule_power_off(self, machine: Machine, minutes: float, *, reboot: bool = False) -> None:
        """Power a machine off, or reboot it, after so many of its minutes, unless cancelled."""

        def off() -> None:
            if self._power_offs.get(machine.id) is off:
                self.reboot(machine) if reboot else self.power_off(machine)

        with self.lock:
            self._power_offs[machine.id] = off
        self.clock.after(minutes * self.minute, off)

    def cancel_power_off(self, machine: Machine) -> None:
        """Cancel a scheduled power-off."""
        with self.lock:
            self._power_offs.pop(machine.id, None)

    def run_scheduled_power_off(self, machine: Machine) -> None:
        """Run a machine's scheduled power-off now; KeyError if none is scheduled."""
        self._power_offs[machine.id]()

    def power_off(self, machine: Machine) -> None:
        """Power off from within: stops or terminates, by the instance's shutdown behaviour.

        An instance of a one-time spot request cannot be stopped, so it is terminated
        (docs.aws.amazon.com/AWSEC2/latest/UserGuide/interruption-behavior: stopping needs a
        persistent request). Not seen on a live account.
        """
        behaviour = machine.instance.instance_initiated_shutdown_behavior
        stop = behaviour != "terminate" and machine.market != "spot"
        self.end(machine, "Client.InstanceInitiatedShutdown", stop=stop)

    def container_starts(self, machine: Machine, port: int, *, local: bool) -> dict[str, object]:
        """Return the address for a machine's container to listen on, and schedule its faults.

        Args:
            machine: of the container.
            port: that is published, 0 for none.
            local: published on the machine's loopback interface alone.
        """
        if "dies" in machine.faults:
            seconds = machine.faults["dies"]
            self.clock.after(seconds, lambda: self.end(machine, "Server.InternalError"))
        if "silent" in machine.faults:
            self.clock.after(machine.faults["silent"], lambda: self._freeze(machine))
        if local or not port:
            return {"address": "127.0.0.1", "port": free_port("127.0.0.1")}
        return self.listen(machine, port)

    def listen(self, machine: Machine, port: int) -> dict[str, object]:
        """Return where a program of a machine has to listen, which listens on a port there.

        That port of the public address leads to it, if a security group admits the caller. Faults
        of the network, and of what listens, begin now.
        """
        with self.lock:
            public = bool(machine.address)
            place = (machine.address, port)
            reachable = public and admits(machine, self.caller, port)
            if reachable and not self._wired(machine):
                self._begin_faults(machine)
                return {"address": machine.address, "port": port}
            inner = ("127.0.0.1", free_port("127.0.0.1"))
            if public and not reachable:
                if place not in self._holes:
                    self._holes[place] = BlackHole(*place)
            elif reachable:
                if place not in self._wires:
                    self._wires[place] = self._wire(machine, port)
                    self.all_wires.append(self._wires[place])
                self._wires[place].target = inner
            self._begin_faults(machine)
        return {"address": inner[0], "port": inner[1]}

    def _wired(self, machine: Machine) -> bool:
        return self.wired or bool({"nat", "intercepted", "cut"} & set(machine.faults))

    def _wire(self, machine: Machine, port: int) -> Wire:
        certificate = None
        if "intercepted" in machine.faults:
            certificate = make_certificate(machine.folder / "proxy.pem")
        idle = machine.faults.get("nat", 0.0)
        return Wire(machine.address, port, idle=idle, certificate=certificate)

    def _begin_faults(self, machine: Machine) -> None:
        """Begin, once for each machine, what happens some time after its port was opened."""
        if machine.id in self._troubled:
            return
        self._troubled.add(machine.id)
        faults = machine.faults
        if "cut" in faults:
            lasts = machine.lasts["cut"] or math.inf
            self.clock.after(faults["cut"], lambda: self._cut(machine, lasts))
        if "reboot" in faults:
            self.clock.after(faults["reboot"], lambda: self.reboot(machine))
        if "agent_killed" in faults:
            self.clock.after(faults["agent_killed"], lambda: kill_services(machine))

    def _cut(self, machine: Machine, seconds: float) -> None:
        for wire in self.wires(machine):
            wire.cut(seconds)

    def wires(self, machine: Machine) -> list[Wire]:
        """Return the wires to a machine."""
        return [wire for (address, _), wire in self._wires.items() if address == machine.address]

    def reboot(self, machine: Machine) -> None:
        """Reboot a machine; it stays running, as EC2 shows it."""
        with self.lock:
            if machine.state != "running":
                return
            # What logind has scheduled is in memory.
            self._power_offs.pop(machine.id, None)
        self.clock.after(0, machine.reboot)

    def _unplug(self, machine: Machine) -> None:
        """Free what a machine's address leads to."""
        for plugs in (self._wires, self._holes):
            for place in [place for place in plugs if place[0] == machine.address]:
                plugs.pop(place).close()

    def _freeze(self, machine: Machine) -> None:
        """Freeze a machine, but not before its container has a process to freeze."""
        if machine.container_pid is None and machine.state == "running":
            self.clock.after(_POLL, lambda: self._freeze(machine))
        else:
            machine.freeze()

    # -- closing --------------------------------------------------------------------------------

    def close(self) -> None:
        """End every machine."""
        self.clock.close()
        with contextlib.ExitStack() as closing:
            for machine in self.machines:
                machine.ended = machine.ended or time.time()
                closing.callback(machine.stop)
                closing.callback(self._unplug, machine)


def set_state(machine: Machine, name: str, reason: str = "") -> None:
    """Set an instance's state as the API shows it."""
    instance = machine.instance
    # Not in place: responses may hold the old state object as the previous state.
    instance._state = type(instance._state)(name, STATES[name])
    if reason:
        text = _REASONS.get(reason, reason)
        instance.state_reason = StateReason(f"{reason}: {text}", reason)
        moment = datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S GMT")
        by_user = reason == "Client.UserInitiatedShutdown"
        instance._reason = f"User initiated ({moment})" if by_user else reason
    if name == "pending":
        instance.state_reason = StateReason("pending", "pending")
    elif name == "running":
        instance.state_reason = None


def admits(machine: Machine, caller: str, port: int) -> bool:
    """Whether a security group of a machine admits a caller on a TCP port."""
    address = ipaddress.ip_address(caller)
    for group in groups_of(machine.instance):
        for rule in group.ingress_rules:
            network = (rule.ip_range or {}).get("CidrIp")
            if str(rule.ip_protocol) not in ("tcp", "6", "-1") or not network:
                continue
            everything = str(rule.ip_protocol) == "-1"
            if not everything and not int(rule.from_port) <= port <= int(rule.to_port):
                continue
            if address in ipaddress.ip_network(network, strict=False):
                return True
    return False


def groups_of(instance: Any) -> list[Any]:
    """List the security groups of an instance and of its network interfaces."""
    groups = {group.id: group for group in instance.security_groups}
    for interface in instance.nics.values():
        groups |= {group.id: group for group in interface.group_set}
    return list(groups.values())


def kill_services(machine: Machine) -> None:
    """Kill the main process of every service that was written on a machine."""
    for service in machine.services.values():
        if service["pid"]:
            send(int(service["pid"]), signal.SIGKILL)


def free_address(taken: set[str]) -> str:
    """Return a loopback address on which the video API's port is free."""
    while True:
        parts = (16 + secrets.randbelow(235), secrets.randbelow(256), 1 + secrets.randbelow(254))
        address = "127.{}.{}.{}".format(*parts)
        if address not in taken:
            with contextlib.suppress(OSError), socket.create_server((address, PORT)):
                return address


def free_port(address: str) -> int:
    """Return a free port, for a container that its published port does not reach."""
    with socket.create_server((address, 0)) as server:
        return int(server.getsockname()[1])
