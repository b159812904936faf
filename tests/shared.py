"""Where the tests find the treaty's published vectors and public data, which are not part of the project."""

from pathlib import Path

import pytest

SHARED = Path(__file__).resolve().parent.parent.parent / "shared"


def shared_path(relative: str) -> Path:
    """The file or folder below the shared folder, or skip the test saying what is missing."""
    path = SHARED / relative
    if not path.exists():
        pytest.skip(f"{relative}: not here; put the shared folder beside the checkout to run this")
    return path
