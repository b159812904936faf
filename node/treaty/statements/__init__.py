"""The kinds of statement, one module each (MODEL 3), and the vote. `node/treaty/kinds.py` says what a kind is."""

from typing import Final

from node.treaty import ballots
from node.treaty.kinds import Kind
from node.treaty.statements import (
    chip_batch,
    chip_type,
    custody,
    energy,
    evaluation,
    facility,
    identity,
    inspection,
    instrument,
    inventory,
    note,
    run,
    usage,
)

KINDS: Final[dict[str, Kind]] = {
    "identity": identity.KIND,
    "instrument": instrument.KIND,
    "facility": facility.KIND,
    "chip_type": chip_type.KIND,
    "chip_batch": chip_batch.KIND,
    "custody": custody.KIND,
    "inventory": inventory.KIND,
    "usage": usage.KIND,
    "energy": energy.KIND,
    "run": run.KIND,
    "eval": evaluation.KIND,
    "inspection": inspection.KIND,
    "note": note.KIND,
    "vote": ballots.VOTE,
}
