"""The end of a stack: destroyed, repeated, and checked with the provider.

`tear_down` ends what this run has made, `recover` what a dead one has left.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from tenacity import Retrying, retry_if_exception_type, wait_exponential

from cloudburst.errors import CloudRefused, EngineError, InfrastructureError, StackLocked
from cloudburst.targets.failover import Verdict, code_of, verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from tenacity import RetryCallState

    from cloudburst.engine.engine import Engine
    from cloudburst.targets.base import Target

TRIES = 4
# A laptop that wakes up in another network, a provider that is out for a while: seconds.
PATIENCE = 600.0
LONGEST_PAUSE = 15.0


class _StillThere(InfrastructureError):
    """The provider shows something of the stack."""


def tear_down(
    engine: Engine,
    target: Target,
    stack: str,
    *,
    unsure: bool = False,
    hurried: Callable[[], bool] = lambda: False,
    tell: Callable[[str], None] = lambda _: None,
) -> str:
    """Destroy a stack of this run until the provider says that nothing of it is left.

    What fails is tried `TRIES` times; while the provider cannot be reached at all, for `PATIENCE`
    seconds.

    Args:
        engine: destroys.
        target: sweeps, and says what is left.
        stack: its name.
        unsure: it may hold something that its state does not know of, and which keeps the engine
            from destroying the rest: that is ended first.
        hurried: says if nobody wants to wait for a provider that cannot be reached.
        tell: is called with why it is tried again.

    Returns:
        Why that could not be verified; nothing when it was. Never raises.
    """
    return _persist(
        _sweep_and_destroy if unsure else _destroy, engine, target, stack, hurried, tell
    )


def recover(
    engine: Engine,
    target: Target,
    stack: str,
    *,
    hurried: Callable[[], bool] = lambda: False,
    tell: Callable[[str], None] = lambda _: None,
) -> str:
    """End a stack that a dead run has left, known to the backend or not.

    The order is the point: the lock of a dead process goes first; what the provider shows is ended
    by its tags before the state is touched, for a refresh forgets creates that broke off, and with
    them machines that nobody else knows of; only then the state is brought up to date, destroyed,
    and removed once the provider says that nothing is left.

    The caller holds the run's journal, or knows that there is no run any more.

    Args and Returns: as of `tear_down`.
    """
    return _persist(_recover, engine, target, stack, hurried, tell)


def _persist(
    once: Callable[[Engine, Target, str, int], None],
    engine: Engine,
    target: Target,
    stack: str,
    hurried: Callable[[], bool],
    tell: Callable[[str], None],
) -> str:
    def give_up(state: RetryCallState) -> bool:
        error = state.outcome.exception() if state.outcome else None
        patient = is_unreachable(error) and not hurried()
        return state.attempt_number >= TRIES and not (
            patient and (state.seconds_since_start or 0.0) < PATIENCE
        )

    def before_sleep(state: RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        tell(f"destroying the stack, again: {str(error)[:200]}")

    try:
        for attempt in Retrying(
            retry=retry_if_exception_type(InfrastructureError),
            stop=give_up,
            wait=wait_exponential(multiplier=0.3, max=LONGEST_PAUSE),
            before_sleep=before_sleep,
            reraise=True,
        ):
            with attempt:
                once(engine, target, stack, attempt.retry_state.attempt_number)
    except Exception as error:  # noqa: BLE001 - whatever it was, the machines may still be there
        return _what_is_left(target, stack, error)
    return ""


def is_unreachable(error: BaseException | None) -> bool:
    """Say if an error is no answer, but the lack of one."""
    if isinstance(error, CloudRefused):
        return error.code is None
    words = str(error)
    return isinstance(error, EngineError) and (
        code_of(words) is None and verdict(None, words) is Verdict.WAIT
    )


def _recover(engine: Engine, target: Target, stack: str, number: int) -> None:
    engine.end_owners(stack)
    broke_off = _has_broken_off(engine, stack)
    if broke_off or number > 1:
        engine.cancel(stack)
    if broke_off:
        # What an operation was just making when it was killed is described a little later.
        time.sleep(target.settle)
    refused = _swept(target, stack)
    if refused and target.settle:
        # Such as a firewall whose machine is not described yet: the engine's destroy would wait
        # for it for a quarter of an hour, while the machine runs.
        time.sleep(target.settle)
        refused = _swept(target, stack)
    if not refused:
        engine.refresh(stack)
    engine.destroy(stack, remove=False)
    _see_that_nothing_is_left(target, stack)
    engine.remove(stack)  # the last trace goes when there is nothing to trace


def _has_broken_off(engine: Engine, stack: str) -> bool:
    """Say if an operation on a stack was killed; a backend that cannot be read does not say no."""
    try:
        return bool(engine.locks(stack)) or engine.pending(stack)
    except EngineError:
        return True


def _destroy(engine: Engine, target: Target, stack: str, number: int) -> None:
    """Destroy; from the second time on, first remove what the state may not know of."""
    refused = _swept(target, stack) if number > 1 else ""
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
    _see_that_nothing_is_left(target, stack)


def _sweep_and_destroy(engine: Engine, target: Target, stack: str, number: int) -> None:
    """Destroy as from the second time on."""
    _destroy(engine, target, stack, number + 1)


def _see_that_nothing_is_left(target: Target, stack: str) -> None:
    if target.inventory(stack):
        refused = _swept(target, stack)
        left = target.inventory(stack)
        if left:
            raise _StillThere(f"{', '.join(left)}{refused}")


def _swept(target: Target, stack: str) -> str:
    """End what is left; give the reason when the provider will not."""
    try:
        target.sweep(stack)
    except InfrastructureError as error:
        return f" ({error})"
    return ""


def _what_is_left(target: Target, stack: str, error: Exception) -> str:
    if isinstance(error, _StillThere):
        return str(error)
    try:
        left = target.inventory(stack)
    except Exception as unknown:  # noqa: BLE001 - not knowing is not the same as gone
        return f"the provider could not be asked: {unknown}"
    return f"{', '.join(left)} ({error})" if left else str(error)
