"""What strangers may hand to the outsider's verifier: misspelt CBOR and JSON, archives that point elsewhere, absurd numbers."""

import base64
import json
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import foedus_evidence as fe
import foedus_verify as fv
from node.ledger.cosigned import Cosigned, note_lines
from node.ledger.trust import trust_policy
from node.log.checkpoint import Checkpoint
from node.log.note import Note
from node.signing.checkpoints import sign_cosignature
from tests.unit.audit.conftest import World
from tests.unit.audit.history import clone
from tests.unit.audit.test_altered_archives import reseal

SEED = 26_1120


def written(value: Any) -> bytes:
    """The one deterministic encoding (RFC 8949, section 4.2.1), written the plain way."""

    def head(kind: int, number: int) -> bytes:
        for low, wide in ((24, 1), (25, 2), (26, 4), (27, 8)):
            if number < 24:
                return bytes([kind << 5 | number])
            if number < 1 << 8 * wide:
                return bytes([kind << 5 | low]) + number.to_bytes(wide, "big")
        raise AssertionError(number)

    match value:
        case None | bool():
            return {False: b"\xf4", True: b"\xf5", None: b"\xf6"}[value]
        case int():
            return head(0, value) if value >= 0 else head(1, -1 - value)
        case bytes():
            return head(2, len(value)) + value
        case str():
            return head(3, len(value.encode())) + value.encode()
        case list():
            return head(4, len(value)) + b"".join(map(written, value))
        case dict():
            pairs = sorted((written(key), written(item)) for key, item in value.items())
            return head(5, len(pairs)) + b"".join(key + item for key, item in pairs)
    raise AssertionError(value)


def drawn(draw: random.Random, depth: int = 4) -> Any:
    kind = draw.randrange(7 if depth else 5)
    number = draw.choice((0, 23, 24, 255, 256, 65_535, 65_536, 2**32 - 1, 2**32, 2**64 - 1))
    size = draw.choice((0, 1, 23, 24, 255, 256)) if depth == 4 else draw.randrange(30)
    match kind:
        case 0:
            return draw.choice((None, True, False))
        case 1:
            return number
        case 2:
            return -1 - number
        case 3:
            return draw.randbytes(size)
        case 4:
            return "é" * (size // 2)
        case 5:
            return [drawn(draw, depth - 1) for _ in range(draw.randrange(6))]
        case _:
            keys: tuple[Any, ...] = (1, -1, 24, 1000, "", "a", "b", "aa", "type", "é")
            chosen = draw.sample(keys, draw.randrange(6))
            return {key: drawn(draw, depth - 1) for key in chosen}


def test_cbor_has_one_spelling() -> None:
    """Every value is read back; whatever altered bytes are read as, written again it gives those bytes."""
    draw = random.Random(SEED)
    read = refused = 0
    for _ in range(1_500):
        value = drawn(draw)
        data = written(value)
        assert fe.from_cbor(data) == value
        altered = bytearray(data)
        for _ in range(draw.randrange(1, 3)):
            place = draw.randrange(len(altered) + 1)
            if place < len(altered) and draw.random() < 0.7:
                altered[place] = draw.randrange(256)
            else:
                altered[place:place] = draw.randbytes(draw.randrange(3))
        try:
            other = fe.from_cbor(bytes(altered))
        except fv.NO_FORM:
            refused += 1
            continue
        read += 1
        assert written(other) == altered
    assert read > 100
    assert refused > 300


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x81" * 10_000,  # deep
        b"\x81" * fe.DEPTH_MAX + b"\x00",
        b"\x9b" + b"\xff" * 8,  # long
        b"\xbb\x7f" + b"\xff" * 7,
        b"\x5b\x00\x00\x00\x00\xff\xff\xff\xff",
        b"\xa2\x00\x00\x00\x00",  # a key twice
        b"\xa2\x61b\x00\x61a\x00",  # out of order
        b"\xa2\x62aa\x00\x61b\x00",
        b"\x18\x17",  # misspelt numbers
        b"\x19\x00\xff",
        b"\x1a\x00\x00\xff\xff",
        b"\x1b\x00\x00\x00\x00\xff\xff\xff\xff",
        b"\x1b\xff\xff\xff\xff\xff",  # ends within one
        b"\x58\x01a",
        b"\xc0\x00",  # a tag
        b"\x5f\xff",  # of no known length
        b"\x9f\xff",
        b"\xf9\x00\x00",  # floats
        b"\xfb" + bytes(8),
        b"\xf8\x14",  # false, misspelt
        b"\xf7",  # undefined
        b"\x61\xff",  # no UTF-8
        b"\xa1\xf5\x00",  # a key that is no key
        b"\xa1\x40\x00",
        b"\xa1\x80\x00",
        b"\x00\x00",  # more than one value
    ],
)
def test_cbor_of_strangers(data: bytes) -> None:
    with pytest.raises(ValueError, match=r"CBOR|utf-8"):
        fe.from_cbor(data)


# --- archives ------------------------------------------------------------------------------------


def lists(archive: Path, manifest: str, name: str, entry: Any) -> None:
    """A manifest with one more file, in its own spelling."""
    value = json.loads((archive / manifest).read_bytes())
    value["files"][name] = entry
    text = json.dumps(value, sort_keys=True, separators=(",", ":")) + "\n"
    (archive / manifest).write_text(text, encoding="utf-8")


def outside(archive: Path) -> None:
    secret = archive.parent / "secret"
    secret.write_bytes(b"x")
    digest = fv.digest(b"x").hex()
    lists(archive, "manifest.json", "../secret", [1, digest])


def absolute(archive: Path) -> None:
    name = str(archive / "policy")
    lists(archive, "manifest.json", name, [1, "00" * 32])


def link_to_a_file(archive: Path) -> None:
    """The same bytes, from another place: whoever copies the folder copies a name."""
    (archive / "policy").rename(archive.parent / "policy")
    (archive / "policy").symlink_to(archive.parent / "policy")


def link_to_a_folder(archive: Path) -> None:
    (archive / "tile").rename(archive.parent / "tile")
    (archive / "tile").symlink_to(archive.parent / "tile", target_is_directory=True)


def link_that_nobody_lists(archive: Path) -> None:
    (archive / "more").symlink_to(archive.parent, target_is_directory=True)


def pipe(archive: Path) -> None:
    os.mkfifo(archive / "pipe")


def in_the_other_part(archive: Path) -> None:
    """A file that every honest node has the same bytes of, moved to where they may differ."""
    value = json.loads((archive / "manifest.json").read_bytes())["files"]["policy"]
    lists(archive, "signatures/manifest.json", "policy", value)


def signature_inside(archive: Path) -> None:
    value = json.loads((archive / "signatures/manifest.json").read_bytes())["files"]["checkpoint"]
    lists(archive, "manifest.json", "checkpoint", value)


def other_facts(archive: Path) -> None:
    """A manifest that promises more commits than the log has."""
    value = json.loads((archive / "manifest.json").read_bytes())
    value["commits"] += 1
    text = json.dumps(value, sort_keys=True, separators=(",", ":")) + "\n"
    (archive / "manifest.json").write_text(text, encoding="utf-8")


def one_name_more(archive: Path) -> None:
    value = json.loads((archive / "manifest.json").read_bytes())
    text = json.dumps({**value, "note": ""}, sort_keys=True, separators=(",", ":")) + "\n"
    (archive / "manifest.json").write_text(text, encoding="utf-8")


def spelt_otherwise(archive: Path) -> None:
    value = json.loads((archive / "manifest.json").read_bytes())
    (archive / "manifest.json").write_text(json.dumps(value), encoding="utf-8")


def a_name_twice(archive: Path) -> None:
    """Two readers could take two values."""
    data = (archive / "manifest.json").read_text(encoding="utf-8")
    (archive / "manifest.json").write_text('{"commits":7,' + data[1:], encoding="utf-8")


def floats(archive: Path) -> None:
    data = (archive / "manifest.json").read_text(encoding="utf-8")
    value = json.loads(data)
    old, new = f'"size":{value["size"]}', f'"size":{value["size"]}.0'
    assert old in data
    (archive / "manifest.json").write_text(data.replace(old, new), encoding="utf-8")


def deep(archive: Path) -> None:
    (archive / "manifest.json").write_text('{"files":' * 100_000, encoding="utf-8")


def huge_number(archive: Path) -> None:
    (archive / "manifest.json").write_text('{"files":{},"size":' + "9" * 9_999, encoding="utf-8")


def longer_bundle(archive: Path) -> None:
    """A bundle with a byte after its last entry; the manifests agree."""
    for bundle in (archive / "tile" / "entries").rglob("*"):
        if bundle.is_file():
            bundle.write_bytes(bundle.read_bytes() + b"\0")
    reseal(archive)


def length_beyond_the_end(archive: Path) -> None:
    for bundle in (archive / "tile" / "entries").rglob("*"):
        if bundle.is_file():
            bundle.write_bytes(b"\xff\xff" + bundle.read_bytes()[2:])
    reseal(archive)


def policy_of_fewer(archive: Path) -> None:
    """The founders' policy, with a quorum of one: whoever would take it from the archive believes one state."""
    data = (archive / "policy").read_bytes()
    (archive / "policy").write_bytes(data.replace(b"group states 4 ", b"group states 1 "))
    assert (archive / "policy").read_bytes() != data
    reseal(archive)


def genesis_altered(archive: Path) -> None:
    """The manifests agree, and still say the chain id that the log begins with."""
    path = archive / "genesis.cbor"
    path.write_bytes(path.read_bytes() + b"\0")
    reseal(archive)


def one_entry_altered(archive: Path) -> None:
    """With the tile that follows from it: nothing but the signed root tells."""
    (bundle,) = (path for path in (archive / "tile" / "entries").rglob("*") if path.is_file())
    data, entries, at = bytearray(bundle.read_bytes()), [], 0
    data[300] ^= 1
    bundle.write_bytes(data)
    while at < len(data):
        size = int.from_bytes(data[at : at + 2], "big")
        entries.append(bytes(data[at + 2 : at + 2 + size]))
        at += 2 + size
    (tile,) = (path for path in (archive / "tile" / "0").rglob("*") if path.is_file())
    tile.write_bytes(b"".join(fv.digest(fv.LEAF, entry) for entry in entries))
    reseal(archive)


def another_genesis(archive: Path) -> None:
    """A founding document of which nobody has heard, under its own chain id; the manifests agree."""
    path = archive / "genesis.cbor"
    path.write_bytes(path.read_bytes() + b"\0")
    reseal(archive)
    value = json.loads((archive / "manifest.json").read_bytes())
    value["chain_id"] = fv.digest(path.read_bytes()).hex()
    text = json.dumps(value, sort_keys=True, separators=(",", ":")) + "\n"
    (archive / "manifest.json").write_text(text, encoding="utf-8")


def blocks_taken_out(archive: Path) -> None:
    """What shows the order is gone, and nothing says that it was there."""
    (archive / "blocks" / "0000000001.blocks").unlink()
    reseal(archive)


def signatures_taken_out(archive: Path) -> None:
    (archive / "signatures" / "0000000001.blocks").unlink()
    reseal(archive)


def beyond_the_last_commit(archive: Path) -> None:
    (archive / "commits" / "0000000257.commits").write_bytes(b"")
    reseal(archive)


def tile_of_another_size(archive: Path) -> None:
    """Cut from the right one: whoever serves the folder serves it to clients."""
    (tile,) = (archive / "tile" / "0").rglob("[0-9]*[0-9]")
    tile.with_name("7").write_bytes(tile.read_bytes()[: 7 * 32])
    reseal(archive)


def listed_junk(archive: Path) -> None:
    (archive / "read me").write_bytes(b"the states agree that ...")
    (archive / "signatures" / "read me").write_bytes(b"x")
    reseal(archive)


@pytest.mark.parametrize(
    "alter",
    [
        *(outside, absolute, link_to_a_file, link_to_a_folder, link_that_nobody_lists, pipe),
        *(in_the_other_part, signature_inside, other_facts, one_name_more, spelt_otherwise),
        *(a_name_twice, floats, deep, huge_number, longer_bundle, length_beyond_the_end),
        *(policy_of_fewer, another_genesis, blocks_taken_out, signatures_taken_out),
        *(beyond_the_last_commit, tile_of_another_size, listed_junk),
        *(genesis_altered, one_entry_altered),
    ],
)
def test_an_archive_holds_what_it_lists_and_nothing_else(
    world: World, tmp_path: Path, alter: Callable[[Path], None]
) -> None:
    archive, policy = clone(world.exports["CN"], tmp_path / "archive"), tmp_path / "trusted"
    policy.write_bytes(trust_policy(world.weave.founding.genesis))
    by_chain_id = ["archive", str(archive), "--chain-id", world.weave.founding.chain_id.hex()]
    by_policy = ["archive", str(archive), "--policy", str(policy)]
    assert (fv.main(by_chain_id), fv.main(by_policy)) == (0, 0)
    alter(archive)
    assert fv.main(by_chain_id) in (1, 2)
    assert fv.main(by_policy) in (1, 2)


def test_a_checkpoint_of_another_log_by_the_same_members(world: World, tmp_path: Path) -> None:
    """All of them signed this root, under another name."""
    archive, policy = clone(world.exports["CN"], tmp_path / "archive"), tmp_path / "trusted"
    policy.write_bytes(trust_policy(world.weave.founding.genesis))
    size, root = world.exported["CN"].size, bytes.fromhex(world.exported["CN"].root)
    origin = "another/log"
    checkpoint = Checkpoint(origin=origin, size=size, root=root)
    nodes = world.weave.founding.nodes
    made = [sign_cosignature(node.cosigner, checkpoint, 1_700_000_000) for node in nodes]
    lines = [
        Cosigned(
            member=member, size=size, root=root, timestamp=one.timestamp, signature=one.signature
        )
        for member, one in enumerate(made)
    ]
    members = world.weave.founding.genesis.members
    shown = tuple(note_lines(world.weave.founding.genesis.origin, members, lines))
    (archive / "checkpoint").write_bytes(bytes(Note(text=checkpoint.text(), lines=shown)))
    trust = [fv.parse_policy(policy.read_bytes())]
    signed = fv.certificate((archive / "checkpoint").read_bytes(), trust, log_line=False)
    assert signed["signed_by"] == [member.state for member in members]
    reseal(archive)
    value = json.loads((archive / "manifest.json").read_bytes()) | {"origin": origin}
    text = json.dumps(value, sort_keys=True, separators=(",", ":")) + "\n"
    (archive / "manifest.json").write_text(text, encoding="utf-8")
    assert fv.main(["archive", str(archive), "--policy", str(policy)]) == 1


def test_a_genesis_that_a_member_did_not_sign(world: World) -> None:
    document = world.weave.founding.document
    assert fe.founding(document, None).logs
    value = fe.from_cbor(document)
    for altered in (
        {**value, "signatures": {**value["signatures"], "KE": bytes(64)}},
        {**value, "origin": "another"},
        {**value, "members": value["members"][:4]},
    ):
        with (
            pytest.raises(fv.NotProven)
            if len(altered["members"]) == 5
            else pytest.raises((fv.NotProven, LookupError))
        ):
            fe.founding(written(altered), None)
    missing = {**value, "signatures": {k: v for k, v in value["signatures"].items() if k != "US"}}
    with pytest.raises(LookupError):
        fe.founding(written(missing), None)
    hidden = {**value, "publication": "jsignatures"}  # its own key's bytes, in a text before it
    with pytest.raises((fv.NotProven, *fv.NO_FORM)):
        fe.founding(written(hidden), None)


# --- notes, policies, receipts and evidence of strangers -----------------------------------------


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\nindex 9\n", b"\nindex 99999999999999999999\n"),
        (b"\nindex 9\n", b"\nindex 18446744073709551615\n"),
        (b"\nindex 9\n", b"\nindex 09\n"),
        (b"\nindex 9\n", b"\nindex -1\n"),
        (b"\nindex 9\n", b"\nindex 9\n" + b"A" * 43 + b"=\n"),
        (b"\nindex 9\n", b"\nindex 9\n" + (b"A" * 43 + b"=\n") * 5_000),
        (b"\nindex 9\n", b"\nindex 9\n" + b"A" * 44 + b"\n"),
    ],
)
def test_a_receipt_with_absurd_numbers(
    world: World, tmp_path: Path, old: bytes, new: bytes
) -> None:
    note = (world.exports["CN"] / "checkpoint").read_bytes()
    policy, path = tmp_path / "policy", tmp_path / "receipt"
    policy.write_bytes(trust_policy(world.weave.founding.genesis))
    extra = base64.b64encode(b"entry")
    whole = b"c2sp.org/tlog-proof@v1\nextra " + extra + b"\nindex 9\n\n" + note
    assert old in whole
    path.write_bytes(whole.replace(old, new))
    assert fv.main(["receipt", str(path), "--policy", str(policy)]) == 2


def test_more_lines_than_anybody_needs(world: World) -> None:
    note = (world.exports["CN"] / "checkpoint").read_bytes()
    line = b"\xe2\x80\x94 nobody " + base64.b64encode(bytes(72)) + b"\n"
    assert fv.parse_note(note + line)[1]
    with pytest.raises(ValueError, match="lines"):
        fv.parse_note(note + line * (fv.LINES_MAX + 1))
    policy = trust_policy(world.weave.founding.genesis)
    with pytest.raises(ValueError, match="too long"):
        fv.parse_policy(policy + b"#\n" * (fv.LINES_MAX + 1))


@pytest.mark.parametrize(
    "line",
    [
        b"group g 1 none\n",
        b"group g 0 US\n",
        b"group g 1 US US\n",
        b"group g 2 US\n",
        b"group g 1\n",
        b"group states 1 US\n",
        b"group g 1 US\n",  # in a group already
        b"quorum none\n",
        b"quorum\n",
        b"witness US\n",
        b"log\n",
        b"trust me\n",
    ],
)
def test_policies_that_say_more_than_they_may(world: World, line: bytes) -> None:
    with pytest.raises((*fv.NO_FORM,)):
        fv.parse_policy(trust_policy(world.weave.founding.genesis) + line)


def test_evidence_with_names_twice_and_absurd_numbers(world: World) -> None:
    with pytest.raises(ValueError, match="twice"):
        fe.from_json(b'{"accused": ["US"], "accused": ["KE"]}')
    said = {
        "format": "foedus/evidence/1",
        "kind": "two-blocks",
        "accused": ["US"],
        "genesis": base64.b64encode(world.weave.founding.document).decode(),
        "block_keys": [m.block_key.hex() for m in world.weave.founding.genesis.members],
        "epoch": 0,
        "round": 1,
        "author": 4,
        "digest1": "11" * 32,
        "digest2": "22" * 32,
        "signature1": "00" * 64,
        "signature2": "00" * 64,
    }

    def judged(**other: Any) -> None:
        fe.evidence(json.dumps({**said, **other}).encode(), None, None)

    with pytest.raises(fv.NotProven):
        judged()
    for name in ("epoch", "round", "author"):
        for number in (True, -1, 1 << 40, 1e300, 1.0, "1", None, [0]):
            with pytest.raises((*fv.NO_FORM,)):
                judged(**{name: number})
    for accused in ([], None, "US", [["US"]], {"US": 1}):
        with pytest.raises((*fv.NO_FORM,)):
            judged(accused=accused)
    with pytest.raises((fv.NotProven, *fv.NO_FORM)):
        judged(block_keys=[])


def test_a_consistency_proof_without_end() -> None:
    for sizes in ((1, 2), (3, 2**63), (2**63 - 1, 2**63)):
        with pytest.raises(ValueError, match=r"proof|tree"):
            fe.extended(*sizes, [bytes(32)] * 5_000, bytes(32))
