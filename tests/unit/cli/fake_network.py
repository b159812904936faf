"""A ledger of five FAKE nodes (`fake_nodes`), founded with the real commands' parts: homes, keys, a signed genesis."""

from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from node.cli.founding import (
    Endpoints,
    Founded,
    Home,
    Terms,
    combine,
    install_genesis,
    make_home,
    propose,
    sign_proposal,
)
from node.ledger.records import encode_genesis_record
from node.signing.keys import generate_agency_keys
from node.signing.keystore import KdfCost
from tests.unit.cli.fake_nodes import ORIGIN, FakeLog, FakeNode

STATES = ("US", "CN", "GB", "KE", "BR")
PASSPHRASE = b"correct horse battery staple"
CHEAP_KDF = KdfCost(ops=1, memory_bytes=8 * 1024 * 1024)


@dataclass
class FakeNetwork:
    """Five founded homes and their fake nodes."""

    folder: Path
    founded: Founded
    homes: dict[str, Home]
    nodes: dict[str, FakeNode]
    log: FakeLog
    passphrase_file: Path

    def home(self, state: str) -> str:
        return str(self.homes[state].folder)

    def node_options(self, *states: str) -> list[str]:
        """--node options with the ports where the fakes really are."""
        return [f"--node={state}@127.0.0.1:{self.nodes[state].port}" for state in states or STATES]

    def passphrase_options(self) -> list[str]:
        return ["--passphrase-file", str(self.passphrase_file)]

    def stop(self) -> None:
        for node in self.nodes.values():
            node.stop()


def passphrase_file(folder: Path) -> Path:
    path = folder / "passphrase"
    path.touch(mode=0o600)
    path.write_bytes(PASSPHRASE + b"\n")
    return path


def found_network(folder: Path, *, publication: str = "open") -> FakeNetwork:
    """Homes, genesis and running fakes. Ports are only known once they run, so commands get them by --node."""
    secret = passphrase_file(folder)
    homes = {
        state: make_home(
            folder / state,
            state=state,
            endpoints=endpoints(number),
            passphrase=PASSPHRASE,
            cost=CHEAP_KDF,
        )
        for number, state in enumerate(STATES)
    }
    terms = Terms(origin=ORIGIN, drill=True, publication=publication, parties=())
    proposal = propose([home.declaration for home in homes.values()], terms)
    document = combine([sign_proposal(proposal, home.node_keys) for home in homes.values()])
    for home in homes.values():
        founded = install_genesis(home.folder, document)
    log = FakeLog(founded, homes)
    log.append(encode_genesis_record(founded.chain_id, ORIGIN))
    nodes = {state: FakeNode(state, log) for state in STATES}
    for node in nodes.values():
        node.start()
    return FakeNetwork(folder, founded, homes, nodes, log, secret)


def endpoints(number: int) -> Endpoints:
    """Addresses where nobody is: what the genesis says, and no test connects to."""
    base = 20_000 + 10 * number
    return Endpoints(
        peer=f"127.0.0.1:{base}", client=f"127.0.0.1:{base + 1}", http=f"127.0.0.1:{base + 2}"
    )


OPERATOR = generate_agency_keys("acme", with_vote=False, seed=sha256(b"cli tests/acme").digest())
