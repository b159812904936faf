"""`foedus receipt get|verify`: proof that a leaf is in the final log; judged offline."""

import asyncio
from pathlib import Path
from typing import Annotated, Final

import typer

from foedus.v1 import client_pb2 as pb
from node.cli.asking import (
    DEFAULT_HOME,
    GenesisOption,
    HomeOption,
    NodeOption,
    PassphraseOption,
    ReaderOption,
    ledger_of,
    open_nodes,
    reader_of,
)
from node.cli.client import LedgerClient, Receipt
from node.cli.cose_receipts import CoseVerdict, holds, is_cose, verify_cose
from node.cli.errors import BadAnswer, ClientError, CouldNot, NotHere, Refused
from node.cli.founding import Founded, read_bounded
from node.cli.log_command import leaf_key
from node.cli.nodes import Nodes
from node.cli.outbox import write_durably
from node.cli.policies import followed, policies_of
from node.cli.receipts import RECEIPT_BYTES_MAX, Verdict, receipt_file, verify_receipt
from node.ledger.policy_chain import (
    FILE_BYTES_MAX,
    BrokenChain,
    Link,
    Policies,
    encode_links,
    follow,
    parse_links,
)
from node.log.cose import encode_transparent
from node.log.errors import MalformedInput
from node.log.note import parse_vkey
from node.log.policy import (
    POLICY_BYTES_MAX,
    PolicyWitness,
    TrustPolicy,
    evaluate,
    parse_policy,
    with_outside,
)
from node.log.proof import parse_proof
from node.log.tiles import ENTRY_BYTES_MAX
from node.reporting import JsonOption, Report, reporting
from node.signing.statements import entry_hash
from node.signing.verify import mldsa_check, verify_ed25519

NOT_WITNESSED: Final = "NOT_WITNESSED"  # of a node without such a checkpoint, or not that far


def get_command(
    key: Annotated[
        str, typer.Argument(metavar="INDEX|HASH", help="A leaf's index or an entry's hash.")
    ],
    *,
    home: HomeOption = DEFAULT_HOME,
    genesis: GenesisOption = None,
    node: NodeOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="File to write; else INDEX.tlog-proof.", show_default=False
        ),
    ] = None,
    cose: Annotated[
        Path | None,
        typer.Option(
            help="Also write the node's COSE receipt (RFC 9942) here.", show_default=False
        ),
    ] = None,
    statement: Annotated[
        Path | None,
        typer.Option(
            help="Also write the entry as a transparent statement (RFC 9943) here, with COSE receipts of a quorum of nodes.",
            show_default=False,
        ),
    ] = None,
    witnessed: Annotated[
        int,
        typer.Option(
            help="Under a checkpoint that so many outside witnesses cosigned; needs --policy.",
            metavar="K",
            min=0,
            max=1000,
            show_default=False,
        ),
    ] = 0,
    policy: Annotated[
        Path | None,
        typer.Option(
            help="Trust policy that the receipt must satisfy as well, as `foedus receipt policy --witness` prints one.",
            show_default=False,
        ),
    ] = None,
    reader_keys: ReaderOption = None,
    passphrase_file: PassphraseOption = None,
    json_output: JsonOption = False,
) -> None:
    """Get the receipt for a leaf: one text file with the leaf, its proof, and a checkpoint that a quorum cosigned.

    It is verified before it is written, so a node cannot hand out a false one.

    Exit status: 0 written, 1 what the node gave proves nothing, 2 not final yet, no such leaf, or no node answered.

    For example:

      foedus receipt get 17 --home us

      foedus receipt get 5f0c... --home us -o approval.tlog-proof --json

      foedus receipt get 5f0c... --home us --statement approval.cose

      foedus receipt get 17 --home us --witnessed 2 --policy outside.policy
    """
    with reporting(json_output) as report:
        wanted = leaf_key(key)
        founded = ledger_of(home, genesis)
        if witnessed and policy is None:
            raise CouldNot("--witnessed: whose lines count is said by --policy")
        also = None if policy is None else parse_policy(read_bounded(policy, POLICY_BYTES_MAX))
        nodes = open_nodes(founded, home, node, reader_of(reader_keys, passphrase_file))
        cosed = cose is not None
        given, trust, signed = asyncio.run(
            _get(
                nodes,
                founded,
                wanted,
                cose=cosed,
                signed=statement is not None,
                outside=witnessed,
                also=also,
            )
        )
        if not given.leaf:
            raise CouldNot(
                f"leaf {given.index} is restricted: name a reader's keys by --reader-keys"
            )
        receipt = receipt_file(given.proof, given.leaf)
        verdict = verify_receipt(receipt, trust)
        if not answers_the_question(verdict, wanted):
            raise CouldNot(f"the node answered for another leaf, {verdict.index}: ask another node")
        path = out or Path(f"{given.index}.tlog-proof")
        if verdict.proven:
            write_durably(path, receipt, mode=0o644)
            if cose is not None and given.cose_receipts:
                write_durably(cose, given.cose_receipts[0], mode=0o644)
            if statement is not None:
                write_durably(statement, _statement(given, signed, trust), mode=0o644)
        _show(report, path, verdict)


async def _get(
    nodes: Nodes,
    founded: Founded,
    key: int | bytes,
    *,
    cose: bool,
    signed: bool,
    outside: int,
    also: TrustPolicy | None,
) -> tuple[Receipt, Policies, list[bytes]]:
    """The receipt, whom to believe, and if wanted the COSE receipts of all nodes that have one for that leaf.

    `also`: a policy that its checkpoint must satisfy too; the next node is asked if one's does not.
    """
    async with nodes:

        async def asked(client: LedgerClient) -> Receipt:
            try:
                given = await client.receipt(key, cose=cose, outside=outside)
            except Refused as err:
                if err.code == NOT_WITNESSED:
                    raise NotHere(client.state, err.why) from err
                raise
            if also is not None and (why := _against(also, given)):
                raise NotHere(client.state, f"its checkpoint does not satisfy --policy: {why}")
            for receipt in given.cose_receipts if given.leaf else ():
                if not holds(receipt, given.leaf, client.address.log_key):
                    raise BadAnswer(
                        client.state, "its COSE receipt is not its log's word for this leaf"
                    )
            return given

        given = await nodes.first(asked)
        receipts: list[bytes] = []
        for client in nodes.clients if signed and given.leaf else ():
            try:
                theirs = await client.receipt(given.index, cose=True)
            except ClientError:
                continue  # whoever is down or not that far: a quorum is enough
            receipts += [
                receipt
                for receipt in theirs.cose_receipts[:1]
                if holds(receipt, given.leaf, client.address.log_key)
            ]
        return given, await policies_of(nodes, founded), receipts


def _against(policy: TrustPolicy, given: Receipt) -> str:
    """Why the receipt's checkpoint does not satisfy this policy; empty if it does."""
    try:
        found = evaluate(policy, parse_proof(given.proof).note, verify_ed25519, mldsa_check())
    except MalformedInput as err:
        return str(err)
    return found.why


def _statement(given: Receipt, receipts: list[bytes], trust: Policies) -> bytes:
    """Raises CouldNot: a record of the law is no statement, or too few nodes gave a receipt that holds."""
    if not is_cose(given.leaf):
        raise CouldNot(f"leaf {given.index} is a record that the law made, no signed statement")
    if not receipts:
        raise CouldNot("no node gave a COSE receipt that holds: the .tlog-proof is written")
    made = encode_transparent(given.leaf, receipts)
    verdict = verify_cose(made, None, trust)
    if not verdict.final:
        raise CouldNot(f"no transparent statement: {verdict.why}; the .tlog-proof is written")
    return made


def answers_the_question(verdict: Verdict, key: int | bytes) -> bool:
    """A node could hand out a good receipt for another leaf."""
    if isinstance(key, int):
        return verdict.index == key
    return entry_hash(verdict.leaf) == key


def verify_command(
    file: Annotated[
        Path,
        typer.Argument(
            metavar="RECEIPT",
            help="A .tlog-proof file; or a COSE receipt, or a statement with receipts in its header.",
        ),
    ],
    *,
    genesis: GenesisOption = None,
    policy: Annotated[
        Path | None,
        typer.Option(
            help="Trust policy, c2sp.org/tlog-policy; else the one that follows from the genesis.",
            show_default=False,
        ),
    ] = None,
    policies: Annotated[
        Path | None,
        typer.Option(
            help="Policies of later epochs, as `foedus receipt policies` writes them: each is proven by the one before.",
            show_default=False,
        ),
    ] = None,
    entry: Annotated[
        Path | None,
        typer.Option(help="The leaf's bytes; else those inside the receipt.", show_default=False),
    ] = None,
    home: HomeOption = DEFAULT_HOME,
    json_output: JsonOption = False,
) -> None:
    """Verify a receipt offline: its leaf must be in a log that a quorum of states cosigned.

    "Not proven" means that this proof does not lead to that checkpoint; it is no proof of absence. A COSE receipt (RFC 9942) is
    one node's word: proven is what receipts of a quorum of nodes say, as a transparent statement (RFC 9943) can carry them.

    Exit status: 0 proven, 1 not proven, 2 could not check: no receipt, no leaf, or a checkpoint that the policy does not trust.

    For example:

      foedus receipt verify approval.tlog-proof --genesis genesis.cbor

      foedus receipt verify 17.tlog-proof --policy trust.policy --entry entry.cose --json

      foedus receipt verify statement.cose --genesis genesis.cbor
    """
    with reporting(json_output) as report:
        if policy is not None:
            trust: TrustPolicy | Policies = parse_policy(read_bounded(policy, POLICY_BYTES_MAX))
        elif policies is not None:
            trust = _followed(policies, ledger_of(home, genesis))
        else:
            trust = parse_policy(ledger_of(home, genesis).trust_policy)
        leaf = read_bounded(entry, ENTRY_BYTES_MAX) if entry is not None else None
        data = read_bounded(file, RECEIPT_BYTES_MAX)
        if is_cose(data):
            _show_cose(report, file, verify_cose(data, leaf, trust))
        else:
            _show(report, file, verify_receipt(data, trust, leaf))


def policies_command(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="File to write.")],
    *,
    home: HomeOption = DEFAULT_HOME,
    genesis: GenesisOption = None,
    node: NodeOption = None,
    json_output: JsonOption = False,
) -> None:
    """Get the trust policies of all epochs since the founding, to verify receipts offline after members or keys have changed.

    Each is proven by the one before, the first by the genesis: who hands them out need not be trusted.

    Exit status: 0 written, 2 no node answered, or what it gave does not hold.

    For example:

      foedus receipt policies policies.json --home us

      foedus receipt verify 17.tlog-proof --policies policies.json --genesis genesis.cbor
    """
    with reporting(json_output) as report:
        founded = ledger_of(home, genesis)
        nodes = open_nodes(founded, home, node, None)
        answer = asyncio.run(_policies(nodes, founded))
        links = [Link(proof=link.proof, policy=link.policy) for link in answer.policies]
        write_durably(file, encode_links(links), mode=0o644)
        document = {"file": str(file), "epochs": len(answer.policies) + 1}
        report.show(
            document, f"{file}: policies of {document['epochs']} epochs, proven from the genesis"
        )


async def _policies(nodes: Nodes, founded: Founded) -> pb.GetGenesisResponse:
    async with nodes:

        async def asked(client: LedgerClient) -> pb.GetGenesisResponse:
            answer = await client.genesis()
            followed(founded, client.state, answer)
            return answer

        return await nodes.first(asked)


def _followed(path: Path, founded: Founded) -> Policies:
    """Raises CouldNot."""
    try:
        return follow(founded.trust_policy, parse_links(read_bounded(path, FILE_BYTES_MAX)))
    except (BrokenChain, MalformedInput) as err:
        raise CouldNot(f"{path}: {err}") from err


def policy_command(
    *,
    home: HomeOption = DEFAULT_HOME,
    genesis: GenesisOption = None,
    witness: Annotated[
        list[str] | None,
        typer.Option(
            help="An outside witness (c2sp.org/tlog-witness) in a group of its own, beside the states; repeat.",
            metavar="VKEY[@URL]",
            show_default=False,
        ),
    ] = None,
    outside: Annotated[
        int | None,
        typer.Option(
            help="How many outside witnesses must have cosigned; all, if it is not said.",
            metavar="K",
            min=1,
            show_default=False,
        ),
    ] = None,
    json_output: JsonOption = False,
) -> None:
    """Print the trust policy that follows from the genesis, for other tools that read c2sp.org/tlog-policy.

    With --witness it wants outside witnesses as well as a quorum of states: they catch what no quorum can tell, that the states
    rewrote the history together. Receipts for it are those of `foedus receipt get --witnessed K`.

    Exit status: 0 printed, 2 no genesis, or no such policy.

    For example:

      foedus receipt policy --genesis genesis.cbor > trust.policy

      foedus receipt policy --home us --witness igo.example/w+1f2e3d4c+BAAB... --witness ngo.example/w+... --outside 1
    """
    with reporting(json_output) as report:
        policy = ledger_of(home, genesis).trust_policy
        named = [_witness(words) for words in witness or ()]
        if outside is not None and not named:
            raise CouldNot("--outside: of which witnesses? Name them by --witness")
        if named:
            policy = with_outside(policy, named, outside or len(named))
        text = policy.decode()
        report.show({"trust_policy": text}, text.removesuffix("\n"))


def _witness(words: str) -> PolicyWitness:
    """VKEY or VKEY@URL; its name in the policy is its key's. Raises MalformedKey."""
    parts = words.split("+", 2)
    encoded, _, url = parts[-1].partition("@")
    key = parse_vkey("+".join((*parts[:-1], encoded)))
    return PolicyWitness(name=key.name, key=key, url=url or None)


def _show(report: Report, path: Path, verdict: Verdict) -> None:
    document = {"file": str(path), **verdict.as_json()}
    if not verdict.proven:
        report.show(document, f"NOT PROVEN: {path}")
        report.answer_is_no(f"not proven: {verdict.why}")
        return
    said = ""
    if verdict.content is not None:
        names = ("kind", "type", "author", "subject", "motion", "outcome", "case", "status")
        facts = [f"{name} {verdict.content[name]}" for name in names if verdict.content.get(name)]
        said = f"\n  it says: {', '.join(facts)}"
    report.show(document, f"proven: {path} is {verdict.why}\n  log {verdict.origin}{said}")


def _show_cose(report: Report, path: Path, verdict: CoseVerdict) -> None:
    word = "proven" if verdict.final else "NOT PROVEN"
    report.show(
        {"file": str(path), **verdict.as_json()},
        [f"{word}: {path} is {verdict.why}", *(f"  log {log}" for log in verdict.logs)],
    )
    if not verdict.final:
        report.answer_is_no(f"not proven: {verdict.why}")


def receipt_app() -> typer.Typer:
    app = typer.Typer(
        no_args_is_help=True,
        rich_markup_mode=None,
        help="Receipts: get one from a node, verify one offline.\n\n"
        "For example: foedus receipt verify approval.tlog-proof --genesis genesis.cbor",
    )
    app.command("get")(get_command)
    app.command("verify")(verify_command)
    app.command("policy")(policy_command)
    app.command("policies")(policies_command)
    return app
