"""`chip_type`: describes a type; a CHIPTYPE motion approves it (MODEL 3, kind 4)."""

from typing import Any, Final

from foedus.v1 import content_pb2 as pb
from node.treaty.bodies import Form
from node.treaty.book import Accepted, Book, Refused
from node.treaty.checks import balances
from node.treaty.chips import CHIP_TYPES, DIGITAL
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.errors import MalformedContent
from node.treaty.filing import require_past, require_role
from node.treaty.kinds import Kind
from node.treaty.rows.sites import ChipType, Memory, Spec

MH_PER_H100: Final = 1_000
PEAK_H100: Final = 989_000  # GFLOP/s at 16 bit

_PARADIGMS: Final = {
    pb.PARADIGM_UNSPECIFIED: DIGITAL,  # not said
    pb.PARADIGM_DIGITAL: DIGITAL,
    pb.PARADIGM_ANALOG: "analog",
    pb.PARADIGM_PHOTONIC: "photonic",
    pb.PARADIGM_QUANTUM: "quantum",
    pb.PARADIGM_NEUROMORPHIC: "neuromorphic",
}
_FEATURES: Final = {
    pb.CHIP_FEATURE_SECURE_BOOT: "secure_boot",
    pb.CHIP_FEATURE_COUNTERS: "counters",
    pb.CHIP_FEATURE_LOCATE: "locate",
    pb.CHIP_FEATURE_SEAL: "seal",
}


def _features(body: Any) -> None:
    if not all(body.features) or len(set(body.features)) != len(body.features):
        raise MalformedContent("chip_type.features", "unspecified, or one twice")


def take_chip_type(book: Book, entry: Entry, body: pb.ChipType) -> Accepted:
    """Describe a type, once; it needs no countersignature, since a description permits nothing."""
    require_role(book, entry, "source", "operator")
    author = entry.parsed.author
    chip_type = book.qualified(author, body.chip_type)
    if body.chip_type in CHIP_TYPES or chip_type in book.state.chip_types:
        raise Refused(Code.REPEATED, f"chip type {body.chip_type} is already known")
    if body.peak_bf16 and body.mh != body.peak_bf16 * MH_PER_H100 // PEAK_H100:
        expected = body.peak_bf16 * MH_PER_H100 // PEAK_H100
        raise Refused(Code.CHIPTYPE, f"{body.peak_bf16} GFLOP/s make {expected} mH, not {body.mh}")
    require_past(book, entry)
    row = ChipType(entry.entry_hash, author, body.mh, body.peak_any, approved=0)
    book.state.chip_types.put(chip_type, row)
    book.state.specs.put(
        chip_type,
        Spec(
            peak_bf16=body.peak_bf16,
            peak_any=body.peak_any,
            mem_gb=body.mem_gb,
            tdp_w=body.tdp_w,
            node_nm=body.node_nm,
            link_gbps=body.link_gbps,
            paradigm=_PARADIGMS[body.paradigm],
            features=tuple(sorted(_FEATURES[one] for one in body.features)),
        ),
    )
    if body.hbm_per_chip and book.law >= balances.SINCE_LAW:
        book.state.memories.put(chip_type, Memory(body.hbm_per_chip))
    return Accepted(f"chip_type:{chip_type}")


KIND: Final[Kind] = Kind(
    form=Form(
        required=("mh", "peak_any"),
        integers=(
            *("mh", "peak_any", "peak_bf16", "mem_gb", "tdp_w", "server_w", "hbm_per_chip"),
            *("node_nm", "link_gbps"),
        ),
        names=("chip_type",),
        lists=("features",),
        extra=(_features,),
    ),
    take=take_chip_type,
    classes="PR",
)
