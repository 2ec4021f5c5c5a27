"""Give slices of one H.264 stream the parameter sets of another, where only numbering differs.

A still is encoded without B-frames and with one reference; moving pictures have several of both.
Their sequence parameter sets (SPS) therefore differ in how the order of display is coded, and their
picture parameter sets (PPS) in the default number of references. Players that read these once, at
the start of a file, could not go on after a join. So the slices of stills are rewritten for the
sets of moving pictures: each header gets the order of display and its own number of references,
some ten bits; the picture in the slice stays as it is.

Sections and names are those of ITU-T H.264 (08/2021), 7.3. With CABAC the data of a slice begins at
a whole byte, so that a longer header only moves it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

P_SLICE, IDR, SPS, PPS, AUD = 1, 5, 7, 8, 9

# Profiles whose SPS has the chroma format; x264 writes High for pictures in 4:2:0.
_HIGH = 100
# Longer than any header of a slice with one reference.
_HEADER = 32
_P, _I = 5, 7  # slice_type, where all slices of a picture have the same


class UnknownStreamError(ValueError):
    """A stream is not of the kind that this module can rewrite."""


@dataclass(frozen=True, slots=True)
class Sets:
    """What of an SPS and a PPS decides how slices are read.

    Args:
        sps: NAL unit.
        pps: NAL unit.
        number_bits: of ``frame_num``.
        order_bits: of ``pic_order_cnt_lsb``; 0 if frames are shown in the order of decoding.
        references: by default, of a P slice.
        deblocking: whether slices have parameters of the deblocking filter.
        others: values that must not differ.
    """

    sps: bytes
    pps: bytes
    number_bits: int
    order_bits: int
    references: int
    deblocking: bool
    others: tuple[int | str, ...]

    def fit(self, other: Sets) -> bool:
        """Whether slices written for these can be rewritten for the others."""
        same = replace(
            self,
            sps=other.sps,
            pps=other.pps,
            order_bits=other.order_bits,
            references=other.references,
        )
        return same == other and self.references == 1 and not self.order_bits


class _Bits:
    """Reads values from the front of a NAL unit."""

    def __init__(self, nal: bytes, limit: int | None = None) -> None:
        self.payload = _unescaped(nal)[1:]
        self.text = "".join(f"{byte:08b}" for byte in self.payload[:limit])
        self.position = 0

    def take(self, count: int) -> str:
        self.position += count
        if self.position > len(self.text):
            raise UnknownStreamError("a NAL unit ends too early")
        return self.text[self.position - count : self.position]

    def u(self, count: int = 1) -> int:
        """Read an unsigned number of so many bits."""
        return int(self.take(count), 2)

    def ue(self) -> int:
        """Read an Exp-Golomb number; signed ones have the same length."""
        end = self.text.find("1", self.position)
        if end < 0:
            raise UnknownStreamError("a NAL unit ends too early")
        zeros = len(self.take(end - self.position))
        return int(self.take(zeros + 1), 2) - 1

    def expect(self, value: int, what: str) -> None:
        if value:
            raise UnknownStreamError(f"{what} is {value}, not 0")


def sets(sps: bytes, pps: bytes) -> Sets:
    """Read parameter sets.

    Args:
        sps: NAL unit of a sequence parameter set.
        pps: NAL unit of a picture parameter set.

    Raises:
        UnknownStreamError: they are not such as x264 writes for High profile and CABAC.
    """
    bits = _Bits(sps)
    profile, level = bits.u(8), bits.u(16)
    if profile != _HIGH:
        raise UnknownStreamError(f"the profile is {profile}, not High")
    others: list[int | str] = [profile, level, bits.ue(), bits.ue(), bits.ue(), bits.ue(), bits.u()]
    bits.expect(bits.u(), "seq_scaling_matrix_present_flag")
    number_bits = bits.ue() + 4
    order = bits.ue()
    if order not in {0, 2}:
        raise UnknownStreamError(f"pic_order_cnt_type is {order}, not 0 or 2")
    order_bits = bits.ue() + 4 if order == 0 else 0
    bits.ue()  # max_num_ref_frames: room that a still does not use
    others += [bits.u(), bits.ue(), bits.ue(), bits.u()]
    bits = _Bits(pps)
    others += [bits.ue(), bits.ue(), bits.take(2)]
    bits.expect(bits.ue(), "num_slice_groups_minus1")
    references = bits.ue() + 1
    bits.ue()  # of B slices, as is the next but one
    bits.expect(bits.u(), "weighted_pred_flag")
    bits.take(2)
    others += [bits.ue(), bits.ue(), bits.ue()]
    deblocking = bits.u() == 1
    others.append(bits.text[bits.position :].rstrip("0"))
    return Sets(sps, pps, number_bits, order_bits, references, deblocking, tuple(others))


def rewritten(nal: bytes, own: Sets, target: Sets, since: int) -> bytes:
    """Return an I or P slice as it is with other parameter sets.

    Args:
        nal: the only slice of a frame that is a reference.
        own: the sets it was encoded with.
        target: the sets it will be decoded with: its own, or such as they `fit <Sets.fit>`.
        since: number of frames since the last key frame.

    Raises:
        UnknownStreamError: the header has something that this function does not know.
    """
    bits = _Bits(nal, _HEADER)
    is_key = nal[0] & 31 == IDR
    bits.expect(bits.ue(), "first_mb_in_slice")
    kind = bits.ue()
    if kind != (_I if is_key else _P):
        raise UnknownStreamError(f"slice_type is {kind}")
    bits.ue()
    start = bits.text[: bits.position]
    bits.u(own.number_bits)
    begin = bits.position
    if is_key:
        bits.ue()
    key_number = bits.text[begin : bits.position]
    if own.order_bits:
        bits.u(own.order_bits)
    if not is_key:
        bits.expect(bits.u(), "num_ref_idx_active_override_flag")
    begin = bits.position
    _skip(bits, own, is_key=is_key)
    rest = bits.text[begin : bits.position]
    header = start + _number(since, own.number_bits) + key_number
    header += _number(2 * since, target.order_bits)
    if not is_key:
        header += "0" if target.references == own.references else "11"  # one reference
    return _joined(nal[:1], header + rest, _data(bits))


def _skip(bits: _Bits, own: Sets, *, is_key: bool) -> None:
    """Go to the end of a header, from the changes to the list of references on."""
    if is_key:
        bits.take(2)  # what becomes of the earlier pictures
    else:
        bits.expect(bits.u(), "ref_pic_list_modification_flag_l0")
        bits.expect(bits.u(), "adaptive_ref_pic_marking_mode_flag")
        bits.ue()  # cabac_init_idc
    bits.ue()  # slice_qp_delta
    if own.deblocking and bits.ue() != 1:
        bits.ue()
        bits.ue()


def _data(bits: _Bits) -> bytes:
    padding = bits.take(-bits.position % 8)
    if "0" in padding:
        raise UnknownStreamError("the header does not end where it was expected to")
    return bits.payload[bits.position // 8 :]


def _number(value: int, width: int) -> str:
    return f"{value % 2**width:0{width}b}" if width else ""


def _joined(first: bytes, header: str, data: bytes) -> bytes:
    header += "1" * (-len(header) % 8)
    return _escaped(first + int(header, 2).to_bytes(len(header) // 8, "big") + data)


def _unescaped(nal: bytes) -> bytes:
    return nal.replace(b"\0\0\3", b"\0\0")


def _escaped(payload: bytes) -> bytes:
    return re.sub(rb"\0\0(?=[\0-\3])", b"\0\0\3", payload)
