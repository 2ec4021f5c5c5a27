"""H.264 streams of x264: take them apart, and give slices other numbers and parameter sets.

Two kinds of frames are never encoded. A still is one picture, followed by slices that repeat it
(`still`); motion is every sixteenth frame, with slices between that have the decoder move the
picture on (`between`). Both need the slices that x264 wrote to be numbered anew, and both have the
same sequence and picture parameter sets (SPS and PPS): players that read these once, at the start
of a file, could not go on after a join of clips that differ in them.

Sections and names are those of ITU-T H.264 (08/2021), 7.3. With CABAC the data of a slice begins at
a whole byte, so that a longer header only moves it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

SLICE, IDR, SPS, PPS, AUD = 1, 5, 7, 8, 9

# Profiles whose SPS has the chroma format; x264 writes High for pictures in 4:2:0.
_HIGH = 100
# Longer than any header of a slice with few references.
_HEADER = 32
# Of slices whose header does not change it.
QUANTISER = 26
_P, _B, _I = 5, 6, 7  # slice_type, where all slices of a picture have the same
_START = re.compile(rb"\x00\x00\x01")
# The delimiter of a picture whose slices may be I, P and B: primary_pic_type 2.
_B_DELIMITER = bytes([AUD, 2 << 5 | 1 << 4])


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
        return same == other and not self.order_bits


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

    def references(self, own: Sets) -> int:
        """Read how many references a P slice has."""
        return self.ue() + 1 if self.u() else own.references

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
    bits.expect(bits.ue(), f"pic_init_qp_minus{QUANTISER}")
    others += [bits.ue(), bits.ue()]
    deblocking = bits.u() == 1
    others.append(bits.text[bits.position :].rstrip("0"))
    return Sets(sps, pps, number_bits, order_bits, references, deblocking, tuple(others))


# -- access units -------------------------------------------------------------------------------


def units(stream: bytes) -> list[bytes]:
    """Split an Annex B stream with access unit delimiters into access units.

    Raises:
        UnknownStreamError: there are no delimiters.
    """
    starts = [
        match.start() - (stream[match.start() - 1 : match.start()] == b"\0")
        for match in _START.finditer(stream)
        if stream[match.end()] & 31 == AUD
    ]
    if not starts:
        raise UnknownStreamError("no access unit delimiters")
    return [stream[a:b] for a, b in zip(starts, [*starts[1:], len(stream)], strict=True)]


def nals(unit: bytes) -> list[bytes]:
    """Return the NAL units of an access unit, without start codes."""
    offsets = [match.end() for match in _START.finditer(unit)]
    ends = [*(match.start() for match in _START.finditer(unit)), len(unit)][1:]
    return [unit[offset:end].rstrip(b"\0") for offset, end in zip(offsets, ends, strict=True)]


def joined(parts: Iterable[bytes]) -> bytes:
    """Return an access unit of NAL units."""
    return b"".join(b"\0\0\0\1" + nal for nal in parts)


def kinds(unit: bytes) -> dict[int, bytes]:
    """Return the last NAL unit of each type."""
    return {nal[0] & 31: nal for nal in nals(unit)}


def is_key(unit: bytes) -> bool:
    """Whether an access unit is a key frame."""
    return IDR in kinds(unit)


def parameter_sets(stream: bytes) -> Sets:
    """Read the parameter sets at the start of a stream.

    Raises:
        UnknownStreamError: there are none, or of a kind that is not known.
    """
    found = kinds(stream)
    if SPS not in found or PPS not in found:
        raise UnknownStreamError("no parameter sets before the first frame")
    return sets(found[SPS], found[PPS])


def renumbered(unit: bytes, own: Sets, target: Sets, number: int, place: int) -> bytes:
    """Return an access unit as it is with other parameter sets and numbers; see `rewritten`."""
    parts = []
    for nal in nals(unit):
        kind = nal[0] & 31
        if kind in {SLICE, IDR}:
            parts.append(rewritten(nal, own, target, number, place))
        else:
            parts.append({SPS: target.sps, PPS: target.pps}.get(kind, nal))
    return joined(parts)


# -- slices -------------------------------------------------------------------------------------


def rewritten(nal: bytes, own: Sets, target: Sets, number: int, place: int) -> bytes:
    """Return an I or P slice as it is with other parameter sets and numbers.

    Args:
        nal: the only slice of a frame that is a reference.
        own: the sets it was encoded with.
        target: the sets it will be decoded with: its own, or such as they `fit <Sets.fit>`.
        number: of frames since the last key frame that are references.
        place: number of frames since the last key frame that are shown.

    Raises:
        UnknownStreamError: the header has something that this function does not know.
    """
    bits = _Bits(nal, _HEADER)
    key = nal[0] & 31 == IDR
    bits.expect(bits.ue(), "first_mb_in_slice")
    kind = bits.ue()
    if kind != (_I if key else _P):
        raise UnknownStreamError(f"slice_type is {kind}")
    bits.ue()
    start = bits.text[: bits.position]
    bits.u(own.number_bits)
    begin = bits.position
    if key:
        bits.ue()
    key_number = bits.text[begin : bits.position]
    if own.order_bits:
        bits.u(own.order_bits)
    references = "" if key else _references(bits.references(own), target)
    begin = bits.position
    if key:
        bits.take(2)  # what becomes of the earlier pictures
    else:
        bits.expect(bits.u(), "ref_pic_list_modification_flag_l0")
        bits.expect(bits.u(), "adaptive_ref_pic_marking_mode_flag")
        bits.ue()  # cabac_init_idc
    _skip_rest(bits, own)
    rest = bits.text[begin : bits.position]
    header = start + _number(number, own.number_bits) + key_number
    header += _number(2 * place, target.order_bits) + references
    return _sliced(nal[:1], header + rest, _data(bits))


def b_unit(data: bytes, target: Sets, number: int, place: int, past: int) -> bytes:
    """Return the access unit of a B-frame that is no reference, with temporal direct prediction.

    Args:
        data: of its only slice, for a quantiser of `QUANTISER` and cabac_init_idc 0.
        target: its parameter sets.
        number: of frames since the last key frame that are references.
        place: number of frames since the last key frame that are shown.
        past: number of references that are shown before it. One is shown after it.
    """
    header = _exp_golomb(0) + _exp_golomb(_B) + _exp_golomb(0)
    header += _number(number, target.number_bits) + _number(2 * place, target.order_bits)
    header += "0"  # direct_spatial_mv_pred_flag
    header += "1" + _exp_golomb(past - 1) + _exp_golomb(0)
    header += "00"  # no changes to the lists of references
    header += _exp_golomb(0) + _exp_golomb(0)  # cabac_init_idc, slice_qp_delta
    header += _exp_golomb(1) if target.deblocking else ""  # none
    return joined([_B_DELIMITER, _sliced(bytes([SLICE]), header, data)])


def _references(count: int, target: Sets) -> str:
    """Return how a P slice says how many references it has."""
    return "0" if count == target.references else "1" + _exp_golomb(count - 1)


def _skip_rest(bits: _Bits, own: Sets) -> None:
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


def _exp_golomb(value: int) -> str:
    digits = f"{value + 1:b}"
    return "0" * (len(digits) - 1) + digits


def _sliced(first: bytes, header: str, data: bytes) -> bytes:
    header += "1" * (-len(header) % 8)
    return _escaped(first + int(header, 2).to_bytes(len(header) // 8, "big") + data)


def _unescaped(nal: bytes) -> bytes:
    return nal.replace(b"\0\0\3", b"\0\0")


def _escaped(payload: bytes) -> bytes:
    return re.sub(rb"\0\0(?=[\0-\3])", b"\0\0\3", payload)
