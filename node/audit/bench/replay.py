"""One replay in a process of its own: `python -m node.audit.bench.replay ARCHIVE DEPTH`, one JSON line on standard output."""

import json
import resource
import sys
import time

from node.audit.audit import audit_sources
from node.audit.findings import Depth, Verdict

if __name__ == "__main__":
    started = time.perf_counter()
    report = audit_sources([sys.argv[1]], depth=Depth(sys.argv[2]))
    seconds = time.perf_counter() - started
    assert report.verdict is Verdict.CONSISTENT, [str(finding) for finding in report.findings]
    own = resource.getrusage(resource.RUSAGE_SELF)
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(
        json.dumps(
            {
                "seconds": seconds,
                "own_cpu_s": own.ru_utime + own.ru_stime,
                "cpu_s": own.ru_utime + own.ru_stime + children.ru_utime + children.ru_stime,
                "rss_max": own.ru_maxrss * 1024,
            }
        )
    )
