"""A running node as a source: checkpoint, hash tiles and entry bundles over HTTPS (FORMATS 8).

What it serves is judged by cosignatures, so TLS need only tell whose node it is: by a certificate that the genesis holds, byte
for byte (RULINGS R47), or, since members and keys change, by the log key that signed its checkpoint, of a policy that the genesis
leads to (`/policies.json`, R44). Who is neither is a stranger. Blocks are not served here: a web source
shows no order, and the law is run over the log's own commits.
"""

import http.client
import ssl
from collections import OrderedDict
from typing import Final, Self

from consensus.types import Ref
from node.audit.exchange import Exchanges
from node.audit.policies import EPOCHS_SINCE_LAW, members_of_policy
from node.audit.source import CannotAudit, Certificate, Lost, TrustAt, certificate_of
from node.ledger.genesis import Genesis
from node.ledger.policy_chain import (
    FILE_BYTES_MAX,
    BrokenChain,
    Link,
    Policies,
    follow,
    parse_links,
)
from node.ledger.trust import trust_policy
from node.log.checkpoint import parse_checkpoint
from node.log.errors import MalformedInput
from node.log.note import NOTE_BYTES_MAX, parse_note
from node.log.tiles import (
    BUNDLE_BYTES_MAX,
    TILE_HEIGHT,
    TILE_WIDTH,
    TilePath,
    decode_bundle,
    tile_hashes,
)
from node.signing.checkpoints import log_vkey
from node.signing.transport import encrypting
from node.signing.verify import verify_ed25519

TILES_HELD: Final = 64


class WebSource:
    """One node's HTTP listener. One connection, opened anew when the node closes it."""

    kind = "web"
    every_level = False

    def __init__(self, url: str, genesis: Genesis, document: bytes) -> None:
        """For `open`. Raises CannotAudit: no address."""
        self.where = url
        self.name = url
        self.document = document
        self.state: str | None = None
        self.size = 0
        self.last_commit: int | None = None
        self.shows_entries = genesis.publication == "open"
        self.certificates: tuple[Certificate, ...] = ()
        self.policies = Policies.founding(trust_policy(genesis))
        self.links: list[Link] = []  # that lead to the later ones of them
        self.note = b""  # /checkpoint.full as it was served
        self.damage: list[Lost] = []
        self._genesis = genesis
        self._certificates_der = {
            ssl.PEM_cert_to_DER_cert(member.certificate_pem.decode()): member.state
            for member in genesis.members
        }
        self._exchanges = Exchanges(url, encrypting())
        self._tiles: OrderedDict[str, list[bytes]] = OrderedDict()

    @classmethod
    def open(cls, url: str, genesis: Genesis, document: bytes) -> Self:
        """Connect, see whose node it is, and take its final checkpoint. Raises CannotAudit."""
        source = cls(url, genesis, document)
        try:
            source._exchanges.connect()
            source.note = source._exchanges.get("checkpoint.full", NOTE_BYTES_MAX)
            source.size = parse_checkpoint(parse_note(source.note).text).size
            if genesis.law_version >= EPOCHS_SINCE_LAW:
                source._follow(genesis)
            source._identify()
        except (OSError, http.client.HTTPException, Lost, MalformedInput, BrokenChain) as err:
            source.close()
            raise CannotAudit(f"{url}: {err}") from err
        return source

    def _follow(self, genesis: Genesis) -> None:
        """Whom to believe about this size, by the genesis. Raises OSError, HTTPException, Lost, BrokenChain."""
        self.links = parse_links(self._exchanges.get("policies.json", FILE_BYTES_MAX))
        self.policies = follow(trust_policy(genesis), self.links)

    def _identify(self) -> None:
        """Raises CannotAudit: a stranger."""
        found = self._certificates_der.get(self._exchanges.shown or b"")
        if found is None and self._genesis.law_version >= EPOCHS_SINCE_LAW:
            found = self._by_log_line()
        if found is None:
            self.close()
            raise CannotAudit(
                f"{self.where}: neither certificate nor log line is a member's: another ledger, or an impostor"
            )
        self.state = self.name = found

    def _by_log_line(self) -> str | None:
        note = parse_note(self.note)
        labels = {(line.name, line.key_id): line.signature for line in note.lines}
        for member in members_of_policy(self.policies.at(self.size)):
            key = log_vkey(self._genesis.origin, member.log_key)
            signature = labels.get((key.name, key.key_id))
            if signature and verify_ed25519(member.log_key, note.text, signature):
                return member.state
        return None

    def entries(self, first: int, count: int) -> list[bytes]:
        return self._parts(None, first, count)

    def hashes(self, level: int, first: int, count: int) -> list[bytes]:
        assert level % TILE_HEIGHT == 0, f"tiles hold every eighth level, not {level}"
        return self._parts(level // TILE_HEIGHT, first, count)

    def _parts(self, level: int | None, first: int, count: int) -> list[bytes]:
        found: list[bytes] = []
        while len(found) < count:
            index = first + len(found)
            tile = self._tile(level, index // TILE_WIDTH)
            offset = index % TILE_WIDTH
            found += tile[offset : offset + count - len(found)]
        return found

    def _tile(self, level: int | None, number: int) -> list[bytes]:
        complete = self.size >> TILE_HEIGHT * (level or 0)
        width = min(TILE_WIDTH, complete - TILE_WIDTH * number)
        if width <= 0:
            raise Lost(f"level {level}, tile {number}: beyond the size {self.size}")
        path = str(TilePath(level=level, index=number, width=width))
        if path in self._tiles:
            self._tiles.move_to_end(path)
            return self._tiles[path]
        try:
            data = self._exchanges.get(path, BUNDLE_BYTES_MAX)
            parts = decode_bundle(data, width) if level is None else tile_hashes(data, width)
        except (OSError, http.client.HTTPException, MalformedInput) as err:
            raise Lost(f"{path}: {err}", path) from err
        self._tiles[path] = parts
        while len(self._tiles) > TILES_HELD:
            self._tiles.popitem(last=False)
        return parts

    def read_certificates(self, trust_at: TrustAt) -> None:
        """The checkpoint, taken when the source was opened."""
        note = parse_note(self.note)
        checkpoint = parse_checkpoint(note.text)
        self.certificates = (certificate_of(note, checkpoint, trust_at(checkpoint.size)),)

    def commit_record(self, index: int) -> bytes:
        raise Lost(f"commit record {index}: a node's web face shows no order")

    def block(self, ref: Ref, epoch: int = 0) -> bytes:
        del epoch
        raise Lost(f"block {ref.round}/{ref.author}: a node's web face shows no blocks")

    def close(self) -> None:
        self._exchanges.close()
