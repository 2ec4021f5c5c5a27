"""Arithmetic coding of H.264 (CABAC): what `between` needs of it.

Sections, tables and names are those of ITU-T H.264 (08/2021), 9.3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

# rangeTabLPS (table 9-44): the less probable part of the range, for each of 62 states and each
# quarter of the range's values.
_LESS = (
    (128, 176, 208, 240), (128, 167, 197, 227), (128, 158, 187, 216), (123, 150, 178, 205),
    (116, 142, 169, 195), (111, 135, 160, 185), (105, 128, 152, 175), (100, 122, 144, 166),
    (95, 116, 137, 158), (90, 110, 130, 150), (85, 104, 123, 142), (81, 99, 117, 135),
    (77, 94, 111, 128), (73, 89, 105, 122), (69, 85, 100, 116), (66, 80, 95, 110),
    (62, 76, 90, 104), (59, 72, 86, 99), (56, 69, 81, 94), (53, 65, 77, 89),
    (51, 62, 73, 85), (48, 59, 69, 80), (46, 56, 66, 76), (43, 53, 63, 72),
    (41, 50, 59, 69), (39, 48, 56, 65), (37, 45, 54, 62), (35, 43, 51, 59),
    (33, 41, 48, 56), (32, 39, 46, 53), (30, 37, 43, 50), (29, 35, 41, 48),
    (27, 33, 39, 45), (26, 31, 37, 43), (24, 30, 35, 41), (23, 28, 33, 39),
    (22, 27, 32, 37), (21, 26, 30, 35), (20, 24, 29, 33), (19, 23, 27, 31),
    (18, 22, 26, 30), (17, 21, 25, 28), (16, 20, 23, 27), (15, 19, 22, 25),
    (14, 18, 21, 24), (14, 17, 20, 23), (13, 16, 19, 22), (12, 15, 18, 21),
    (12, 14, 17, 20), (11, 14, 16, 19), (11, 13, 15, 18), (10, 12, 15, 17),
    (10, 12, 14, 16), (9, 11, 13, 15), (9, 11, 12, 14), (8, 10, 12, 14),
    (8, 9, 11, 13), (7, 9, 11, 12), (7, 9, 10, 12), (7, 8, 10, 11),
    (6, 8, 9, 11), (6, 7, 9, 10), (6, 7, 8, 9),
)  # fmt: skip
# transIdxLPS (table 9-45): the state after the less probable value.
_AFTER_LESS = (
    0, 0, 1, 2, 2, 4, 4, 5, 6, 7, 8, 9, 9, 11, 11, 12, 13, 13, 15, 15, 16, 16, 18, 18, 19, 19, 21,
    21, 22, 22, 23, 24, 24, 25, 26, 26, 27, 27, 28, 29, 29, 30, 30, 30, 31, 32, 32, 33, 33, 33, 34,
    34, 35, 35, 35, 36, 36, 36, 37, 37, 37, 38, 38,
)  # fmt: skip
_LAST_STATE = 62
_HALF = 64
# The range is kept at nine bits.
_LEAST = 256


class Encoder:
    """Codes the values of one slice (9.3.4).

    Args:
        contexts: for each context its m and n of tables 9-12 to 9-33.
        quantiser: of the slice, 0 to 51.
    """

    def __init__(self, contexts: Mapping[int, tuple[int, int]], quantiser: int) -> None:
        # For each context how sure it is, and of which value (9.3.1.1).
        self._states: dict[int, tuple[int, int]] = {}
        for context, (m, n) in contexts.items():
            state = min(max(1, ((m * quantiser) >> 4) + n), 126)
            self._states[context] = (63 - state, 0) if state < _HALF else (state - _HALF, 1)
        # All that has been coded, as one number: Python's integers carry.
        self._low, self._range, self._shifts = 0, 510, 0

    def value(self, context: int, bit: int) -> None:
        """Code a value, 0 or 1, whose probability the context knows."""
        state, likely = self._states[context]
        less = _LESS[state][self._range >> 6 & 3]
        self._range -= less
        if bit == likely:
            self._states[context] = min(state + 1, _LAST_STATE), likely
            if self._range >= _LEAST:
                return
        else:
            self._low += self._range
            self._range = less
            self._states[context] = _AFTER_LESS[state], likely if state else 1 - likely
        self._renormalise()

    def bypass(self, bit: int) -> None:
        """Code a value that is as likely to be 0 as 1."""
        self._low = (self._low << 1) + (self._range if bit else 0)
        self._shifts += 1

    def terminate(self, *, last: bool) -> None:
        """Code whether a macroblock was the last one."""
        self._range -= 2
        if last:
            self._low += self._range
            self._range = 2
        if self._range < _LEAST:
            self._renormalise()

    def finish(self) -> bytes:
        """Return the slice's data; to be called after the last macroblock."""
        # The register has ten bits, of which the first one coded is never written (9.3.4.5).
        digits = f"{self._low >> 7 | 1:0{self._shifts + 3}b}"[1:]
        digits += "0" * (-len(digits) % 8)
        return int(digits, 2).to_bytes(len(digits) // 8, "big")

    def _renormalise(self) -> None:
        shift = 9 - self._range.bit_length()
        self._range <<= shift
        self._low <<= shift
        self._shifts += shift
