"""An outage in the log (RULINGS R34): the ledger tells the law of it, and whoever replays the log alone finds it again."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from node.audit.findings import Findings
from node.audit.law import Replay, replay_log
from node.audit.source import Source
from node.ledger.ledger import Ledger
from node.signing.verify import VerifyPool
from tests.unit.ledger.founding import found
from tests.unit.ledger.running import Running, start

HOUR_MS = 3_600_000


@dataclass
class LogAlone:
    """A source that holds nothing but entries: no blocks, and no trace of commits that appended nothing."""

    ledger: Ledger
    name: str = "log"

    @property
    def size(self) -> int:
        return self.ledger.size

    def entries(self, first: int, count: int) -> list[bytes]:
        return self.ledger.entries(first, count)


def outages(node: Running) -> list[dict[str, Any]]:
    return [record for record in node.records() if record["type"] == "outage"]


async def test_the_log_alone_tells_outage_from_quiet(tmp_path: Path) -> None:
    founding = found(4, 2, law_version=2)
    author = founding.author(0)
    node = await start(founding, tmp_path)
    await node.commit(after_ms=5 * HOUR_MS)  # the ledger begins late: that is none
    await node.commit(author.facility("dc1", founding.agencies[0]))
    for _ in range(20):  # three hours in which nobody says anything
        await node.commit(after_ms=590_000)
    await node.commit(author.energy(1), after_ms=590_000)
    assert outages(node) == []
    await node.commit()
    since = node.now_ms // 1_000
    await node.commit(author.energy(2), after_ms=HOUR_MS)  # nobody could
    await node.commit(
        author.energy(3), after_ms=HOUR_MS
    )  # and again, after a commit that the log shows
    first, second = outages(node)
    assert (first["since"], first["until"], first["moved"]) == (since, since + 3_600, 3_000)
    assert (second["since"], second["until"]) == (since + 3_600, since + 7_200)
    pool = VerifyPool(threads=1)
    findings = Findings("log")
    source = cast(Source, LogAlone(node.ledger))
    replay = Replay(founding.genesis, founding.document, pool)
    result = replay_log(source, replay, source.size, lambda plan: None, findings)
    assert (findings.all(), result.expected) == ([], {})
    assert result.root == node.ledger.root
    assert result.state_digest == node.ledger.state_digest
    pool.close()
    node.close()
