"""Whom to believe about this ledger: the trust policy that its genesis leads to, by the one rule of RULINGS R44."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from consensus.committee import quorum_of
from node.ledger.genesis import Genesis, GenesisMember
from node.log.policy import PolicyMember, policy_text
from node.signing.checkpoints import cosigner_vkey, log_vkey, mldsa_cosigner_vkey

POLICIES_HELD: Final = 8  # of epochs; of 195 members one has 80 KB


def trust_policy(genesis: Genesis) -> bytes:
    """The c2sp.org/tlog-policy text that checkpoints and receipts of the founding epoch are judged by (RULINGS R2, R44)."""
    return policy_of(genesis.origin, genesis.members)


def policy_of(origin: str, members: Sequence[GenesisMember]) -> bytes:
    """The policy text of an epoch in which these validate, in validator order: one rule, so every node builds the same bytes."""
    return _policy_of(origin, tuple(members))


@lru_cache(POLICIES_HELD)
def _policy_of(origin: str, members: tuple[GenesisMember, ...]) -> bytes:
    """Building one reads it again to see that it means what it must: a few ms, and an audit asks for each several times."""
    found = [
        PolicyMember(
            state=member.state,
            log_key=log_vkey(origin, member.log_key),
            cosigner_key=cosigner_vkey(origin, member.state, member.cosigner_key),
            url=f"https://{member.http_endpoint}",
            second_key=mldsa_cosigner_vkey(origin, member.state, member.cosigner_pq_key)
            if member.cosigner_pq_key
            else None,
        )
        for member in members
    ]
    return policy_text(found, quorum_of(len(found)))
