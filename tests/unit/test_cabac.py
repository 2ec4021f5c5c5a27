"""Arithmetic coding, decoded again as the standard has it."""

from __future__ import annotations

import numpy as np
import pytest

from cloudburst.videoapi import cabac
from cloudburst.videoapi.cabac import Encoder

# As a P slice has them: likely 1, undecided, likely 0.
CONTEXTS = {11: (23, 33), 12: (23, 2), 13: (21, 0), 14: (1, 9)}


class Decoder:
    """Reads the values of one slice (9.3.3.2): one bit after the other, with a nine-bit offset."""

    def __init__(self, data: bytes, contexts: dict[int, tuple[int, int]], quantiser: int) -> None:
        self.bits = iter("".join(f"{byte:08b}" for byte in data))
        self.range, self.offset = 510, int("".join(next(self.bits) for _ in range(9)), 2)
        self.states = {}
        for context, (m, n) in contexts.items():
            state = min(max(1, ((m * quantiser) >> 4) + n), 126)
            self.states[context] = [63 - state, 0] if state <= 63 else [state - 64, 1]

    def renormalise(self) -> None:
        while self.range < 256:
            self.range *= 2
            self.offset = self.offset * 2 + int(next(self.bits))

    def value(self, context: int) -> int:
        state, likely = self.states[context]
        less = cabac._LESS[state][(self.range >> 6) & 3]
        self.range -= less
        if self.offset >= self.range:
            self.offset, self.range = self.offset - self.range, less
            bit = 1 - likely
            if state == 0:
                self.states[context][1] = 1 - likely
            self.states[context][0] = cabac._AFTER_LESS[state]
        else:
            bit = likely
            self.states[context][0] = min(state + 1, 62)
        self.renormalise()
        return bit

    def bypass(self) -> int:
        self.offset = self.offset * 2 + int(next(self.bits))
        if self.offset >= self.range:
            self.offset -= self.range
            return 1
        return 0

    def terminate(self) -> bool:
        self.range -= 2
        if self.offset >= self.range:
            return True
        self.renormalise()
        return False


@pytest.mark.parametrize("quantiser", [0, 26, 51])
@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_what_was_coded_is_decoded(quantiser: int, share: float) -> None:
    generator = np.random.default_rng(round(100 * share))
    coded: list[tuple[int, int]] = []
    encoder = Encoder(CONTEXTS, quantiser)
    for _ in range(700):
        context = int(generator.choice([*CONTEXTS, 0]))
        bit = int(generator.random() < share)
        coded.append((context, bit))
        if context:
            encoder.value(context, bit)
        else:
            encoder.bypass(bit)
        encoder.terminate(last=len(coded) == 700)
    decoder = Decoder(encoder.finish(), CONTEXTS, quantiser)
    for place, (context, bit) in enumerate(coded, start=1):
        assert (decoder.value(context) if context else decoder.bypass()) == bit
        assert decoder.terminate() == (place == 700)


def test_what_is_likely_takes_less_than_a_bit() -> None:
    sizes = {}
    for bit in (0, 1):
        encoder = Encoder(CONTEXTS, 26)
        for _ in range(1000):
            encoder.value(11, bit)
            encoder.terminate(last=False)
        encoder.terminate(last=True)
        sizes[bit] = len(encoder.finish())
    assert sizes[1] < 8
    # Unlikely at first; the context learns.
    assert sizes[1] < sizes[0] < 20


def test_the_tables_are_those_of_probabilities_that_fall_by_the_same_share() -> None:
    """9.3.1: 63 states from 0.5 down to 0.01875, each for four ranges of 256 to 510."""
    share = (0.01875 / 0.5) ** (1 / 63)
    for state, row in enumerate(cabac._LESS):
        for quarter, less in enumerate(row):
            exact = 0.5 * share**state * (256 + 64 * quarter + 32)
            assert abs(less - exact) < max(3.5, 0.13 * exact), (state, quarter)
    assert len(cabac._LESS) == len(cabac._AFTER_LESS) == 63
    for state, after in enumerate(cabac._AFTER_LESS):
        # An unlikely value makes it as much likelier as 63 likely ones make it less likely.
        exact = share * 0.5 * share**state + (1 - share)
        assert abs(min(0.5, exact) - 0.5 * share**after) < 0.02, state
