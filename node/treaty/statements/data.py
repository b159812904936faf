"""`data`: what a run was trained on, and who owns it (MODEL 3, kind 16; M44, X15).

    manifest        the developer: tokens by licence class, dangerous tokens, the root of the sorted tree of documents
    rights_claim    anybody registered: this document is mine; with an audit path also: and you used it
    rights_answer   the developer: a licence, or two neighbours in the tree between which the document would stand

The tree is RFC 6962's over SHA-256 hashes of documents in ascending order. A root over an unsorted tree can prove a lie
once, till somebody shows the audit path of what was denied: then it is a false proof (C26, severity 3). Sums that do not
add up are findings, not refusals; a proof that proves nothing is refused.
"""

from typing import Any, Final

from foedus.v1 import content_pb2 as pb
from node.treaty.bodies import INTEGER_LIMIT, Form
from node.treaty.book import RANK_DUTY, Accepted, Book, Refused
from node.treaty.checks import data as checks
from node.treaty.codes import Code
from node.treaty.documents import Leaf, is_between, is_member
from node.treaty.entries import Entry
from node.treaty.errors import MalformedContent
from node.treaty.filing import countersigned, operator_of, require_allowance, require_past
from node.treaty.kinds import Kind
from node.treaty.rows.runs import Claim, Denial, Manifest

LICENCE_CLASSES: Final = frozenset(
    {"licensed", "own", "public_domain", "synthetic", "user", "unlicensed"}
)
PATH_MAX: Final = 53  # a tree has fewer than 2^53 leaves
CLAIMS_A_DAY_MAX: Final = 16  # of one claimant against one run

_NEEDS: Final = {
    pb.DATA_TYPE_MANIFEST: ("run", "doc_root", "documents"),
    pb.DATA_TYPE_RIGHTS_CLAIM: ("run", "document"),
    pb.DATA_TYPE_RIGHTS_ANSWER: ("claim", "answer"),
}
_ALLOWED: Final = {
    pb.DATA_TYPE_MANIFEST: {"tokens", "danger_tokens"},
    pb.DATA_TYPE_RIGHTS_CLAIM: {"member"},
    pb.DATA_TYPE_RIGHTS_ANSWER: {"licence", "before", "after"},
}


def _shape(body: Any) -> None:
    for name in _NEEDS[body.type]:
        if not body.HasField(name):
            raise MalformedContent(f"data.{name}", "missing in this type")
    allowed = {"type", *_NEEDS[body.type], *_ALLOWED[body.type]}
    for descriptor, _ in body.ListFields():
        if descriptor.name not in allowed:
            raise MalformedContent(f"data.{descriptor.name}", "not allowed in this type")
    seen = set()
    for item in body.tokens:
        if item.name not in LICENCE_CLASSES or item.name in seen:
            raise MalformedContent("data.tokens", f"{item.name[:80]!r} unknown or twice")
        seen.add(item.name)
        if not item.HasField("amount") or item.amount >= INTEGER_LIMIT:
            raise MalformedContent("data.tokens", f"no amount below 2^53 for {item.name}")
    if sum(item.amount for item in body.tokens) >= INTEGER_LIMIT:
        raise MalformedContent("data.tokens", "together not below 2^53")
    for name in ("member", "before", "after"):
        if body.HasField(name):
            _proof_shape(name, getattr(body, name))


def _proof_shape(name: str, proof: Any) -> None:
    hashes = (proof.document, *proof.path)
    if len(proof.path) > PATH_MAX or any(len(one) != 32 for one in hashes):
        raise MalformedContent(
            f"data.{name}", f"want hashes of 32 bytes, at most {PATH_MAX} in path"
        )
    if proof.index >= INTEGER_LIMIT:
        raise MalformedContent(f"data.{name}.index", "not below 2^53")


def take_data(book: Book, entry: Entry, body: pb.Data) -> Accepted:
    """Judge a data statement of any type."""
    match body.type:
        case pb.DATA_TYPE_MANIFEST:
            return _manifest(book, entry, body)
        case pb.DATA_TYPE_RIGHTS_CLAIM:
            return _claim(book, entry, body)
        case _:
            return _answer(book, entry, body)


def _manifest(book: Book, entry: Entry, body: pb.Data) -> Accepted:
    author = entry.parsed.author
    run = book.qualified(author, body.run)
    plan = book.state.plans.get(run)
    if plan is None:
        raise Refused(Code.UNKNOWN_REF, f"no run {run}")
    uncountersigned = countersigned(book, entry, operator_of(book, entry))
    if plan.operator != author:
        raise Refused(Code.STANDING, f"{run} is {plan.operator}'s")
    if run in book.state.manifests:
        raise Refused(Code.REPEATED, f"the manifest of {run} is filed: a correction is a note")
    require_past(book, entry)
    tokens = sum(item.amount for item in body.tokens)
    row = Manifest(entry.entry_hash, tokens, body.doc_root, body.documents)
    book.state.manifests.put(run, row)
    checks.manifest_filed(
        book,
        entry,
        run,
        tokens=tokens,
        unlicensed=sum(item.amount for item in body.tokens if item.name == "unlicensed"),
        danger=body.danger_tokens,
        doc_root=body.doc_root,
    )
    return Accepted(f"data:manifest:{run}", uncountersigned)


def _claim(book: Book, entry: Entry, body: pb.Data) -> Accepted:
    author = entry.parsed.author
    run = book.qualified(author, body.run)
    manifest = book.state.manifests.get(run)
    if manifest is None:
        raise Refused(Code.UNKNOWN_REF, f"no manifest of {run}")
    if body.HasField("member"):
        proof = body.member
        if proof.document != body.document or not is_member(
            manifest.doc_root, manifest.documents, _leaf(proof)
        ):
            raise Refused(Code.EVIDENCE, "the audit path does not lead to the manifest's root")
    require_past(book, entry)
    require_allowance(book, f"claim/{author}:{run}", CLAIMS_A_DAY_MAX)
    due = book.now + book.value("rights")
    name = entry.entry_hash.hex()
    book.state.claims.put(name, Claim(run, body.document, author, due, answered=0))
    book.schedule(due + 1, RANK_DUTY, "rights", name)
    denial = book.state.denials.get(f"{run}:{body.document.hex()}")
    if denial is not None and body.HasField("member"):
        checks.proved_false(book, run, body.document, (denial.entry, entry.entry_hash))
    return Accepted(f"data:claim:{run}")


def _answer(book: Book, entry: Entry, body: pb.Data) -> Accepted:
    author = entry.parsed.author
    name = body.claim.hex()
    claim = book.state.claims.get(name)
    if claim is None:
        raise Refused(Code.UNKNOWN_REF, f"no rights_claim {name}")
    operator_of(book, entry)
    if book.state.plans[claim.run].operator != author:
        raise Refused(Code.STANDING, f"{claim.run} is not {author}'s to answer for")
    denies = body.answer == pb.RIGHTS_ANSWER_NOT_USED
    if denies and not _is_proved_absent(book, claim, body):
        raise Refused(Code.EVIDENCE, "these audit paths do not show that the document is absent")
    if not denies and not body.licence:
        raise Refused(Code.EVIDENCE, "no hash of a licence")
    if claim.answered:
        raise Refused(Code.REPEATED, f"the claim {name} is answered")
    require_past(book, entry)
    book.state.claims.put(name, claim._replace(answered=1))
    if denies:
        key = f"{claim.run}:{claim.document.hex()}"
        book.state.denials.put(key, Denial(entry.entry_hash))
    return Accepted(f"data:answer:{claim.run}")


def _is_proved_absent(book: Book, claim: Claim, body: pb.Data) -> bool:
    manifest = book.state.manifests[claim.run]
    before = _leaf(body.before) if body.HasField("before") else None
    after = _leaf(body.after) if body.HasField("after") else None
    return is_between(manifest.doc_root, manifest.documents, claim.document, before, after)


def _leaf(proof: pb.DocumentProof) -> Leaf:
    return Leaf(proof.index, proof.document, tuple(proof.path))


KIND: Final[Kind] = Kind(
    form=Form(
        enums=("type",),
        integers=("danger_tokens", "documents"),
        references=("run",),
        hashes=("doc_root", "document", "claim", "licence"),
        lists=("tokens",),
        extra=(_shape,),
    ),
    take=take_data,
    speaks_of="run",
)
