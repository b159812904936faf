"""What `foedus-verify` says of a tampered archive, and of what an audit wrote down against somebody.

It runs no order and no law. So of an archive it must refuse: every file that the manifests do not fit; and, once a forger has
brought those into line, what is under the root or says whom to trust.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import foedus_evidence
from foedus_verify import NO_FORM, NotProven, archive
from node.ledger.genesis import chain_id
from tests.tamper.depths import Files
from tests.tamper.world import World

UNDER_THE_ROOT = ("tile/", "genesis.cbor", "policy")


def must_refuse(held: Files, references: Sequence[Files], *, sealed: bool) -> bool:
    """Whether that part is of none of the archives that this may be taken for: an older log under its own checkpoint stands."""
    return not sealed or all(_differ_under_the_root(held, whole) for whole in references)


def _differ_under_the_root(held: Files, whole: Files) -> bool:
    names = [name for name in whole if name.startswith(UNDER_THE_ROOT)]
    return any(held.get(name) != whole[name] for name in names)


def believes(world: World, folder: Path) -> bool:
    """Whether it calls the archive proven, under the chain id alone."""
    pinned = chain_id(world.weave.founding.document)
    try:
        founders = foedus_evidence.founding((folder / "genesis.cbor").read_bytes(), pinned)
        archive(folder, [founders])
    except (NotProven, *NO_FORM, OSError):
        return False
    return True


def refuses(document: Mapping[str, Any]) -> str:
    """Why it does not confirm this evidence; empty if it does."""
    try:
        foedus_evidence.evidence(json.dumps(document).encode(), None, None)
    except (NotProven, *NO_FORM) as err:
        return f"{type(err).__name__} {err}"
    return ""
