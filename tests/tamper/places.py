"""Whether a finding says where: a file, an entry, or words that name the part."""

import re
from typing import Final

from node.audit.findings import Finding

PLACES: Final = re.compile(
    r"entr(?:y|ies)|block [0-9]|commit [0-9]|record [0-9]|findings more|checkpoint|index|level|rows?|tip|genesis|store"
    r"|manifest|tree|size|root|sign state|epoch|link"
)


def has_place(finding: Finding) -> bool:
    """A file, an entry, or a sentence that says which part: of a person who reads it, nobody asks where."""
    return (
        finding.file is not None
        or finding.entry is not None
        or finding.entries is not None
        or PLACES.search(finding.what) is not None
    )
