"""Step 6: history replayed offline from one node's archive: signatures, order, law, roots, cosignatures of all five."""

from typing import Any, Final

from foedus.v1 import client_pb2 as pb
from node.cli.demo.cast import STATES
from node.cli.demo.outcome import Audit
from node.cli.demo.processes import foedus_json
from node.cli.demo.show import expect
from node.cli.demo.story import Story
from node.log import policy
from node.signing.verify import verify_ed25519

EXPORTED: Final = "KE"
EXPORT_TRIES: Final = 3
# What an export can be looked at for; the other two depths are those of a store, and of several copies.
DEPTHS: Final = ("parse", "structure", "certificates", "signatures", "order", "law")


async def replay(story: Story) -> None:
    """Every state signs the root that it sees; then one node's history is judged by somebody who asks no node."""
    await story.pause_metering()
    await _closing_words(story)
    status = await _signed_by_all(story)
    folder = story.folder / f"archive-{EXPORTED}"
    home = story.homes[EXPORTED].folder
    story.show.doing(f"foedus archive export --home {home} {folder}")
    export = ("archive", "export", str(folder), "--home", str(home), "--size")
    code, exported = await foedus_json(*export, str(status.final_size))
    for _ in range(EXPORT_TRIES):
        if code == 0:
            break
        # The law's clock adds entries of its own, and of sizes gone by a node keeps few certificates.
        status = await _signed_by_all(story)
        code, exported = await foedus_json(*export, str(status.final_size))
    expect(
        code == 0 and exported["size"] == status.final_size,
        f"the first {status.final_size} entries are in the archive",
        exported,
    )
    story.show.fact(
        f"archive of {EXPORTED}: {exported['size']} entries, {exported['commits']} commits, {exported['files']} files"
    )
    story.show.doing(f"foedus audit {folder}")
    code, found = await foedus_json(
        *("audit", str(folder), "--genesis", str(story.genesis_path)),
        *("--evidence", str(story.folder / "evidence-archive.json")),
    )
    expect(code == 0 and not found["findings"], "the audit finds nothing wrong", _wrong(found))
    source = found["sources"][0]
    unseen = [depth for depth in DEPTHS if not source["checked"][depth]["done"]]
    expect(not unseen, f"all of {', '.join(DEPTHS)} checked", source["checked"])
    missing = [state for state in STATES if state not in found["cosigned_by"]]
    expect(not missing, "cosignatures of all five states", f"missing: {', '.join(missing)}")
    roots = {source["root"], source["replayed_root"], source["final_root"]}
    expect(
        roots == {status.root.hex()},
        f"the replay leads to the root of all five nodes, {status.root.hex()}",
        roots,
    )
    _record(story, status, found)
    story.show.fact(
        f"replayed offline: {found['entries_replayed']} entries, {source['commits_replayed']} commits: signatures, order, law"
    )
    story.show.fact(
        f"root {source['replayed_root'][:16]}… cosigned by {', '.join(found['cosigned_by'])}: {found['verdict']}"
    )


def _record(story: Story, status: pb.GetStatusResponse, found: dict[str, Any]) -> None:
    outcome = story.outcome
    outcome.entries_final, outcome.log_size = status.final_size, status.log_size
    outcome.root = status.root.hex()
    outcome.audit = Audit(
        entries_replayed=found["entries_replayed"],
        roots_equal=found["roots_equal"],
        verdict=found["verdict"],
    )


async def _closing_words(story: Story) -> None:
    """Each state publishes the root that its own node shows."""
    seen = await story.statuses()
    words = [
        (story.cast.states[state].say("note", {"type": "publication", "hash": answer.root}), state)
        for state, answer in seen.items()
    ]
    story.show.doing("each state publishes the root that it sees")
    await story.submit_all(words)


async def _signed_by_all(story: Story) -> pb.GetStatusResponse:
    """Where all nodes stand, once all five have cosigned it."""
    await story.one_root()
    trusted = policy.parse_policy(story.founded.trust_policy)

    async def cosigned() -> str:
        note = await story.clients[EXPORTED].checkpoint(full=True)
        judged = policy.evaluate(trusted, note, verify_ed25519)
        missing = [state for state in STATES if state not in judged.witnesses]
        return f"{', '.join(missing)} not yet" if missing else ""

    await story.until("all five have cosigned the last checkpoint", cosigned)
    return await story.one_root()


def _wrong(found: dict[str, Any]) -> object:
    return [one["text"] for one in found.get("findings", ())][:3] or found
