"""`foedus submit`, `vote`, `endorse`: into the outbox, to the nodes, on to a proven end. The nodes are fakes."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from node.cli.author import Author
from node.cli.outbox import FileOutbox, Tip
from node.signing.acknowledgement import verify_acknowledgement
from node.signing.keystore import write_agency_keys
from node.signing.statements import entry_hash
from tests.unit.cli.conftest import Run, document_of
from tests.unit.cli.fake_network import CHEAP_KDF, OPERATOR, PASSPHRASE, FakeNetwork
from tests.unit.cli.fake_nodes import Mood, parsed_of

BODY = {"type": "evidence", "about": "KE", "hash": "ab" * 32}
NOTE: dict[str, Any] = {"kind": "note", "body": BODY}


@pytest.fixture
def outbox(tmp_path: Path) -> Path:
    return tmp_path / "outboxes"


def draft(folder: Path, document: dict[str, Any] | None = None) -> Path:
    path = folder / "draft.json"
    path.write_text(json.dumps(document or NOTE), encoding="utf-8")
    return path


def common(network: FakeNetwork, outbox: Path, nodes: Sequence[str] = ("KE",)) -> list[str]:
    return [
        *("--home", network.home("US"), "--outbox", str(outbox)),
        *network.passphrase_options(),
        *network.node_options(*nodes),
    ]


def box_of(network: FakeNetwork, outbox: Path, author: str = "US") -> FileOutbox:
    return FileOutbox(outbox, ledger=network.founded.chain_id, author=author)


def test_a_statement_becomes_final_and_proven(
    run: Run, network: FakeNetwork, outbox: Path, tmp_path: Path
) -> None:
    shown = document_of(run("submit", draft(tmp_path), *common(network, outbox), "--json"))
    leaf = network.log.leaves[1]
    assert shown == {
        "author": "US",
        "seq": 1,
        "entry_hash": entry_hash(leaf).hex(),
        "state": "final",
        "index": 1,
        "rejected": None,
        "taken_by": [{"node": "KE", "acknowledged": True, "inclusion_by_ms": 1_700_000_060_000}],
        "not_taken_by": [],
        "receipt": {
            "index": 1,
            "size": 2,
            "root": network.log.hashes.root_at(2).hex(),
            "cosigned_by": ["US", "CN", "GB", "KE", "BR"],
        },
    }
    with box_of(network, outbox) as box:
        assert box.tip == Tip(seq=1, entry_hash=entry_hash(leaf))
        assert box.waiting(1) == []
        acknowledgement = (box.folder / "00000001.KE.ack").read_bytes()
    log_key = network.homes["KE"].node_keys.log.public
    promise = verify_acknowledgement(acknowledgement, log_key)
    assert promise is not None
    assert promise.entry_hash == entry_hash(leaf)


def test_the_next_entry_follows(run: Run, network: FakeNetwork, outbox: Path) -> None:
    for about in ("CN", "GB"):
        text = run(
            *("submit", "--kind", "NOTE", "--set", "type=evidence", "--set", f"about={about}"),
            *common(network, outbox),
        ).stdout
        assert text.startswith("final at index")
        assert "cosigned by US, CN, GB, KE, BR" in text
    one, two = (parsed_of(leaf) for leaf in network.log.leaves[1:])
    assert (two.seq, two.prev) == (2, entry_hash(network.log.leaves[1]))
    assert one.body.about == "CN"


def test_a_vote_is_signed_by_the_vote_key(run: Run, network: FakeNetwork, outbox: Path) -> None:
    run("vote", "BREACH:C15:US:x", "no", *common(network, outbox))
    (leaf,) = network.log.leaves[1:]
    parsed = parsed_of(leaf)
    assert (parsed.kind, parsed.body.motion) == ("vote", "BREACH:C15:US:x")
    vote = network.homes["US"].agency_keys.vote
    assert vote is not None
    shown = document_of(
        run("log", "show", "1", "--home", network.home("US"), *network.node_options("KE"), "--json")
    )
    assert shown["content"]["kid"] == vote.kid.hex()


def test_a_misspelt_choice_needs_no_passphrase(run: Run, network: FakeNetwork) -> None:
    result = run("vote", "m", "perhaps", "--home", network.home("US"), status=2)
    assert "want one of yes, no, abstain" in result.stderr


def test_an_operators_run_is_endorsed_and_submitted(
    run: Run, network: FakeNetwork, outbox: Path, tmp_path: Path
) -> None:
    """Content out, endorsed by the agency, wrapped by the operator: no key leaves its owner."""
    keys = tmp_path / "acme.key"
    write_agency_keys(keys, OPERATOR, PASSPHRASE, cost=CHEAP_KDF)
    body = {"run": "r1", "phase": "plan", "model": "m1", "params_total": 7, "pflop_plan": 9}
    content, endorsement = tmp_path / "run.content", tmp_path / "us.endorsement"
    run(
        *("submit", draft(tmp_path, {"kind": "run", "body": body}), "--author", "acme"),
        *("--content-out", content, "--home", network.home("US")),
    )
    shown = document_of(
        run(
            *("endorse", content, "--home", network.home("US"), "-o", endorsement, "--json"),
            *network.passphrase_options(),
        )
    )
    assert shown["endorser"] == "US"
    assert shown["content"]["subject"] == "run/r1"
    assert shown["content"]["body"]["pflop_plan"] == 9
    arguments = [
        *("submit", content, "--endorsement", endorsement, "--keys", keys),
        *common(network, outbox),
    ]
    run(*arguments)
    parsed = parsed_of(network.log.leaves[1])
    assert (parsed.author, parsed.kind, len(parsed.endorsements)) == ("acme", "run", 1)
    again = run(*arguments, status=2)
    assert "said this endorsed content in its entry 1" in again.stderr
    assert len(network.log.leaves) == 2


def test_the_same_content_instead_with_an_endorsement(
    run: Run, network: FakeNetwork, outbox: Path, tmp_path: Path
) -> None:
    """Left out for want of a countersignature: said again under the same seq, which is no equivocation (R28)."""
    content, endorsement = tmp_path / "f.content", tmp_path / "cn.endorsement"
    body = {"facility": "dc1", "capacity_mh": 5, "mem_gb": 80}
    run(
        *("submit", draft(tmp_path, {"kind": "facility", "body": body})),
        *("--content-out", content, "--home", network.home("US")),
    )
    network.nodes["KE"].mood = Mood.DROPPING
    dropped = run("submit", content, *common(network, outbox), "--json", status=1)
    assert document_of(dropped)["code"] == "COUNTERSIGN"
    run(
        *("endorse", content, "--home", network.home("CN"), "-o", endorsement),
        *network.passphrase_options(),
    )
    network.nodes["KE"].mood = Mood.HONEST
    run(
        *("submit", content, "--endorsement", endorsement, "--instead"),
        *common(network, outbox),
    )
    parsed = parsed_of(network.log.leaves[1])
    assert (parsed.seq, len(parsed.endorsements)) == (1, 1)
    late = run(
        "submit",
        content,
        "--endorsement",
        endorsement,
        "--instead",
        *common(network, outbox),
        status=2,
    )
    assert "in the log already" in late.stderr


def test_when_the_first_node_is_deaf_others_are_given_it(
    run: Run, network: FakeNetwork, outbox: Path, tmp_path: Path
) -> None:
    network.nodes["KE"].mood = Mood.DEAF
    shown = document_of(
        run(
            *("submit", draft(tmp_path), *common(network, outbox, ("KE", "CN", "GB"))),
            *("--next-after", "0.2", "--json"),
        )
    )
    assert [taken["node"] for taken in shown["taken_by"]] == ["KE", "CN"]  # f+1 of five
    assert shown["state"] == "final"
    assert network.nodes["GB"].given == []
    assert network.nodes["KE"].given == network.nodes["CN"].given


def test_a_node_that_is_down_is_passed_over(
    run: Run, network: FakeNetwork, outbox: Path, tmp_path: Path
) -> None:
    result = run(
        *("submit", draft(tmp_path), "--home", network.home("US"), "--outbox", outbox),
        *(*network.passphrase_options(), "--node", "GB", *network.node_options("BR")),
    )
    assert "taken by BR" in result.stdout
    assert "node GB" in result.stderr  # nobody is where the genesis says


def test_nobody_answers(run: Run, network: FakeNetwork, outbox: Path, tmp_path: Path) -> None:
    result = run(
        *("submit", draft(tmp_path), "--home", network.home("US"), "--outbox", outbox),
        *(*network.passphrase_options(), "--json"),
        status=2,
    )
    assert "is it running" in document_of(result)["error"]
    with box_of(network, outbox) as box:
        assert box.tip == Tip()  # nothing was signed


def test_what_the_law_rejects_is_recorded_and_a_no(
    run: Run, network: FakeNetwork, outbox: Path, tmp_path: Path
) -> None:
    network.nodes["KE"].mood = Mood.REJECTING
    result = run("submit", draft(tmp_path), *common(network, outbox), "--json", status=1)
    assert (document_of(result)["state"], document_of(result)["rejected"]) == ("final", "LATE")
    assert "rejected by the law: LATE" in result.stderr


def test_a_refusal_names_the_field(
    run: Run, network: FakeNetwork, outbox: Path, tmp_path: Path
) -> None:
    network.nodes["KE"].mood = Mood.REFUSING
    result = run("submit", draft(tmp_path), *common(network, outbox), "--json", status=1)
    document = document_of(result)
    assert (document["state"], document["code"]) == ("refused", "UNKNOWN_AUTHOR")
    assert "author" in document["why"]


def test_overload_is_no_answer(
    run: Run, network: FakeNetwork, outbox: Path, tmp_path: Path
) -> None:
    network.nodes["KE"].mood = Mood.BUSY
    result = run("submit", draft(tmp_path), *common(network, outbox), status=2)
    assert "try again in 250 ms" in result.stderr


def test_what_waits_goes_first_with_the_same_bytes(
    run: Run, network: FakeNetwork, outbox: Path, tmp_path: Path
) -> None:
    """A crash or a busy node after signing: the entry keeps its place, and its bytes."""
    node = network.nodes["KE"]
    node.mood = Mood.BUSY
    run("submit", draft(tmp_path), *common(network, outbox), status=2)
    (first,) = node.given
    node.mood = Mood.HONEST
    shown = document_of(run("submit", draft(tmp_path), *common(network, outbox), "--json"))
    assert shown["seq"] == 2
    assert network.log.leaves[1] == first
    assert parsed_of(network.log.leaves[2]).prev == entry_hash(first)


def test_resend_signs_nothing(run: Run, network: FakeNetwork, outbox: Path, tmp_path: Path) -> None:
    node = network.nodes["KE"]
    node.mood = Mood.DEAF
    late = run("submit", draft(tmp_path), *common(network, outbox), "--within", "0.3", status=2)
    assert "after 0.3 s" in late.stderr
    node.mood = Mood.HONEST
    shown = document_of(run("submit", "--resend", *common(network, outbox), "--json"))
    assert (shown["seq"], shown["state"]) == (1, "final")
    nothing = document_of(run("submit", "--resend", *common(network, outbox), "--json"))
    assert nothing == {"entries": []}
    assert len(network.log.leaves) == 2


def test_a_second_outbox_signs_nothing(
    run: Run, network: FakeNetwork, outbox: Path, tmp_path: Path
) -> None:
    """Two machines sign for one author: the one that is behind must not use a seq again."""
    run("submit", draft(tmp_path), *common(network, outbox))
    other = tmp_path / "other"
    result = run("submit", draft(tmp_path), *common(network, other), status=2)
    assert "another outbox has signed for it" in result.stderr
    assert len(network.log.leaves) == 2
    shown = document_of(
        run("submit", draft(tmp_path), *common(network, other), "--adopt", "--json")
    )
    assert shown["seq"] == 2


def test_an_outbox_in_use_is_left_alone(
    run: Run, network: FakeNetwork, outbox: Path, tmp_path: Path
) -> None:
    with box_of(network, outbox):
        result = run("submit", draft(tmp_path), *common(network, outbox), status=2)
    assert "another process signs for US" in result.stderr


def test_a_forged_acknowledgement_is_no_acknowledgement(
    run: Run, network: FakeNetwork, outbox: Path, tmp_path: Path
) -> None:
    network.nodes["KE"].mood = Mood.FORGING
    result = run("submit", draft(tmp_path), *common(network, outbox), status=2)
    assert "not signed by its log key" in result.stderr


def test_a_node_that_boasts_is_not_believed(
    run: Run, network: FakeNetwork, outbox: Path, tmp_path: Path
) -> None:
    """It says final; its receipt leads from our bytes to no cosigned root."""
    network.nodes["KE"].mood = Mood.BOASTING
    result = run("submit", draft(tmp_path), *common(network, outbox), status=2)
    assert "its receipt does not prove it" in result.stderr


def test_a_signed_entry_is_relayed_as_it_is(run: Run, network: FakeNetwork, tmp_path: Path) -> None:
    """Any node takes it, and this command needs no key for it."""
    path = tmp_path / "entry.cose"
    signed = Author(OPERATOR, ledger=network.founded.chain_id).say("note", BODY)
    path.write_bytes(signed.entry)
    shown = document_of(
        run("submit", path, "--home", network.home("US"), *network.node_options("GB"), "--json")
    )
    assert (shown["author"], shown["entry_hash"]) == ("acme", signed.name)
    assert network.log.leaves[1] == signed.entry
    path.write_bytes(Author(OPERATOR, ledger=bytes(32)).say("note", BODY).entry)
    other = run("submit", path, "--home", network.home("US"), status=2)
    assert "the entry is for ledger 0000" in other.stderr
    path.write_bytes(b"\xd2\x84rubbish")
    assert "error:" in run("submit", path, "--home", network.home("US"), status=2).stderr


def test_wait_for_less(run: Run, network: FakeNetwork, outbox: Path, tmp_path: Path) -> None:
    network.nodes["KE"].mood = Mood.DEAF
    taken = document_of(
        run("submit", draft(tmp_path), *common(network, outbox), "--wait", "taken", "--json")
    )
    assert (taken["state"], taken["receipt"]) == ("acknowledged", None)
    network.nodes["KE"].mood = Mood.HONEST
    integrated = document_of(
        run("submit", draft(tmp_path), *common(network, outbox), "--wait", "integrated", "--json")
    )
    assert (integrated["seq"], integrated["receipt"]) == (2, None)


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ([], "nothing to submit"),
        (["--kind", "tax"], "draft.kind='tax'"),
        (["--kind", "note", "--set", "type"], "want NAME=VALUE"),
        (["--kind", "note", "--ref", "12"], "want 64 hex digits"),
        (["--kind", "energy", "--period", "5"], "draft.period"),
        (["--kind", "note", "--class", "Q"], "draft.class='Q'"),
        (["FILE", "--kind", "note"], "exclude one another"),
        (["none.json"], "No such file"),
        (["--content-out", "x"], "nothing to submit"),
    ],
)
def test_errors_before_any_key_is_opened(
    run: Run, network: FakeNetwork, tmp_path: Path, arguments: list[str], why: str
) -> None:
    words = [str(draft(tmp_path)) if word == "FILE" else word for word in arguments]
    result = run("submit", *words, "--home", network.home("US"), status=2)
    assert why in result.stderr


def test_without_a_home_the_options_are_named(run: Run, tmp_path: Path) -> None:
    result = run("submit", draft(tmp_path), "--home", tmp_path, status=2)
    assert "--genesis" in result.stderr
    assert "FOEDUS_HOME" in result.stderr


def test_the_home_comes_from_the_environment(
    run: Run, network: FakeNetwork, outbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FOEDUS_HOME", network.home("US"))
    run(
        *("submit", draft(tmp_path), "--outbox", outbox, *network.passphrase_options()),
        *network.node_options("KE"),
    )
    assert len(network.log.leaves) == 2
