"""`foedus init`, `keys`, `genesis`: from an empty folder to a document that all members signed."""

import json
import stat
from dataclasses import replace
from pathlib import Path

import pytest

from node.cli.errors import CouldNot
from node.cli.founding import (
    Endpoints,
    Terms,
    combine,
    founded_from,
    genesis_view,
    install_genesis,
    make_home,
    party_from_words,
    propose,
    read_parties,
    read_policy,
    sign_proposal,
)
from node.ledger.errors import MalformedGenesis
from node.ledger.genesis import encode_genesis, parse_unsigned_genesis, with_signature
from node.ledger.trust import trust_policy
from node.log.policy import parse_policy
from node.settings import load_settings
from node.signing.keys import generate_node_keys
from node.signing.keystore import read_agency_keys, read_node_keys
from tests.unit.cli.conftest import Run, document_of
from tests.unit.cli.fake_network import (
    CHEAP_KDF,
    OPERATOR,
    PASSPHRASE,
    STATES,
    FakeNetwork,
    endpoints,
    passphrase_file,
)
from tests.unit.cli.fake_nodes import ORIGIN


def home_arguments(folder: Path, state: str, number: int) -> list[str | Path]:
    found = endpoints(number)
    return [
        *("init", folder, "--state", state, "--peer", found.peer, "--client", found.client),
        *("--http", found.http, "--passphrase-file", passphrase_file(folder.parent)),
    ]


def test_a_ledger_is_founded_by_commands_alone(run: Run, tmp_path: Path) -> None:
    """What a reader of the README does: init, propose, sign, combine, verify, install."""
    declarations, signed = [], []
    for number, state in enumerate(STATES[:4]):
        made = document_of(run(*home_arguments(tmp_path / state, state, number), "--json"))
        assert made["state"] == state
        declarations.append(made["declaration"])
    proposal = tmp_path / "proposal.cbor"
    run("genesis", "propose", *declarations, "--origin", ORIGIN, "--states", "DE", "-o", proposal)
    for state in STATES[:4]:
        signed.append(tmp_path / f"{state}.signed")
        run("genesis", "sign", proposal, "--home", tmp_path / state, "-o", signed[-1])
    document = tmp_path / "genesis.cbor"
    shown = document_of(run("genesis", "combine", *signed, "-o", document, "--json"))
    assert shown["unsigned_by"] == []
    assert shown["states"] == ["CN", "DE", "GB", "KE", "US"]
    valid = document_of(run("genesis", "verify", document, "--json"))
    assert valid == {"valid": True, "chain_id": shown["chain_id"], "members": 4}
    run("genesis", "install", document, "--home", tmp_path / "US", "--home", tmp_path / "KE")
    assert (tmp_path / "KE" / "genesis.cbor").read_bytes() == document.read_bytes()
    text = run("genesis", "show", document).stdout
    assert "provisional: veto possible" in text
    assert "quorum 3 of 4 members" in text


def test_init_writes_a_home_that_the_node_can_read(run: Run, tmp_path: Path) -> None:
    home = tmp_path / "us"
    run(*home_arguments(home, "US", 0))
    settings = load_settings(home / "foedus.toml", {})
    assert (settings.node.state, settings.listen.client) == ("US", "0.0.0.0:20001")
    assert settings.passphrase_path == (tmp_path / "passphrase").resolve()
    node = read_node_keys(settings.keys_path, PASSPHRASE)
    agency = read_agency_keys(home / "keys" / "agency.key", PASSPHRASE)
    assert (node.state, agency.author_id) == ("US", "US")
    assert agency.vote is not None
    for path in (settings.keys_path, home / "keys" / "agency.key"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((home / "keys").stat().st_mode) == 0o700
    assert PASSPHRASE not in b"".join(p.read_bytes() for p in home.rglob("*") if p.is_file())


def test_homes_on_one_machine_do_not_meet(run: Run, tmp_path: Path) -> None:
    """Metrics listen behind the last of the three ports that were given, so five homes need no further setting."""
    for home, first in (("us", 7410), ("cn", 7420), ("ke", 65_533)):
        ports = [f"127.0.0.1:{first + number}" for number in range(3)]
        run(
            *("init", tmp_path / home, "--state", home.upper()),
            *("--peer", ports[0], "--client", ports[1], "--http", ports[2]),
            *("--passphrase-file", passphrase_file(tmp_path)),
        )
        listen = load_settings(tmp_path / home / "foedus.toml", {}).listen
        wanted = first + 3 if first + 3 <= 65_535 else first - 1
        assert listen.metrics == f"127.0.0.1:{wanted}"


def test_init_never_overwrites(run: Run, tmp_path: Path) -> None:
    run(*home_arguments(tmp_path / "us", "US", 0))
    before = (tmp_path / "us" / "keys" / "node.key").read_bytes()
    result = run(*home_arguments(tmp_path / "us", "US", 0), "--json", status=2)
    assert "holds a home already" in document_of(result)["error"]
    assert "never overwritten" in result.stderr
    assert (tmp_path / "us" / "keys" / "node.key").read_bytes() == before


def test_agency_keys_may_have_a_passphrase_of_their_own(run: Run, tmp_path: Path) -> None:
    other = tmp_path / "agency.pass"
    other.touch(mode=0o600)
    other.write_text("another long passphrase\n", encoding="utf-8")
    run(*home_arguments(tmp_path / "us", "US", 0), "--agency-passphrase-file", other)
    keys = tmp_path / "us" / "keys" / "agency.key"
    run("keys", "check", keys, "--passphrase-file", other)
    wrong = run("keys", "check", keys, "--passphrase-file", tmp_path / "passphrase", status=2)
    assert "wrong passphrase" in wrong.stderr


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["--state", "U S"], "want a country code"),
        (["--state", "US", "--peer", "nowhere"], "want host:port"),
        (["--state", "US", "--client", "x:0"], "not in 1..65535"),
    ],
)
def test_init_says_what_is_wrong(run: Run, tmp_path: Path, arguments: list[str], why: str) -> None:
    home = tmp_path / "us"
    result = run("init", home, *arguments, "--passphrase-file", passphrase_file(tmp_path), status=2)
    assert why in result.stderr
    assert not home.exists()


@pytest.mark.parametrize(
    ("content", "mode", "why"),
    [
        (b"", 0o600, "want one line"),
        (b"short\n", 0o600, "choose a longer one"),
        (b"two lines\nof text\n", 0o600, "want one line"),
        (b"x" * 5000, 0o600, "want one line"),
        (b"long enough, and seen by all\n", 0o644, "chmod 600"),
    ],
)
def test_passphrase_files_are_judged(
    run: Run, tmp_path: Path, content: bytes, mode: int, why: str
) -> None:
    path = tmp_path / "bad"
    path.write_bytes(content)
    path.chmod(mode)
    result = run("init", tmp_path / "us", "--state", "US", "--passphrase-file", path, status=2)
    assert why in result.stderr
    assert "long enough, and" not in result.stderr
    assert not (tmp_path / "us").exists()


def test_without_a_terminal_a_passphrase_file_is_asked_for(run: Run, tmp_path: Path) -> None:
    result = run("init", tmp_path / "us", "--state", "US", status=2, typed="secret secret\n")
    assert "--passphrase-file" in result.stderr
    missing = run(
        *("init", tmp_path / "us", "--state", "US", "--passphrase-file", tmp_path / "none"),
        status=2,
    )
    assert "No such file" in missing.stderr


def test_typed_passphrases_must_agree(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = iter(["first passphrase", "other passphrase", "first passphrase", "first passphrase"])
    monkeypatch.setattr("node.cli.passphrases._at_a_terminal", lambda: True)
    monkeypatch.setattr("node.cli.passphrases.getpass.getpass", lambda *_args, **_more: next(typed))
    differing = run("keys", "new", tmp_path / "k", "--party", "acme", status=2)
    assert "differ" in differing.stderr
    assert not (tmp_path / "k").exists()
    run("keys", "new", tmp_path / "k", "--party", "acme")
    assert read_agency_keys(tmp_path / "k", b"first passphrase").author_id == "acme"


def test_keys_show_public_halves_only(run: Run, network: FakeNetwork) -> None:
    home = network.homes["KE"]
    path = home.folder / "keys" / "node.key"
    shown = document_of(run("keys", "show", path, "--origin", ORIGIN, "--json"))
    assert (shown["kind"], shown["owner"], shown["checked"]) == ("node", "KE", False)
    by_role = {key["role"]: key for key in shown["keys"]}
    assert by_role["log"]["public"] == home.node_keys.log.public.hex()
    assert by_role["log"]["kid"] == home.node_keys.log.kid.hex()
    policy = network.founded.trust_policy.decode()
    assert by_role["log"]["vkey"] in policy
    assert by_role["cosigner"]["vkey"] in policy
    text = run("keys", "show", path).stdout
    for key in (home.node_keys.block, home.node_keys.log, home.node_keys.cosigner):
        assert key.public.hex() in text
        assert key.seed.hex() not in text


def test_new_keys_of_a_party(run: Run, tmp_path: Path) -> None:
    path, secret = tmp_path / "acme.key", passphrase_file(tmp_path)
    made = document_of(
        run("keys", "new", path, "--party", "acme", "--passphrase-file", secret, "--json")
    )
    assert [key["role"] for key in made["keys"]] == ["author"]
    checked = document_of(run("keys", "check", path, "--passphrase-file", secret, "--json"))
    assert checked == {**made, "checked": True}
    again = run("keys", "new", path, "--party", "acme", "--passphrase-file", secret, status=2)
    assert "File exists" in again.stderr
    bad = run(
        "keys", "new", tmp_path / "x", "--party", "a b", "--passphrase-file", secret, status=2
    )
    assert "--party" in bad.stderr
    nowhere = run(
        *("keys", "new", tmp_path / "no" / "x", "--party", "b", "--passphrase-file", secret),
        status=2,
    )
    assert "no such folder" in nowhere.stderr


def test_a_key_file_that_others_can_read_is_refused(run: Run, tmp_path: Path) -> None:
    path, secret = tmp_path / "acme.key", passphrase_file(tmp_path)
    run("keys", "new", path, "--party", "acme", "--passphrase-file", secret)
    path.chmod(0o644)
    for command in ("show", "check"):
        result = run("keys", command, path, status=2)
        assert str(path) in result.stderr
    path.chmod(0o600)
    path.write_bytes(b"not a key file")
    assert str(path) in run("keys", "show", path, status=2).stderr


# --- genesis -----------------------------------------------------------------------------------------------------


def test_show_says_what_each_rule_withstands(run: Run, network: FakeNetwork) -> None:
    path = network.homes["US"].folder / "genesis.cbor"
    view = document_of(run("genesis", "show", path, "--json"))
    assert view["chain_id"] == network.founded.chain_id.hex()
    assert [member["state"] for member in view["members"]] == list(STATES)
    assert view["quorum"] == 4
    assert view["veto_check"] == {
        "members": 5,
        "k": 1,
        "f": 1,
        "trigger": 2,
        "quorum": 4,
        "veto_possible": False,
        "shown_as": "no state has a veto",
        "all": {"maj": 2, "sup": 1, "high": 1, "stop": 3},
        "one_recused": {"maj": 1, "sup": 1, "high": 1, "stop": 2},
    }
    text = run("genesis", "show", path).stdout
    assert "DRILL" in text
    assert "no state has a veto" in text


def test_combine_names_who_is_missing(network: FakeNetwork) -> None:
    homes = list(network.homes.values())
    proposal = propose([home.declaration for home in homes], Terms(origin="other.test/2"))
    copies = [sign_proposal(proposal, home.node_keys) for home in homes[:-1]]
    with pytest.raises(CouldNot, match="member BR: has not signed"):
        combine(copies)
    forged = with_signature(parse_unsigned_genesis(copies[0]), "BR", bytes(64))
    with pytest.raises(CouldNot, match="member BR: has not signed"):
        combine([*copies, encode_genesis(forged)])
    with pytest.raises(CouldNot, match="no signed proposal"):
        combine([])


def test_one_copy_may_go_round(network: FakeNetwork) -> None:
    """Members may sign one after the other instead of side by side."""
    homes = list(network.homes.values())
    document = propose(
        [home.declaration for home in homes], Terms(origin="other.test/2", time_ms=1)
    )
    for home in homes:
        document = sign_proposal(document, home.node_keys)
    assert combine([document]) == document
    assert founded_from(document).genesis.time_ms == 1


def test_all_must_sign_the_same_proposal(network: FakeNetwork) -> None:
    homes = list(network.homes.values())
    declarations = [home.declaration for home in homes]
    one = propose(declarations, Terms(origin="other.test/2", time_ms=1))
    other = propose(declarations, Terms(origin="other.test/2", time_ms=2))
    copies = [sign_proposal(one, homes[0].node_keys), sign_proposal(other, homes[1].node_keys)]
    with pytest.raises(CouldNot, match="document 2 is another proposal"):
        combine(copies)


def test_only_the_member_itself_signs(network: FakeNetwork) -> None:
    homes = list(network.homes.values())
    proposal = propose([home.declaration for home in homes], Terms(origin="other.test/2"))
    with pytest.raises(CouldNot, match="FR is not a member"):
        sign_proposal(proposal, generate_node_keys("FR"))
    with pytest.raises(CouldNot, match="other keys for US"):
        sign_proposal(proposal, generate_node_keys("US"))


def test_an_altered_declaration_is_refused(run: Run, network: FakeNetwork, tmp_path: Path) -> None:
    declaration = network.homes["US"].declaration
    path = tmp_path / "US.declaration"
    path.write_bytes(declaration.replace(b"127.0.0.1:20000", b"127.0.0.1:20009"))
    result = run("genesis", "propose", path, "--origin", ORIGIN, status=2)
    assert "not signed by its own block key" in result.stderr
    assert str(path) in result.stderr


def test_a_proposal_says_what_the_world_has(run: Run, network: FakeNetwork, tmp_path: Path) -> None:
    path, proposal = tmp_path / "US.declaration", tmp_path / "proposal.cbor"
    path.write_bytes(network.homes["US"].declaration)
    world = tmp_path / "world.toml"
    world.write_text("[capacity_mh]\nUS = 6000\nCN = 4000\n")
    run("genesis", "propose", path, "--origin", ORIGIN, "--world", world, "-o", proposal)
    genesis = parse_unsigned_genesis(proposal.read_bytes())
    assert genesis.world == {"capacity_mh": {"US": 6000, "CN": 4000}}
    world.write_text("[capacities]\nUS = 6000\n")
    args = ("genesis", "propose", path, "--origin", ORIGIN, "--world", world, "-o", proposal)
    assert "want tables capacity_mh and fab" in run(*args, status=2).stderr


def test_two_nodes_at_one_address_are_refused(tmp_path: Path) -> None:
    same = Endpoints(peer="h:1", client="h:2", http="h:3")
    made = [
        make_home(
            tmp_path / state, state=state, endpoints=same, passphrase=PASSPHRASE, cost=CHEAP_KDF
        )
        for state in ("US", "CN")
    ]
    with pytest.raises(CouldNot, match="peer_endpoint of CN and peer_endpoint of US are both h:1"):
        propose([home.declaration for home in made], Terms(origin=ORIGIN))


def test_verify_tells_no_from_could_not(run: Run, network: FakeNetwork, tmp_path: Path) -> None:
    document = network.founded.document
    unsigned = tmp_path / "unsigned"
    signatures = dict(network.founded.genesis.signatures)
    del signatures["GB"]
    unsigned.write_bytes(encode_genesis(replace(network.founded.genesis, signatures=signatures)))
    no = run("genesis", "verify", unsigned, "--json", status=1)
    assert document_of(no) == {
        "valid": False,
        "why": "member GB: has not signed the genesis",
        "unsigned_by": ["GB"],
    }
    for data in (b"", b"\xff" * 9, document[:-1], document + b"\x00"):
        damaged = tmp_path / "damaged"
        damaged.write_bytes(data)
        assert "error" in document_of(run("genesis", "verify", damaged, "--json", status=2))
    assert "No such file" in run("genesis", "verify", tmp_path / "none", status=2).stderr


def test_a_home_belongs_to_one_ledger(network: FakeNetwork) -> None:
    homes = list(network.homes.values())
    proposal = propose([home.declaration for home in homes], Terms(origin="other.test/2"))
    other = combine([sign_proposal(proposal, home.node_keys) for home in homes])
    with pytest.raises(CouldNot, match="another genesis is there"):
        install_genesis(homes[0].folder, other)
    assert install_genesis(homes[0].folder, network.founded.document) == network.founded


def test_terms_from_files(run: Run, network: FakeNetwork, tmp_path: Path) -> None:
    policy = tmp_path / "drill.toml"
    policy.write_text("reply = 5\nfrontier_flop = [[0, 1000000000], [1800000000, 900000000]]\n")
    parties = tmp_path / "parties.json"
    key = OPERATOR.author.public.hex()
    parties.write_text(
        json.dumps(
            {"party": [{"id": "acme", "role": "operator", "state": "US", "author_key": key}]}
        )
    )
    declarations = [home.declaration_path for home in network.homes.values()]
    out = tmp_path / "p.cbor"
    view = document_of(
        run(
            *("genesis", "propose", *declarations, "--origin", ORIGIN, "--drill", "-o", out),
            *("--policy", policy, "--parties", parties, "--protocol", "inclusion_s=60"),
            *("--party", f"insp,inspector,KE,{network.homes['KE'].node_keys.block.public.hex()}"),
            "--json",
            status=2,
        )
    )
    assert "same key" in view["error"]  # a block key is no author key as well
    view = document_of(
        run(
            *("genesis", "propose", *declarations, "--origin", ORIGIN, "--drill", "-o", out),
            *("--policy", policy, "--parties", parties, "--protocol", "inclusion_s=60", "--json"),
        )
    )
    assert view["policy"] == {
        "reply": 5,
        "frontier_flop": [[0, 1000000000], [1800000000, 900000000]],
    }
    assert view["protocol"] == {"inclusion_s": 60}
    assert view["parties"] == [
        {"id": "acme", "role": "operator", "state": "US", "owners": [], "author_key": key}
    ]
    assert "acme" in run("genesis", "show", out).stdout


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("reply = 1.5", "want a number"),
        ("reply = true", "want a number"),
        ("reply = ", "not TOML"),
    ],
)
def test_bad_policy_files(tmp_path: Path, text: str, why: str) -> None:
    path = tmp_path / "policy.toml"
    path.write_text(text)
    with pytest.raises(CouldNot, match=why):
        read_policy(path)


@pytest.mark.parametrize(
    "table",
    [
        {"id": "acme", "role": "operator"},
        {"id": "acme", "role": "operator", "author_key": "00"},
        {"id": "acme", "role": "operator", "author_key": "zz" * 32},
        {"id": "acme", "role": "operator", "author_key": "00" * 32, "colour": "red"},
        {"id": 7, "role": "operator", "author_key": "00" * 32},
        "acme",
    ],
)
def test_bad_parties(tmp_path: Path, table: object) -> None:
    path = tmp_path / "parties.json"
    path.write_text(json.dumps({"party": [table]}))
    with pytest.raises(CouldNot, match="party 1"):
        read_parties(path)


def test_a_party_in_words() -> None:
    assert party_from_words(f"a,operator,US,{'ab' * 32}").author_key == b"\xab" * 32
    with pytest.raises(CouldNot, match="ID,ROLE,STATE,KEY"):
        party_from_words("a,operator,US")


def test_a_policy_beyond_its_limits_is_refused(network: FakeNetwork) -> None:
    declarations = [home.declaration for home in network.homes.values()]
    terms = Terms(origin=ORIGIN, policy={"reply": 5})  # days are the least outside a drill
    with pytest.raises(MalformedGenesis, match=r"policy\.reply"):
        propose(declarations, terms)


def test_the_trust_policy_is_the_one_rule(network: FakeNetwork) -> None:
    text = trust_policy(network.founded.genesis)
    policy = parse_policy(text)
    assert len(policy.logs) == len(policy.witnesses) == 5
    assert policy.satisfied_by(("US", "CN", "GB", "KE"))
    assert not policy.satisfied_by(("US", "CN", "GB"))
    assert genesis_view(network.founded.genesis, network.founded.document)["unsigned_by"] == []


def test_a_folder_that_cannot_be_made(run: Run, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder", encoding="utf-8")
    result = run(
        *("init", tmp_path / "file" / "us", "--state", "US"),
        *("--passphrase-file", passphrase_file(tmp_path)),
        status=2,
    )
    assert "Not a directory" in result.stderr
