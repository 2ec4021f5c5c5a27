"""systemctl, dnf, yum: what they are asked for is so already."""

# ruff: noqa: T201 - what a command says, it prints
import _machine

_machine.record(_machine.ARGUMENTS)
if _machine.ARGUMENTS[:1] == ["is-active"]:
    print("active")
