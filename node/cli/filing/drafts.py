"""Drafts from files: TOML, as `foedus template` writes it, or JSON. Both say the same; what is signed is protobuf either way."""

import tomllib
from pathlib import Path
from typing import Final

from node.cli.errors import MalformedDraft
from node.cli.founding import read_bounded
from node.cli.statements import DRAFT_BYTES_MAX, Draft, draft_of, parse_draft
from node.log.errors import shown

FORMATS: Final = ("toml", "json")


def read_draft(path: Path, kind: str) -> Draft:
    """The draft in this file, which must be of this kind. Raises MalformedDraft naming the field, OSError."""
    data = read_bounded(path, DRAFT_BYTES_MAX)
    draft = parse_toml_draft(data) if path.suffix == ".toml" else parse_draft(data)
    if draft.kind != kind:
        raise MalformedDraft(f"draft.kind={shown(draft.kind)} in {path}: the command says {kind}")
    return draft


def parse_toml_draft(data: bytes) -> Draft:
    """Raises MalformedDraft naming the field."""
    if len(data) > DRAFT_BYTES_MAX:
        raise MalformedDraft(f"draft of {len(data)} bytes: at most {DRAFT_BYTES_MAX}")
    try:
        document = tomllib.loads(data.decode(), parse_float=_no_float)
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as err:
        raise MalformedDraft(f"draft: not TOML: {err}") from None
    return draft_of(document)


def _no_float(text: str) -> int:
    raise MalformedDraft(f"draft: {shown(text)}: the ledger has integers only")
