"""`foedus node seat`: what a state files so that its node validates: to join, to change keys, to move (SPEC 14)."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from foedus.v1 import content_pb2 as pb
from node.cli.asking import DEFAULT_HOME, HomeOption, PassphraseOption
from node.cli.errors import CouldNot
from node.cli.founding import GENESIS_FILE, Founded, read_bounded, read_founded
from node.cli.outbox import write_durably
from node.cli.passphrases import read_passphrase
from node.ledger.errors import MalformedGenesis
from node.ledger.genesis import DECLARATION_BYTES_MAX, GenesisMember, parse_declaration
from node.ledger.seats import declared
from node.reporting import JsonOption, reporting
from node.settings import FILE_NAME, Settings, load_settings
from node.signing.keys import NodeKeys, generate_node_keys
from node.signing.keystore import read_node_keys, write_node_keys


def seat_command(
    *,
    home: HomeOption = DEFAULT_HOME,
    new_keys: Annotated[
        Path | None,
        typer.Option(
            "--new-keys",
            metavar="FILE",
            help="Make new node keys in this file, and declare them; else the keys that the home has.",
            show_default=False,
        ),
    ] = None,
    ml_dsa: Annotated[
        bool,
        typer.Option(
            "--ml-dsa", help="With --new-keys: also an ML-DSA-44 cosigner, for second lines."
        ),
    ] = False,
    peer: Annotated[str, typer.Option(help="host:port for members; else as declared.")] = "",
    client: Annotated[str, typer.Option(help="host:port for clients; else as declared.")] = "",
    http: Annotated[str, typer.Option(help="host:port for HTTP; else as declared.")] = "",
    passphrase_file: PassphraseOption = None,
    json_output: JsonOption = False,
) -> None:
    """Write what a state files so that its node validates: drafts for `foedus submit` or `foedus file`.

    STATE.seat.json declares the node: its keys, each of which signs, its certificate and its addresses. It takes effect at an
    epoch's end, at most one an hour (in a drill, ten seconds), and no vote is needed.

    To join a ledger whose genesis lists the state (under law 2):

      1. foedus init de --state DE --peer ..., then foedus genesis install: the home has keys and the genesis. Then this command.
      2. A member files STATE.identity.json, which registers the state's keys, with the endorsement of others (two, up to 40
         members).
      3. The state files STATE.accede.json, in which it names the members who endorse it, then STATE.seat.json.
      4. foedus node run: the node catches up as an observer and validates from the next epoch on.

    To change the node's keys: foedus node seat --new-keys keys/node-2.key, set later_keys = "keys/node-2.key" under [node] and
    restart the node; then file STATE.seat.json. The node signs with the old keys until the epoch ends, with the new ones from
    then on, without another restart. Keep both files until then, and the old one for as long as the node may have to catch up.

    Exit status: 0 written, 2 not.

    For example:

      foedus node seat --home de

      foedus submit DE.seat.json --home de

      foedus node seat --home us --new-keys us/keys/node-2.key --json
    """
    with reporting(json_output) as report:
        if not (home / FILE_NAME).exists():
            raise CouldNot(f"{home}: no {FILE_NAME} there: name a home by --home")
        settings = load_settings(home / FILE_NAME, {})
        founded = read_founded(home / GENESIS_FILE)
        passphrase = read_passphrase(
            passphrase_file or settings.passphrase_path, str(settings.keys_path)
        )
        known = _known(home, settings, founded)
        keys = _keys(settings, passphrase, new_keys, with_mldsa=ml_dsa)
        seat = declared(
            keys,
            ledger=founded.chain_id,
            state=known.state,
            peer=peer or known.peer_endpoint,
            client=client or known.client_endpoint,
            http=http or known.http_endpoint,
        )
        drafts = _drafts(known, seat, is_founder=known in founded.genesis.members)
        written = {}
        for name, draft in drafts.items():
            path = home / f"{known.state}.{name}.json"
            write_durably(path, json.dumps(draft, indent=2).encode() + b"\n", mode=0o644)
            written[name] = str(path)
        document = {"state": known.state, "drafts": written}
        if new_keys is not None:
            document["keys"] = str(new_keys)
        lines = [f"{name:9} {path}" for name, path in written.items()]
        report.show(document, "\n".join([f"to be filed for {known.state}:", *lines]))


def _known(home: Path, settings: Settings, founded: Founded) -> GenesisMember:
    """The state as the genesis lists it, or as the home's own declaration does. Raises CouldNot."""
    state = settings.node.state
    for member in founded.genesis.members:
        if member.state == state:
            return member
    if state not in founded.genesis.states:
        raise CouldNot(f"{state}: the genesis does not list it among the states that may join")
    path = home / f"{state}.declaration"
    try:
        return parse_declaration(read_bounded(path, DECLARATION_BYTES_MAX))
    except MalformedGenesis as err:
        raise CouldNot(f"{path}: {err}") from err


def _keys(
    settings: Settings, passphrase: bytes, new_keys: Path | None, *, with_mldsa: bool
) -> NodeKeys:
    if new_keys is None:
        if with_mldsa:
            raise CouldNot("--ml-dsa goes with --new-keys: a key file is not added to")
        return read_node_keys(settings.keys_path, passphrase)
    if new_keys.exists():
        raise CouldNot(f"{new_keys}: is there already: keys are never overwritten")
    keys = generate_node_keys(settings.node.state, later=True, with_mldsa=with_mldsa)
    write_node_keys(new_keys, keys, passphrase)
    return keys


def _drafts(
    known: GenesisMember, seat: pb.Validator, *, is_founder: bool
) -> dict[str, dict[str, Any]]:
    state = known.state
    party = {"party": state, "role": "state", "state": state}
    validator: dict[str, Any] = {
        name: getattr(seat, name).hex()
        for name in ("block_key", "log_key", "cosigner_key", "certificate_pem")
    }
    validator |= {
        name: getattr(seat, name) for name in ("peer_endpoint", "client_endpoint", "http_endpoint")
    }
    if seat.cosigner_pq_key:
        validator["cosigner_pq_key"] = seat.cosigner_pq_key.hex()
    validator["possession"] = [signature.hex() for signature in seat.possession]
    drafts = {"seat": {"kind": "identity", "class": "P", "body": {**party, "validator": validator}}}
    if not is_founder:
        keys = [
            {"purpose": "author", "ed25519": known.author_key.hex()},
            {"purpose": "vote", "ed25519": known.vote_key.hex()},
        ]
        drafts["identity"] = {"kind": "identity", "class": "P", "body": {**party, "keys": keys}}
        drafts["accede"] = {
            "kind": "instrument",
            "class": "P",
            "body": {"type": "accede", "attested_by": []},
        }
    return drafts
