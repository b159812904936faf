"""A ledger founded for a simulation: keys from fixed seeds, an endpoint for each member; made once for each size."""

from dataclasses import replace
from functools import lru_cache

from node.ledger.genesis import encode_genesis
from tests.unit.ledger.founding import Founding, found, sign_by_all


@lru_cache(maxsize=8)
def founded(members: int) -> Founding:
    founding = found(members, operators=2)
    placed = tuple(
        replace(member, peer_endpoint=f"127.0.0.1:{7_000 + index}")
        for index, member in enumerate(founding.genesis.members)
    )
    genesis = sign_by_all(replace(founding.genesis, members=placed, signatures={}), founding.nodes)
    return Founding(
        genesis, encode_genesis(genesis), founding.nodes, founding.agencies, founding.operators
    )
