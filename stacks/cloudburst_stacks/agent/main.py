"""Starts the agent, and ends the machine when its lease is over."""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

from .boot import DEFAULTS, Agent
from .machine import power_off
from .server import Server

_TICK = 0.25


def main() -> None:
    """Run the agent with the configuration that the command line names."""
    config = {**DEFAULTS, **json.loads(Path(sys.argv[1]).read_text("utf-8"))}
    Path(config["state"]).mkdir(parents=True, exist_ok=True)
    agent = Agent(config)
    if agent.lease.rebooted:
        agent.say("this machine has been rebooted: powering off")
    else:
        server = Server(agent)
        agent.say(f"the agent answers on port {server.server_address[1]}")
        threading.Thread(target=server.serve_forever, daemon=True).start()
        threading.Thread(target=agent.boot, daemon=True).start()
        while agent.lease.left > 0:
            time.sleep(_TICK)
            server.turn_away()
        agent.say("nobody has asked for this machine any more: powering off")
    power_off(config["grace"])
