"""Slices get other parameter sets: what is read from real ones, and what is rewritten."""

from __future__ import annotations

from dataclasses import replace

import pytest

from cloudburst.videoapi import h264
from cloudburst.videoapi.h264 import UnknownStreamError

# By x264, of 1920x1080: a still, and motion with seven B-frames, in a pyramid.
STILL = h264.sets(
    bytes.fromhex("67640028acb403c0113f2e0220000003002000000781e30654"), bytes.fromhex("68ee3cb0")
)
MOVING = h264.sets(
    bytes.fromhex("67640028acc8501e0089f970110000030001000003003c0f183196"),
    bytes.fromhex("68eebcb0"),
)


def nal(first: int, header: str, data: bytes) -> bytes:
    header += "1" * (-len(header) % 8)
    return bytes([first]) + int(header, 2).to_bytes(len(header) // 8, "big") + data


def test_parameter_sets_are_read() -> None:
    assert (STILL.number_bits, STILL.order_bits, STILL.references) == (4, 0, 1)
    assert (MOVING.number_bits, MOVING.order_bits, MOVING.references) == (4, 7, 1)
    assert STILL.deblocking
    assert STILL.fit(MOVING)
    assert not MOVING.fit(STILL), "only slices without an order of display are known"
    assert not STILL.fit(replace(MOVING, number_bits=5))
    assert not STILL.fit(replace(MOVING, others=()))


@pytest.mark.parametrize(
    ("sps", "pps", "words"),
    [
        (b"\x67\x4d" + STILL.sps[2:], STILL.pps, "profile is 77"),
        (STILL.sps[:5], STILL.pps, "too early"),
        (STILL.sps, STILL.pps[:2], "too early"),
        (STILL.sps, b"\x68\xef\x3c\xb0", "weighted_pred_flag"),
    ],
)
def test_other_parameter_sets_are_refused(sps: bytes, pps: bytes, words: str) -> None:
    with pytest.raises(UnknownStreamError, match=words):
        h264.sets(sps, pps)


# first_mb 0, slice_type 5 (P), pps 0, frame_num, no override, no changes to the list, no marking,
# cabac_init_idc 0, slice_qp_delta 0, no deblocking.
P = "1" + "00110" + "1" + "{number}{order}{references}" + "0" + "0" + "1" + "1" + "010"
# first_mb 0, slice_type 7 (I), pps 0, frame_num, idr_pic_id 2, marking, slice_qp_delta -2.
KEY = "1" + "0001000" + "1" + "{number}" + "011" + "{order}" + "00" + "00101" + "010"


def test_a_repeated_picture_is_numbered_and_ordered() -> None:
    was = nal(0x41, P.format(number="0011", order="", references="0"), b"\xab\xcd")
    for since in (1, 15, 16, 63, 64, 299):
        number, order = f"{since % 16:04b}", f"{since * 2 % 128:07b}"
        now = nal(0x41, P.format(number=number, order=order, references="0"), b"\xab\xcd")
        assert h264.rewritten(was, STILL, MOVING, since, since) == now
        one_of_two = nal(0x41, P.format(number=number, order=order, references="11"), b"\xab\xcd")
        two = replace(MOVING, references=2)
        assert h264.rewritten(was, STILL, two, since, since) == one_of_two
        own = nal(0x41, P.format(number=number, order="", references="0"), b"\xab\xcd")
        assert h264.rewritten(was, STILL, STILL, since, since) == own


def test_a_key_frame_keeps_its_number_and_its_data() -> None:
    # In the file, no two zeros are followed by a number up to three: an escape is between them.
    was = nal(0x65, KEY.format(number="0000", order=""), b"\0\0\3\1\0\0\3\0\0\3\3\x80")
    now = nal(0x65, KEY.format(number="0000", order="0" * 7), b"\0\0\3\1\0\0\3\0\0\3\3\x80")
    assert h264.rewritten(was, STILL, MOVING, 0, 0) == now


def test_zeros_that_move_together_are_escaped() -> None:
    assert h264._escaped(b"\1\0\0\0\0\0\2") == b"\1\0\0\3\0\0\3\0\2"
    assert h264._unescaped(b"\1\0\0\3\0\0\3\0\2") == b"\1\0\0\0\0\0\2"


def test_what_is_not_known_is_refused() -> None:
    good = {"number": "0001", "order": "", "references": "0"}
    for header, words in (
        (P.format(**good | {"references": "111"}), "modification"),
        ("010" + P.format(**good)[1:], "first_mb"),
        ("100101" + P.format(**good)[6:], "slice_type is 4"),
        (P.format(**good) + "0", "does not end"),
    ):
        with pytest.raises(UnknownStreamError, match=words):
            h264.rewritten(nal(0x41, header, b"\x80"), STILL, MOVING, 1, 1)
