"""A rental whose launch was requested."""

from __future__ import annotations

from cloudburst.models import Basis, Price, Rental, Rung

RUNG = Rung("c5.2xlarge", "spot", "us-east-1", "us-east-1a")
ASKED = Rental(
    stack="run-b01",
    machine="",
    rung=RUNG,
    price=Price(0.4, "a test"),
    basis=Basis.SPOT,
    since=1000.0,
    until=None,
    expires=1000.0 + 2 * 3600.0,
    disk_gb=30,
    disk_rate=0.0001,
    disk_basis=Basis.LIST,
    surplus=0.0,
)
