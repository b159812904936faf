"""A ledger founded for a simulation: keys from fixed seeds, an endpoint for each member; made once for each size."""

from dataclasses import replace
from functools import lru_cache
from typing import Final

from node.ledger.genesis import encode_genesis
from tests.unit.ledger.founding import Founding, found, sign_by_all

HOST: Final = "127.0.0.1"
EPOCH_MIN_S: Final = 1  # members change as soon as they may (RULINGS R44)


WITHDRAWAL_S: Final = 2  # from a state's notice until it has left


@lru_cache(maxsize=8)
def founded(members: int, *, changing: bool, leaving: bool = False) -> Founding:
    """`changing`: under the law by which members can change; `leaving`: some of them withdraw."""
    policy = {"epoch_min_s": EPOCH_MIN_S} | ({"withdrawal_s": WITHDRAWAL_S} if leaving else {})
    founding = found(members, law_version=2, policy=policy) if changing else found(members)
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
