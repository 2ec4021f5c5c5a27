"""Where the commands begin; also `python -m cloudburst`, which is the command `cloudburst`.

Ctrl-C is answered in one line from here on, so nothing that takes time is imported before.
"""

from __future__ import annotations

import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import ModuleType


def main() -> None:
    """Run the command `cloudburst`."""
    _command_line().main()


def run_command() -> None:
    """Run the command `cloudburst-run`."""
    _command_line().run_command()


def _command_line() -> ModuleType:
    # SIGINT waits for the milliseconds until it can be answered.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    from cloudburst.stop import exit_on_interrupt  # noqa: PLC0415

    with exit_on_interrupt():
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        from cloudburst import cli  # noqa: PLC0415

    return cli


if __name__ == "__main__":
    main()
