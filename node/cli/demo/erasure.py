"""Step 5: the accused state alters what its stopped node has stored; an audit names the place; the node is rebuilt from peers.

The forger does not scratch the disk, which any checksum would show: it uses the database's own software, so that the store opens
and reads as if nothing had happened. In the record of the finding it puts another state's code in the place of its own.
"""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

from foedus.v1 import client_pb2 as pb
from node.cli.demo.cast import ACCUSED
from node.cli.demo.outcome import Erasure
from node.cli.demo.processes import foedus_json
from node.cli.demo.show import expect
from node.cli.demo.story import Story
from node.settings import FILE_NAME, load_settings
from node.storage import keys
from node.storage.rows import CommitWrite
from node.storage.store import Store

BLAMED: Final = "CN"
WITNESS: Final = "KE"  # whose node shows what stood there
INCONSISTENT: Final = 1  # exit status of `foedus audit`
REBUILD_S: Final = 40.0
_FIELD: Final = (
    b"\x67subject"  # CBOR: the text key `subject`; its value is a text of two letters, head 0x62
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Forgery:
    """What was done to the store."""

    entry: int
    first: int  # bytes of the entry, both included
    last: int


async def erase(story: Story) -> None:
    """Forge, audit, rebuild."""
    show = story.show
    show.doing(f"{ACCUSED} alters its copy of the finding")
    index = await _finding(story)
    store = _store_path(story)
    forgery = forge(store, index, ACCUSED, BLAMED)
    show.fact(
        f"{ACCUSED} rewrites entry {index} in its own store: the finding now says {BLAMED} where it said {ACCUSED}"
    )
    report = await _audited(story, forgery)
    found = _at_the_place(report, forgery)
    story.outcome.erasure = Erasure(
        node=ACCUSED,
        detected=report["verdict"] == "inconsistent" and bool(found),
        named=found,
        restored=await _rebuilt(story, store),
    )


async def _finding(story: Story) -> int:
    """The leaf of the finding about the accused, as the other nodes have it."""
    answer = await story.clients["KE"].list_entries(
        pb.ListRequest(kind="finding", subject=ACCUSED, limit=100)
    )
    graves = [entry.index for entry in answer.entries if b"lineage:" in entry.leaf]
    expect(len(graves) == 1, f"one finding about {ACCUSED} and its lineage", graves)
    return graves[0]


def _store_path(story: Story) -> Path:
    return load_settings(story.homes[ACCUSED].folder / FILE_NAME, {}).store_path


def forge(store_path: Path, index: int, subject: str, blamed: str) -> Forgery:
    """Write the finding at `index` anew with another subject of equal length; every other row stays as it is.

    Two commits of the database's own kind: one puts the altered entry in its place, one puts the tip back.
    """
    assert len(subject) == len(blamed) == 2, "codes of two letters, so that no length changes"
    with Store.open(store_path) as store:
        tip = store.tip()
        assert tip is not None, "the node has run"
        engine_record = store.commit_record(tip.commit)
        assert engine_record is not None, "each commit has its record"
        dropped = store.meta(keys.META_DROPPED) or b""
        leaf = store.entry(index)
        at = leaf.index(_FIELD) + len(_FIELD) + 1
        expect(
            leaf[at : at + 2] == subject.encode(),
            f"entry {index} is about {subject}",
            leaf[at : at + 2],
        )
        altered = leaf[:at] + blamed.encode() + leaf[at + 2 :]
        for changed, entries in ((replace(tip, log_size=index + 1), [altered]), (tip, [])):
            store.write_commit(
                CommitWrite(
                    tip=changed, engine_record=engine_record, entries=entries, dropped=dropped
                )
            )
    return Forgery(entry=index, first=at, last=at + 1)


async def _audited(story: Story, forgery: Forgery) -> dict[str, Any]:
    """`foedus audit` of the altered store beside another node: it must name the very bytes."""
    home = story.homes[ACCUSED].folder
    member = next(one for one in story.founded.genesis.members if one.state == WITNESS)
    url = f"https://{member.http_endpoint}"
    story.show.doing(f"foedus audit {home} --against {url}")
    status, report = await foedus_json(
        *("audit", str(home), "--against", url, "--genesis", str(story.genesis_path)),
        *("--evidence", str(story.folder / "evidence-forged.json")),
    )
    expect(status == INCONSISTENT, "the audit finds the store inconsistent", report)
    texts = [one["text"] for one in report["findings"]]
    expect(
        bool(_at_the_place(report, forgery)),
        f"the audit names node {ACCUSED}, entry {forgery.entry}, bytes {forgery.first}-{forgery.last}",
        texts[:3],
    )
    story.show.fact(f"foedus audit: {texts[0]}")
    return report


def _at_the_place(report: dict[str, Any], forgery: Forgery) -> str:
    """Node, entry and byte range in the audit's own numbers, if they are those of the forgery; else ""."""
    for one in report["findings"]:
        if (one["source"], one["entry"]) != (ACCUSED, forgery.entry) or one["bytes"] is None:
            continue
        first, last = one["bytes"]
        if (first, last) == (forgery.first, forgery.last):
            return f"node {one['source']}, entry {one['entry']}, bytes {first}-{last}"
    return ""


async def _rebuilt(story: Story, store: Path) -> bool:
    """The store goes, what the node has signed stays (RULINGS R31, R52); peers give the history again."""
    story.show.doing(f"the node of {ACCUSED} is rebuilt from its peers")
    shutil.rmtree(store)
    child = story.start_node(ACCUSED)  # the published program this time
    await story.processes.until_said(child, "ready")
    await story.connect(ACCUSED)

    async def caught_up() -> str:
        own = await story.clients[ACCUSED].status()
        other = await story.clients["KE"].status()
        behind = other.final_size - own.final_size
        return "" if behind <= 0 else f"{behind} entries behind"

    await story.until(f"the node of {ACCUSED} has caught up", caught_up, REBUILD_S)
    status = await story.one_root()
    story.show.fact(
        f"the node of {ACCUSED} is whole again: {status.log_size} entries, the same root {status.root.hex()[:16]}… on five nodes"
    )
    own = await story.clients[ACCUSED].get(status.log_size - 1)
    other = await story.clients[WITNESS].get(status.log_size - 1)
    return own.entry.leaf == other.entry.leaf and len(story.running()) == len(story.nodes)
