"""`foedus template` and `foedus file`: every kind of the schema, from a template to the law's verdict or a signed entry."""

import json
import re
from pathlib import Path

import pytest

from foedus.v1 import content_pb2
from node.cli.errors import MalformedDraft
from node.cli.filing.codes import MEANINGS, meaning_of
from node.cli.filing.drafts import parse_toml_draft
from node.cli.filing.examples import example, message_of, optional_fields, variants_of
from node.cli.filing.schema import about, field_comments
from node.cli.filing.templates import json_template, toml_template
from node.cli.statements import KINDS, Draft, content_bytes, parse_draft
from node.ledger.plan import facts_of
from node.signing.keystore import write_agency_keys
from node.treaty.codes import Code
from node.treaty.dry_run import check_content
from node.treaty.law import Law
from node.treaty.memory_index import MemoryIndex
from node.treaty.parsing import KIND_NAMES, parse_content
from tests.unit.cli.conftest import Run, document_of
from tests.unit.cli.fake_network import CHEAP_KDF, OPERATOR, PASSPHRASE, FakeNetwork
from tests.unit.cli.fake_nodes import parsed_of

EVERY = [(kind, variant) for kind in KINDS for variant in variants_of(kind) or ("",)]
LEDGER = bytes(32)


@pytest.mark.parametrize(("kind", "variant"), EVERY, ids=lambda part: part or "-")
def test_every_template_passes_the_form_in_both_formats(kind: str, variant: str) -> None:
    text = toml_template(kind, variant)
    draft = parse_toml_draft(text.encode())
    assert draft == parse_draft(json_template(kind, variant).encode())
    assert draft.kind == kind
    content = parse_content(content_bytes(draft, ledger=LEDGER, author="acme"))
    assert KIND_NAMES[content.WhichOneof("body") or ""] == kind
    assert text.startswith("# ")


@pytest.mark.parametrize(("kind", "variant"), EVERY, ids=lambda part: part or "-")
def test_every_optional_line_may_be_taken_in(kind: str, variant: str) -> None:
    lines = toml_template(kind, variant).splitlines()
    if "# optional:" not in lines:
        return
    begins = lines.index("# optional:")
    for line in lines[begins + 1 :]:
        text = "\n".join([*lines[:begins], line.removeprefix("# ")])
        content_bytes(parse_toml_draft(text.encode()), ledger=LEDGER, author="acme")


def test_templates_leave_out_what_a_variant_forbids_and_tell_the_rest() -> None:
    start = toml_template("run", "start")
    assert "pflop_done" not in start
    assert "pflop_done" in toml_template("run", "progress")
    assert 'phase = "plan"  # one of plan, start, progress, end' in toml_template("run")
    assert "(MODEL 3, kind 8;" in toml_template("usage")
    told = {name for kind, variant in EVERY for name in example(kind, variant)}
    told |= {f.name for kind, v in EVERY for f in optional_fields(kind, example(kind, v))}
    fields = {field.name for kind in KINDS for field in message_of(kind).fields}
    # Parts of messages whose example no form could accept: keys, proofs, sealed boxes.
    assert fields - told == {"validator", "shares"} or fields - told <= {"validator", "shares"}


@pytest.mark.parametrize("kind", sorted({kind for kind, _ in EVERY}))
def test_every_kind_says_where_the_model_has_its_rule(kind: str) -> None:
    """An error in a draft quotes it."""
    assert re.search("MODEL [0-9]", about(kind)), about(kind)


def test_comments_are_those_of_the_schema() -> None:
    comments = field_comments()
    assert comments["Facility", "capacity_mh"] == "0.001 H100-equivalents"
    messages = content_pb2.DESCRIPTOR.message_types_by_name
    for message, field in comments:
        assert field in messages[message].fields_by_name
    assert all(about(kind) for kind in KINDS)


def test_every_code_has_its_meaning() -> None:
    assert set(MEANINGS) == set(Code)
    assert all("MODEL" in meaning.source for meaning in MEANINGS.values())
    assert meaning_of("NO_SUCH").source == ""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kind = 'usage'\n[body]\nwatts = 1.5", "integers only"),
        ("kind = 'usage'\nkind = 'run'", "not TOML"),
        ("kind = 'tea'", "draft.kind"),
        ("kind = 'usage'\n[body]\nfacility = 1979-05-27", "usage.facility"),
        ("kind = 'usage'\ncolour = 1", "draft.colour"),
        ("\xff", "not TOML"),
    ],
)
def test_bad_toml_names_the_field(text: str, said: str) -> None:
    with pytest.raises(MalformedDraft, match=said):
        content_bytes(parse_toml_draft(text.encode("latin-1")), ledger=LEDGER, author="acme")


# The commands


def written(folder: Path, kind: str, variant: str = "", **changes: str) -> Path:
    """A template with some lines replaced."""
    lines = toml_template(kind, variant).splitlines()
    for name, value in changes.items():
        (place,) = [number for number, line in enumerate(lines) if line.startswith(f"{name} = ")]
        lines[place] = f"{name} = {value}"
    path = folder / f"{kind}.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def asked(network: FakeNetwork) -> list[str]:
    return ["--home", network.home("US"), *network.node_options("KE")]


def test_template_lists_kinds_and_writes_one(run: Run) -> None:
    listed = document_of(run("template", "--json"))
    assert [row["kind"] for row in listed["kinds"]] == list(KINDS)
    text = run("template", "run", "progress").stdout
    assert parse_toml_draft(text.encode()).body["phase"] == "progress"
    shown = document_of(run("template", "TRAIN", "--format", "json", "--json"))
    assert json.loads(shown["text"])["kind"] == "TRAIN"
    run("template", "tea", status=2)
    run("template", "run", "walk", status=2)
    run("template", "run", "--format", "xml", status=2)


@pytest.mark.parametrize(("kind", "variant"), EVERY, ids=lambda part: part or "-")
def test_every_kind_gets_a_verdict_of_the_law(
    network: FakeNetwork, kind: str, variant: str
) -> None:
    """As it stands a template has the form, and mostly names nothing that exists: the law says so, not SCHEMA."""
    facts = facts_of(network.founded.genesis, network.founded.document)
    law = Law.at_genesis(facts, MemoryIndex())
    draft = parse_toml_draft(toml_template(kind, variant).encode())
    content = content_bytes(draft, ledger=network.founded.chain_id, author="US")
    code, why = check_content(law, content, ["CN"])
    assert code is not Code.SCHEMA, why
    assert code is None or MEANINGS[code]
    assert check_content(law, content, ["CN"]) == (code, why)


def test_a_check_signs_nothing_and_presumes_what_it_is_told(
    run: Run, network: FakeNetwork, tmp_path: Path
) -> None:
    site = written(tmp_path, "facility", facility='"dc1"')
    words = ("file", "facility", "--from", site, "--check", "--author", "acme", *asked(network))
    no = document_of(run(*words, "--json", status=1))
    assert (no["would_pass"], no["code"]) == (False, "UNKNOWN_AUTHOR")
    assert network.log.leaves[1:] == []
    note = written(tmp_path, "note", "evidence")
    yes = document_of(run("file", "note", "--from", note, "--check", *asked(network), "--json"))
    assert yes["would_pass"] is True
    assert yes["commit"] == 7
    assert "would take it" in run("file", "note", "--from", note, "--check", *asked(network)).stdout
    accede = written(tmp_path, "instrument", "accede")
    text = run("file", "instrument", "--from", accede, "--check", *asked(network), status=1).stdout
    assert "INSTRUMENT: one live instrument for each state (MODEL 3; LAW K28)" in text
    assert network.log.leaves[1:] == []


def test_a_wrong_field_is_named_with_its_rule_before_any_passphrase(
    run: Run, network: FakeNetwork, tmp_path: Path
) -> None:
    path = written(tmp_path, "usage", chips_on="-1")
    said = run("file", "usage", "--from", path, "--home", network.home("US"), status=2).stderr
    assert "usage.chips_on=-1: want an integer" in said
    assert "rule: `usage`:" in said
    assert "MODEL 3, kind 8" in said
    other = run("file", "run", "--from", path, "--home", network.home("US"), status=2).stderr
    assert "the command says run" in other


def test_filed_and_countersigned(run: Run, network: FakeNetwork, tmp_path: Path) -> None:
    plan = written(tmp_path, "run", "plan", run='"r1"', model='"m1"')
    content, endorsement = tmp_path / "plan.content", tmp_path / "us.endorsement"
    keys = tmp_path / "acme.key"
    write_agency_keys(keys, OPERATOR, PASSPHRASE, cost=CHEAP_KDF)
    home = ("--home", network.home("US"), *network.passphrase_options())
    run("file", "run", "--from", plan, "--content-out", content, "--author", "acme", *home)
    run("endorse", content, "-o", endorsement, *home)
    filed = ("file", "run", "--from", plan, "--endorsement", endorsement)
    nodes = (*home, *network.node_options("KE"))
    checked = document_of(run(*filed, "--check", "--author", "acme", *nodes, "--json", status=1))
    assert checked["code"] == "UNKNOWN_AUTHOR"  # this ledger does not know acme
    words = (*filed, "--keys", keys, "--outbox", tmp_path / "box", *nodes)
    shown = document_of(run(*words, "--json"))
    assert shown["state"] == "final"
    (leaf,) = network.log.leaves[1:]
    assert parsed_of(leaf).body.run == "r1"
    assert len(parsed_of(leaf).endorsements) == 1


def test_a_vote_with_its_mandate_is_signed_by_the_vote_key(
    run: Run, network: FakeNetwork, tmp_path: Path
) -> None:
    lines = toml_template("vote").splitlines()
    lines += [f'mandate_ref = "{"ab" * 32}"']
    path = tmp_path / "vote.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    home = ("--home", network.home("US"), *network.passphrase_options())
    nodes = network.node_options("KE")
    run("file", "vote", "--from", path, "--outbox", tmp_path / "box", *home, *nodes)
    (leaf,) = network.log.leaves[1:]
    assert parsed_of(leaf).body.mandate_ref == bytes.fromhex("ab" * 32)


def test_an_example_that_no_form_accepts_is_an_error() -> None:
    with pytest.raises(MalformedDraft, match="phase"):
        example("run", "walk")
    assert Draft(kind="run").body == {}
