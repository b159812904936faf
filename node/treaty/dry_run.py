"""What the law would say of a content that nobody has signed: `foedus file --check`.

The content is put at the end of its author's chain, under the author's key in force, with the countersignatures that the asker
presumes. So of the chain's codes only SCHEMA, UNKNOWN_AUTHOR and DUPLICATE can come; all codes of the kind's own rule can.
"""

from collections.abc import Sequence
from typing import NamedTuple

from google.protobuf.message import DecodeError

from foedus.v1 import content_pb2 as pb
from node.treaty.codes import Code
from node.treaty.entries import Entry
from node.treaty.errors import MalformedContent
from node.treaty.law import Law
from node.treaty.parsing import ENDORSEMENTS_MAX, parse_entry
from node.treaty.register import AUTHOR, VOTE


class Verdict(NamedTuple):
    """The code that the entry would get, None if it would be taken, and the reason for a person."""

    code: Code | None
    why: str


def check_content(law: Law, content: bytes, endorsers: Sequence[str]) -> Verdict:
    """Judge at the second of the law's last `advance`; changes nothing and costs what one entry costs."""
    if len(endorsers) > ENDORSEMENTS_MAX:
        return Verdict(Code.SCHEMA, f"endorsers: {len(endorsers)}, at most {ENDORSEMENTS_MAX}")
    try:
        author = pb.Content.FromString(content).author
    except DecodeError:
        return Verdict(Code.SCHEMA, "content: not a protobuf message of this schema")
    seq, prev = law.author_tip(author)
    payload = pb.Envelope(content=content, seq=seq, prev=prev, endorsements=[b""] * len(endorsers))
    try:
        parsed = parse_entry(payload.SerializeToString())
    except MalformedContent as err:
        return Verdict(Code.SCHEMA, str(err))
    kid = _kid_in_force(law, parsed.author, VOTE if parsed.kind == "vote" else AUTHOR)
    entry = Entry(
        entry_hash=bytes(32),  # of no entry: nothing refers to it
        name=bytes(32).hex(),
        leaf=0,
        kid=kid,
        parsed=parsed,
        endorsers=tuple(sorted(set(endorsers))),
    )
    return Verdict(*law.check(entry))


def _kid_in_force(law: Law, author: str, purpose: str) -> bytes:
    """The id of the author's key for that purpose; of no key if there is none."""
    prefix = f"{author}/"
    for name, row in law.book.state.keys.items():
        if name.startswith(prefix) and row.purpose == purpose:
            return bytes.fromhex(name.removeprefix(prefix))
    return b""
