"""The end of a stack: destroyed, repeated, and verified with the provider.

`tear_down` ends what this run has created, `recover` what a dead one has left behind.
"""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from tenacity import Retrying, retry_if_exception_type, wait_exponential

from cloudburst.errors import EngineError, InfrastructureError, StackLocked, WrongPassphrase
from cloudburst.language import tr

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenacity import RetryCallState

    from cloudburst.engine.engine import Engine
    from cloudburst.targets.base import Resources

TRIES = 4
# Seconds: a laptop that wakes up in another network, a provider that is out for a while.
PATIENCE = 600.0
LONGEST_PAUSE = 15.0
# Seconds: a provider whose session has expired waits for a person. Machines end themselves anyway.
LOGIN_PATIENCE = 3600.0


class _StillThereError(InfrastructureError):
    """The provider still shows something of the stack."""


def tear_down(
    engine: Engine,
    resources: Resources,
    stack: str,
    *,
    unsure: bool = False,
    hurried: Callable[[], bool] = lambda: False,
    log: Callable[[str], None] = lambda _: None,
) -> str:
    """Destroy a stack of this run until the provider confirms that nothing of it exists.

    What fails is tried `TRIES` times; while the provider does not answer at all, for `PATIENCE`
    seconds; while its session has expired and a login would help, for `LOGIN_PATIENCE` seconds.

    Args:
        engine: destroys.
        resources: sweeps, and shows what exists.
        stack: its name.
        unsure: it may hold something that its state does not know of, and which keeps the engine
            from destroying the rest: that is ended first.
        hurried: whether nobody wants to wait for a provider that does not answer.
        log: called with the reason for each retry.

    Returns:
        Why that could not be verified; empty when it was. Never raises.
    """
    return _persist(
        _sweep_and_destroy if unsure else _destroy, engine, resources, stack, hurried, log
    )


def recover(
    engine: Engine,
    resources: Resources,
    stack: str,
    *,
    hurried: Callable[[], bool] = lambda: False,
    log: Callable[[str], None] = lambda _: None,
) -> str:
    """End a stack that a dead run has left behind, known to the backend or not.

    The order matters: machines are terminated at once, without an engine; then the lock of a dead
    process goes; what the provider shows is ended by its tags before the state is touched, because
    a refresh forgets creates that broke off, and with them machines that nobody else knows of; only
    then the state is refreshed, destroyed, and removed once the provider confirms that nothing
    exists.

    The caller holds the run's journal, or knows that there is no run any more.

    Args and Returns: as of `tear_down`.
    """
    return _persist(_recover, engine, resources, stack, hurried, log)


def _persist(
    once: Callable[[Engine, Resources, str, int], None],
    engine: Engine,
    resources: Resources,
    stack: str,
    hurried: Callable[[], bool],
    log: Callable[[str], None],
) -> str:
    # First what is billed, without waiting for an engine. Whatever fails of it, or in it, is done
    # below all the same.
    with contextlib.suppress(Exception):
        resources.terminate(stack)

    told = False
    # The try that last waited for a login, and when it was: what else fails after it is given the
    # tries and the patience that it would have had without the wait.
    tries, since = 0, 0.0

    def give_up(state: RetryCallState) -> bool:
        nonlocal tries, since
        error = state.outcome.exception() if state.outcome else None
        hurry = hurried()
        number, seconds = state.attempt_number, state.seconds_since_start or 0.0
        if isinstance(error, WrongPassphrase) and number > 1:
            return True  # after a sweep; it will not become right
        if _is_waiting_for_login(error):
            tries, since = number, seconds
        elif not hurry:
            number, seconds = number - tries, seconds - since
        patient = _is_unanswered(error) and not hurry
        return number >= TRIES and not (patient and seconds < _patience(error))

    def before_sleep(state: RetryCallState) -> None:
        nonlocal told
        error = state.outcome.exception() if state.outcome else None
        login = _is_waiting_for_login(error)
        if login and not told:
            log(tr("waiting for a login: {reason}", reason=error))
        elif not login:
            log(tr("destroying the stack, again: {reason}", reason=str(error)[:200]))
        told = login

    try:
        for attempt in Retrying(
            retry=retry_if_exception_type(InfrastructureError),
            stop=give_up,
            wait=wait_exponential(multiplier=0.3, max=LONGEST_PAUSE),
            before_sleep=before_sleep,
            reraise=True,
        ):
            with attempt:
                once(engine, resources, stack, attempt.retry_state.attempt_number)
    except Exception as error:  # noqa: BLE001 - whatever it was, the machines may still be there
        return _remaining(resources, stack, error)
    return ""


def _is_unanswered(error: BaseException | None) -> bool:
    """Whether an error is no answer, but the lack of one."""
    return isinstance(error, InfrastructureError) and error.transient


def _is_waiting_for_login(error: BaseException | None) -> bool:
    """Whether a login ends the error, in a process that goes on."""
    return isinstance(error, InfrastructureError) and error.refusal.login


def _patience(error: BaseException | None) -> float:
    """Return how long an error without an answer is waited for, in seconds."""
    return LOGIN_PATIENCE if _is_waiting_for_login(error) else PATIENCE


def _recover(engine: Engine, resources: Resources, stack: str, number: int) -> None:
    engine.end_owners(stack)
    broke_off = _has_broken_off(engine, stack)
    if broke_off or number > 1:
        engine.cancel(stack)
    if broke_off:
        # What an operation was just making when it was killed is described a little later.
        time.sleep(resources.settle)
    refused = _swept(resources, stack)
    if refused and resources.settle:
        # Such as a firewall whose machine is not described yet: the engine's destroy would wait
        # for it for a quarter of an hour, while the machine runs.
        time.sleep(resources.settle)
        refused = _swept(resources, stack)
    if not refused:
        engine.refresh(stack)
    engine.destroy(stack, remove=False)
    _verify_gone(resources, stack)
    engine.remove(stack)  # the last trace goes when there is nothing to trace


def _has_broken_off(engine: Engine, stack: str) -> bool:
    """Whether an operation on a stack was killed; an unreadable backend does not say no."""
    try:
        return bool(engine.locks(stack)) or engine.pending(stack)
    except EngineError:
        return True


def _destroy(engine: Engine, resources: Resources, stack: str, number: int) -> None:
    """Destroy; from the second time on, first remove what the state may not know of."""
    refused = _swept(resources, stack) if number > 1 else ""
    try:
        engine.destroy(stack)
    except StackLocked:
        # No other run shares this stack's name, and this run's own operation has ended: the
        # lock is a dead one's.
        engine.cancel(stack)
        raise
    except EngineError:
        if number > 1 and not refused:
            engine.refresh(stack)  # forgets pending creates: only after a sweep
        raise
    _verify_gone(resources, stack)


def _sweep_and_destroy(engine: Engine, resources: Resources, stack: str, number: int) -> None:
    """Destroy as from the second time on."""
    _destroy(engine, resources, stack, number + 1)


def _verify_gone(resources: Resources, stack: str) -> None:
    if resources.inventory(stack):
        refused = _swept(resources, stack)
        remaining = resources.inventory(stack)
        if remaining:
            raise _StillThereError(f"{', '.join(remaining)}{refused}")


def _swept(resources: Resources, stack: str) -> str:
    """Sweep; return the reason when the provider refuses."""
    try:
        resources.sweep(stack)
    except InfrastructureError as error:
        return f" ({error})"
    return ""


def _remaining(resources: Resources, stack: str, error: Exception) -> str:
    if isinstance(error, _StillThereError):
        return str(error)
    try:
        remaining = resources.inventory(stack)
    except Exception as unknown:  # noqa: BLE001 - not knowing is not the same as gone
        return tr("the provider could not be asked: {reason}", reason=unknown)
    return f"{', '.join(remaining)} ({error})" if remaining else str(error)
