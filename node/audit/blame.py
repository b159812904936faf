"""Evidence files: each shows by signatures alone what one or several states did, to whoever knows the ledger's chain id.

    {"format": "foedus/evidence/1", "kind": ..., "accused": [state, ...], "what": sentence, "chain_id": hex,
     "genesis": base64, and by kind:}

    two-roots    first, second: checkpoint notes, the smaller first; prefix_root, prefix_proof (hex) if their sizes differ
                 lines: ml-dsa-44, where it rests on second lines, which PyNaCl cannot verify: `foedus audit confirm` does
    two-blocks   epoch, round, author; digest1, signature1, digest2, signature2, block_keys (hex; of the epoch's committee)
    withheld     acknowledgement (hex); checkpoint: a final one; commit_record (hex), index, proof (hex): its leaf; what is
                 missing in the log up to there only an archive can show, so it is checked beside one; it may have come later
    policies     in all of them, where members or keys have changed: links from the genesis to later epochs (`policy_chain`)

`foedus-verify evidence FILE --chain-id HEX` confirms them with none of this software. The bytes are the same for the same misdeed
from the same copies; nothing in a file is secret, and nothing but signatures in it is believed.

One kind of accusation has no file: a block that its author signed and no validator accepts, such as one that carries a proof
which proves nothing. That it is invalid follows from the rules of the consensus and from its parents; who doubts it audits an
archive, where the block stands with its signature (record 0209).
"""

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from node.audit.findings import TWO_BLOCKS, TWO_ROOTS, WITHHELD, AuditReport, Finding
from node.ledger.genesis import chain_id
from node.ledger.policy_chain import Link, encode_links

FORMAT: Final = "foedus/evidence/1"
KINDS: Final = (TWO_ROOTS, TWO_BLOCKS, WITHHELD)
NUMBERS: Final = ("epoch", "round", "author", "index")
LISTS: Final = ("prefix_proof", "proof")


def evidence_documents(report: AuditReport, genesis: bytes) -> list[dict[str, Any]]:
    """One document for each piece of proof, whoever it names; in the order of the report."""
    found: dict[str, dict[str, Any]] = {}
    for finding in (*report.findings, *report.misdeeds):
        if not finding.accused or finding.proof.get("kind") not in KINDS:
            continue
        fields = _fields(finding)
        if finding.proof.get("kind") == TWO_BLOCKS:
            fields["block_keys"] = [key.hex() for key in report.block_keys[fields["epoch"]]]
        name = json.dumps(fields, sort_keys=True)
        document = found.setdefault(
            name, evidence_document(genesis, (), finding.what, fields, report.links)
        )
        document["accused"] += [s for s in finding.accused if s not in document["accused"]]
    return list(found.values())


def evidence_document(
    genesis: bytes,
    accused: Sequence[str],
    what: str,
    fields: Mapping[str, Any],
    links: Sequence[Link] = (),
) -> dict[str, Any]:
    """One document; `fields` are its kind and what that kind holds; `links` lead to the epochs that it speaks of."""
    policies = json.loads(encode_links(links))["links"]
    return {
        **({"policies": policies} if policies else {}),
        "format": FORMAT,
        "chain_id": chain_id(genesis).hex(),
        "genesis": base64.b64encode(genesis).decode(),
        "accused": list(accused),
        "what": what,
        **fields,
    }


def _fields(finding: Finding) -> dict[str, Any]:
    fields: dict[str, Any] = dict(finding.proof)
    for name in NUMBERS:
        if name in fields:
            fields[name] = int(fields[name])
    for name in LISTS:
        if name in fields:
            fields[name] = fields[name].split()
    return fields


def write_documents(documents: Sequence[dict[str, Any]], beside: Path) -> list[Path]:
    """Each to a new file beside the audit's own evidence file. Raises OSError, FileExistsError among them."""
    written = []
    for number, document in enumerate(documents, start=1):
        path = beside.with_name(f"{beside.stem}-{number}-{document['kind']}.json")
        with path.open("x", encoding="utf-8") as file:
            file.write(json.dumps(document, indent=1, sort_keys=True, ensure_ascii=False) + "\n")
        written.append(path)
    return written
