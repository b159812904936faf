"""What an outside witness says of this ledger: the monitoring GET of c2sp.org/tlog-witness (FORMATS 1.6 and 8).

    GET <url>/<hex SHA-256 of origin>/checkpoint    the newest note of that log which this witness cosigned; it may lag an hour

A witness is no member: it tracks one thing, that the log it was shown only grows. So it catches what no quorum can tell, that
more than f states, or all of them, rewrote the history. Its line says that it was shown that root, under the line of a log key
that stands beside it. It accuses nobody by itself: accused is who cosigned both logs, if the note has such lines.

The certificate of its TLS proves nothing and is not asked for: what counts in its answer is signed.
"""

from dataclasses import dataclass, replace
from hashlib import sha256
from http.client import HTTPException
from typing import Final
from urllib.parse import urlsplit

from node.audit.exchange import Exchanges
from node.audit.policies import members_of_policy
from node.audit.source import CannotAudit, Lost
from node.audit.two_roots import TwoRoots
from node.ledger.policy_chain import Policies
from node.log.checkpoint import Checkpoint
from node.log.cosignature import open_checkpoint, parse_cosignature
from node.log.errors import MalformedInput, MalformedKey, Untrusted
from node.log.note import NOTE_BYTES_MAX, KeyType, VerifierKey, parse_vkey
from node.log.policy import evaluate
from node.signing.transport import encrypting
from node.signing.verify import mldsa_check, verify_ed25519

LAG_S: Final = 3600  # what the monitoring GET may lag behind
URL_CHARACTERS_MAX: Final = 2_000
_COSIGNERS: Final = (KeyType.COSIGNATURE, KeyType.MLDSA_COSIGNATURE)


@dataclass(frozen=True, slots=True, kw_only=True)
class OutsideWitness:
    """Whose lines count, and where they are shown: `url` + "/<hex>/checkpoint"."""

    vkey: VerifierKey
    url: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Witnessed:
    """A note that this witness cosigned and a log key of a member signed: both lines are good."""

    checkpoint: Checkpoint
    note: bytes
    signed_at_s: int  # by the witness' own clock
    log_keys_of: tuple[str, ...]  # states whose log key signed it


def parse_witness(text: str) -> OutsideWitness:
    """VKEY@URL. Raises CannotAudit saying what would have been right."""
    head, *rest = text.split("+", 2)
    encoded, at, url = rest[-1].partition("@") if len(rest) == 2 else ("", "", "")
    if not at:
        raise CannotAudit(
            f"--witness {text[:80]!r}: want VKEY@URL, as name+keyid+base64@https://witness.example"
        )
    try:
        vkey = parse_vkey("+".join((head, rest[0], encoded)))
    except MalformedKey as err:
        raise CannotAudit(f"--witness: {err}") from err
    if vkey.key_type not in _COSIGNERS:
        raise CannotAudit(
            f"--witness {vkey.name}: a {vkey.key_type.name} key cosigns nothing: want a cosigner's"
        )
    base_of(url)
    return OutsideWitness(vkey=vkey, url=url.rstrip("/"))


def base_of(url: str) -> tuple[str, str]:
    """https://host:port and the path below it, without its slashes at both ends. Raises CannotAudit."""
    try:
        parts = urlsplit(url)
    except ValueError as err:
        raise CannotAudit(f"{url}: {err}") from err
    plain = url.isascii() and url.isprintable() and " " not in url and "@" not in parts.netloc
    if parts.scheme != "https" or not plain or parts.query or parts.fragment:
        raise CannotAudit(f"{url[:80]!r}: want https://host:port/path, without query or fragment")
    if len(url) > URL_CHARACTERS_MAX:
        raise CannotAudit(f"{url[:80]!r}: more than {URL_CHARACTERS_MAX} characters")
    return f"https://{parts.netloc}", parts.path.strip("/")


def ask_witness(witness: OutsideWitness, origin: str, policies: Policies) -> Witnessed:
    """Its newest note of this log, both lines checked. Raises CannotAudit: there is none to be had, or none that counts."""
    base, below = base_of(witness.url)
    path = "/".join(filter(None, (below, sha256(origin.encode()).hexdigest(), "checkpoint")))
    exchanges = Exchanges(base, encrypting())
    try:
        exchanges.connect()
        return judge(witness.vkey, exchanges.get(path, NOTE_BYTES_MAX), origin, policies)
    except (OSError, HTTPException, Lost, MalformedInput, Untrusted) as err:
        raise CannotAudit(f"{witness.url}: {err}") from err
    finally:
        exchanges.close()


def judge(vkey: VerifierKey, note: bytes, origin: str, policies: Policies) -> Witnessed:
    """Raises MalformedInput, Untrusted: no good line by this witness; CannotAudit: another log, or no member's log line."""
    opened = open_checkpoint(note, [vkey], verify_ed25519, mldsa_check())
    checkpoint = opened.checkpoint
    if checkpoint.origin != origin or checkpoint.size == 0:
        raise CannotAudit(f"it shows {checkpoint.size} entries of {checkpoint.origin}")
    policy = policies.at(checkpoint.size)
    found = evaluate(policy, note, verify_ed25519, mldsa_check())
    states = {member.log_key: member.state for member in members_of_policy(policy)}
    log_keys_of = tuple(states[key.public_key] for key in found.logs if key.public_key in states)
    if not log_keys_of:
        raise CannotAudit(
            f"what it cosigned carries no good line by a member's log key{_why(found.why)}"
        )
    line = next(
        line for line in opened.note.lines if (line.name, line.key_id) == (vkey.name, vkey.key_id)
    )
    return Witnessed(
        checkpoint=checkpoint,
        note=note,
        signed_at_s=parse_cosignature(line.signature, vkey.key_type).timestamp,
        log_keys_of=log_keys_of,
    )


def _why(text: str) -> str:
    return f": {text}" if text else ""


def as_told_by(found: TwoRoots, witness: OutsideWitness, witnessed: Witnessed) -> TwoRoots:
    """The evidence of a fork, with what the witness' note, its `first`, adds: it accuses nobody by that."""
    states = ", ".join(witnessed.log_keys_of)
    told = (
        f"the outside witness {witness.vkey.name} was shown {witnessed.checkpoint.size} entries of another log,"
        f" signed by the log key of {states}"
    )
    evidence = {
        **found.evidence,
        "what": f"{found.evidence['what']}; {told}",
        "witness": str(witness.vkey),
        "log_keys_of": list(witnessed.log_keys_of),
    }
    return replace(found, evidence=evidence, told=told)
