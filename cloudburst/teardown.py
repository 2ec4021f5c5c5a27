"""The end of a stack: destroyed, repeated, and checked with the provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tenacity import Retrying, retry_if_exception_type, stop_after_attempt, wait_exponential

from cloudburst.errors import EngineError, InfrastructureError, StackLocked

if TYPE_CHECKING:
    from cloudburst.engine import Engine
    from cloudburst.targets.base import Target

TRIES = 4


def tear_down(engine: Engine, target: Target, stack: str) -> str:
    """Destroy a stack until the provider says that nothing of it is left.

    Returns:
        Why that could not be verified; nothing when it was. Never raises.
    """
    problem = ""
    try:
        for attempt in Retrying(
            retry=retry_if_exception_type(InfrastructureError),
            stop=stop_after_attempt(TRIES),
            wait=wait_exponential(multiplier=0.3, max=5),
            reraise=True,
        ):
            with attempt:
                _destroy_once(engine, target, stack, attempt.retry_state.attempt_number)
    except Exception as error:  # noqa: BLE001 - whatever it was, the check below decides
        problem = str(error)
    return _verify(target, stack) or problem


def _destroy_once(engine: Engine, target: Target, stack: str, number: int) -> None:
    """Destroy; from the second time on, first remove what the state may not know of."""
    if number > 1:
        target.sweep(stack)
    try:
        engine.destroy(stack)
    except StackLocked:
        # No other run shares this stack's name, and this run's own operation has ended: the
        # lock is a dead one's.
        engine.cancel(stack)
        raise
    except EngineError:
        if number > 1:
            engine.refresh(stack)
        raise


def _verify(target: Target, stack: str) -> str:
    """Ask the provider what is left, end it, and ask again."""
    refused = ""
    try:
        if target.inventory(stack):
            refused = _swept(target, stack)
        left = target.inventory(stack)
    except Exception as error:  # noqa: BLE001 - not knowing is not the same as gone
        return f"the provider could not be asked: {error}"
    return f"{', '.join(left)}{refused}" if left else ""


def _swept(target: Target, stack: str) -> str:
    """End what is left; give the reason when the provider will not."""
    try:
        target.sweep(stack)
    except InfrastructureError as error:
        return f" ({error})"
    return ""
