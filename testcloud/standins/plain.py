"""systemctl, dnf, yum: commands that always succeed, because there is nothing to do."""

# ruff: noqa: T201 - a command prints its output
import _machine

_machine.record(_machine.ARGUMENTS)
if _machine.ARGUMENTS[:1] == ["is-active"]:
    print("active")
