"""What a witness decides, who is guilty, and the proof file between them."""

import pytest

from node.log import merkle, proof, witness
from node.log.equivocation import PrefixProof, find_conflict
from node.log.errors import MalformedProof, MalformedRequest
from node.log.policy import parse_policy
from node.log.strict import base64_text
from node.log.witness import Held
from node.signing.verify import verify_ed25519
from tests.unit.log import world

HASHES = world.tree(40)
LOGS = {world.ORIGIN: list(world.LOG_VKEYS.values())}


def body(old: int, new: int, label: str = "entry", log: str | None = "AA") -> bytes:
    path = merkle.consistency_proof(old, new, HASHES.read) if old <= new else []
    lines = "".join(f"{base64_text(item)}\n" for item in path)
    states = () if log else ("AA",)
    return f"old {old}\n{lines}\n".encode() + world.note(world.checkpoint(new, label), states, log)


def ask(data: bytes, held: dict[str, Held]) -> witness.Answer:
    answer = witness.decide(data, logs=LOGS, held=held, verify=verify_ed25519)
    if answer.cosign is not None:
        held[answer.cosign.origin] = Held(size=answer.cosign.size, root=answer.cosign.root)
    return answer


def test_a_run_of_requests() -> None:
    held: dict[str, Held] = {}
    assert ask(body(5, 10), held).status == 409
    assert ask(body(0, 10), held).status == 200
    stale = ask(body(0, 20), held)
    assert (stale.status, stale.body, stale.content_type) == (409, b"10\n", "text/x.tlog.size")
    assert ask(body(10, 20), held).status == 200
    assert ask(body(20, 20), held).status == 200
    assert held[world.ORIGIN].size == 20
    assert ask(body(20, 20, "other"), held).status == 422
    assert ask(body(20, 30, "other"), held).status == 422
    assert ask(body(21, 20), held).status == 400
    assert ask(body(20, 30, log=None), held).status == 403
    assert ask(body(20, 30).replace(b"ledger.example", b"ledger.elsewhere"), held).status == 404
    assert held[world.ORIGIN].size == 20


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"old 1\n",
        b"old 01\n\n",
        b"old -1\n\n",
        b"old\n\n",
        b"new 1\n\n",
        b"old 0\nAAAA\n\n",
        b"old 0\n\nnot a note",
        b"old 0\n" + (base64_text(bytes(32)) + "\n").encode() * 64 + b"\n",
        b"old 0\n\n" + b"x" * 65_536,
        b"\xff\n\n",
    ],
)
def test_requests_that_do_not_parse(data: bytes) -> None:
    with pytest.raises(MalformedRequest):
        witness.parse_request(data)
    assert ask(data, {}).status == 400


def test_our_own_origin_never_gets_a_new_signature() -> None:
    """RULINGS R40: what was made before, the own size, or a refusal; `cosign` stays empty."""
    made = {10: (HASHES.root_at(10), b"the line made for 10\n")}

    def own(data: bytes) -> witness.Answer:
        return witness.decide_own(
            data,
            log_keys=list(world.LOG_VKEYS.values()),
            own_size=12,
            made=made.get,
            verify=verify_ed25519,
        )

    known, ahead, other = own(body(0, 10)), own(body(10, 20)), own(body(0, 10, "other"))
    assert (known.status, known.body) == (200, b"the line made for 10\n")
    assert (ahead.status, ahead.body) == (409, b"12\n")
    assert other.status == 422
    assert own(body(11, 10)).status == 400
    assert own(body(0, 10, log=None)).status == 403
    assert own(b"").status == 400
    assert all(answer.cosign is None for answer in (known, ahead, other))


def conflict_of(a: bytes, b: bytes, prefix: PrefixProof | None = None) -> tuple[str, ...] | None:
    found = find_conflict(parse_policy(world.POLICY), a, b, verify_ed25519, prefix=prefix)
    return None if found is None else found.guilty


def test_two_roots_at_one_size_name_who_signed_both() -> None:
    a = world.note(world.checkpoint(9), world.STATES[:5])
    b = world.note(world.checkpoint(9, "other"), world.STATES[2:])
    assert conflict_of(a, b) == ("CC", "DD", "EE")
    assert conflict_of(b, a) == ("CC", "DD", "EE")
    assert conflict_of(a, world.note(world.checkpoint(9), world.STATES[2:])) is None


def test_a_forged_line_accuses_nobody() -> None:
    a = world.note(world.checkpoint(9), world.STATES[:5])
    b = world.note(world.checkpoint(9, "other"), world.STATES[2:])
    forged = a + str(world.cosigner_line("FF", world.checkpoint(8))).encode()
    assert conflict_of(forged, b) == ()


def test_different_sizes_need_the_prefix_of_the_larger() -> None:
    small = world.note(world.checkpoint(9, "other"), world.STATES[:5])
    large = world.note(world.checkpoint(12), world.STATES[2:])
    prefix = PrefixProof(root=HASHES.root_at(9), proof=merkle.consistency_proof(9, 12, HASHES.read))
    assert conflict_of(small, large, prefix) == ("CC", "DD", "EE")
    honest = world.note(world.checkpoint(9), world.STATES[:5])
    assert conflict_of(honest, large, prefix) is None
    with pytest.raises(MalformedProof):
        conflict_of(small, large)
    made_up = PrefixProof(root=world.checkpoint(9, "other").root, proof=prefix.proof)
    with pytest.raises(MalformedProof):
        conflict_of(small, large, made_up)


def proof_of(index: int, size: int, extra: bytes | None = None) -> proof.ProofFile:
    return proof.ProofFile(
        index=index,
        hashes=tuple(merkle.inclusion_proof(index, size, HASHES.read)),
        note=world.note(world.checkpoint(size), ("AA",)),
        extra=extra,
    )


def test_proof_files_both_ways() -> None:
    for index, size, extra in ((0, 1, None), (7, 40, None), (39, 40, b"\x00e")):
        made = proof_of(index, size, extra)
        assert proof.parse_proof(bytes(made)) == made
        assert made.root_of(b"entry-%d" % index) == HASHES.root_at(size)
        assert made.root_of(b"entry-x") != HASHES.root_at(size)


def test_an_index_outside_the_checkpoint_has_no_root() -> None:
    made = proof_of(7, 40)
    outside = proof.ProofFile(index=40, hashes=made.hashes, note=made.note)
    with pytest.raises(MalformedProof):
        outside.root_of(b"entry-7")


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"@v1", b"@v2"),
        (b"index 7", b"index 07"),
        (b"index 7", b"index +7"),
        (b"index 7", b"index  7"),
        (b"index 7\n", b""),
        (b"index 7\n", b"extra \nindex 7\n"),
        (b"index 7\n", b"index 7\nextra eA==\n"),
        (b"index 7\n", b"index 7\n\n"),
        (b"index 7\n", b"index 7\nAAAA\n"),
    ],
)
def test_what_is_no_proof_file(old: bytes, new: bytes) -> None:
    data = bytes(proof_of(7, 40))
    with pytest.raises(ValueError, match=r"."):
        proof.parse_proof(data.replace(old, new, 1))
