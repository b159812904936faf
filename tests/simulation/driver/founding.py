"""A ledger founded for a simulation: keys from fixed seeds, an endpoint for each member; made once for each size."""

from dataclasses import replace
from functools import lru_cache
from typing import Final

from node.ledger.genesis import encode_genesis
from tests.unit.ledger.founding import Founding, found, sign_by_all

HOST: Final = "127.0.0.1"
EPOCH_MIN_S: Final = 1  # members change as soon as they may (RULINGS R44)


@lru_cache(maxsize=8)
def founded(members: int, *, changing: bool) -> Founding:
    """`changing`: under the law by which members' keys can change."""
    founding = (
        found(members, law_version=2, policy={"epoch_min_s": EPOCH_MIN_S})
        if changing
        else found(members)
    )
    placed = tuple(
        replace(member, peer_endpoint=f"{HOST}:{port_of(index)}")
        for index, member in enumerate(founding.genesis.members)
    )
    genesis = sign_by_all(replace(founding.genesis, members=placed, signatures={}), founding.nodes)
    return Founding(
        genesis, encode_genesis(genesis), founding.nodes, founding.agencies, founding.operators
    )


def port_of(seat: int) -> int:
    return 7_000 + 10 * seat
