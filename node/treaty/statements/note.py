"""Notes: replies, corrections, offers, evidence and the other short papers (MODEL 3, kind 20).

A type of note is a row of `TYPES`; what it does stands in `node/treaty/notes`, by what it is about.
"""

import re
from collections.abc import Callable
from typing import Any, Final, NamedTuple

from foedus.v1 import content_pb2 as pb
from node.treaty.bodies import Form
from node.treaty.book import Accepted, Book
from node.treaty.entries import Entry
from node.treaty.errors import MalformedContent
from node.treaty.kinds import Kind
from node.treaty.motions import publications
from node.treaty.notes import cases, chance, models, naming, offices


class NoteType(NamedTuple):
    """One type: its name in topics, what it does, and the fields that it needs."""

    name: str
    take: Callable[[Book, Entry, pb.Note], str]
    needs: tuple[str, ...] = ()


def _take_publication(book: Book, entry: Entry, body: pb.Note) -> str:
    publications.take(book, entry, body)
    return body.about


TYPES: Final = {
    pb.NOTE_TYPE_REPLY: NoteType("reply", cases.take_reply, ("about",)),
    pb.NOTE_TYPE_CORRECTION: NoteType("correction", cases.take_correction, ("corrects",)),
    pb.NOTE_TYPE_MANDATE: NoteType("mandate", offices.take_mandate),
    pb.NOTE_TYPE_MEETING: NoteType("meeting", offices.take_meeting),
    pb.NOTE_TYPE_PUBLICATION: NoteType("publication", _take_publication),
    pb.NOTE_TYPE_CALLUP: NoteType("callup", chance.take_callup, ("about",)),
    pb.NOTE_TYPE_REVIEW: NoteType("review", models.take_review, ("about",)),
    pb.NOTE_TYPE_EVIDENCE: NoteType("evidence", cases.take_evidence),
    pb.NOTE_TYPE_OFFER: NoteType("offer", offices.take_offer, ("hash",)),
    pb.NOTE_TYPE_ANCHOR: NoteType("anchor", chance.take_anchor, ("hash",)),
    pb.NOTE_TYPE_REVEAL: NoteType("reveal", chance.take_reveal, ("about", "hash")),
    pb.NOTE_TYPE_INCIDENT: NoteType(
        "incident",
        models.take_incident,
        ("about", "code", "jurisdiction", "severity", "hash"),
    ),
    pb.NOTE_TYPE_PRIOR_LOG: NoteType(
        "prior_log", offices.take_prior_log, ("about", "hash", "size")
    ),
    pb.NOTE_TYPE_CONFLICT_OF_INTEREST: NoteType(
        "conflict_of_interest", offices.take_conflict, ("about",)
    ),
    pb.NOTE_TYPE_SHARE: NoteType("share", models.take_share, ("about", "hash")),
    pb.NOTE_TYPE_SAFETY_CASE: NoteType(
        "safety_case", models.take_safety_case, ("about", "hash", "standard")
    ),
    pb.NOTE_TYPE_SEAL: NoteType("seal", models.take_seal, ("about", "hash")),
    pb.NOTE_TYPE_CEREMONY: NoteType("ceremony", offices.take_ceremony, ("about", "hash")),
    pb.NOTE_TYPE_REMEDY: NoteType("remedy", cases.take_remedy, ("about", "hash")),
    pb.NOTE_TYPE_EXPLAINED: NoteType("explained", cases.take_explained, ("about",)),
    pb.NOTE_TYPE_CONSENT: NoteType("consent", naming.take_consent, ("about",)),
    pb.NOTE_TYPE_OBJECTION: NoteType("objection", naming.take_objection, ("about",)),
}


def take_note(book: Book, entry: Entry, body: pb.Note) -> Accepted:
    """Judge a note of any type."""
    kind = TYPES[body.type]
    return Accepted(f"note:{kind.name}:{kind.take(book, entry, body)}")


_ROUND: Final = re.compile("[1-9][0-9]{0,15}")
# Fields that came later, and the one or two types they are for.
_ALSO: Final = {
    "code": {pb.NOTE_TYPE_INCIDENT, pb.NOTE_TYPE_PUBLICATION},
    "jurisdiction": {pb.NOTE_TYPE_INCIDENT},
    "severity": {pb.NOTE_TYPE_INCIDENT},
    "multiplier_bp": {pb.NOTE_TYPE_PUBLICATION},
    "size": {pb.NOTE_TYPE_PRIOR_LOG},
    "standard": {pb.NOTE_TYPE_SAFETY_CASE},
}
SEVERITY_MAX: Final = 4


def _note_type(body: Any) -> None:
    kind = TYPES.get(body.type)
    for name in kind.needs if kind is not None else ():
        if not body.HasField(name):
            raise MalformedContent(f"note.{name}", "missing in a note of this type")
    for name, types in _ALSO.items():
        if body.HasField(name) and body.type not in types:
            raise MalformedContent(f"note.{name}", "not allowed in a note of this type")
    if body.type == pb.NOTE_TYPE_REVEAL and not _ROUND.fullmatch(body.about):
        raise MalformedContent("note.about", f"{body.about[:80]!r} is no number of a round")
    if body.type == pb.NOTE_TYPE_INCIDENT and not 1 <= body.severity <= SEVERITY_MAX:
        raise MalformedContent("note.severity", f"{body.severity}: from 1 to {SEVERITY_MAX}")


KIND: Final[Kind] = Kind(
    form=Form(
        enums=("type",),
        integers=("multiplier_bp", "size", "severity"),
        texts=("about", "code", "jurisdiction", "standard"),
        hashes=("corrects", "hash"),
        extra=(_note_type,),
    ),
    take=take_note,
    speaks_of="about",
    classes="RPS",
)
