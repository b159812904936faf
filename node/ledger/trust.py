"""Whom to believe about this ledger: the trust policy that its genesis leads to, by the one rule of RULINGS R44."""

from consensus.committee import quorum_of
from node.ledger.genesis import Genesis
from node.log.policy import PolicyMember, policy_text
from node.signing.checkpoints import cosigner_vkey, log_vkey


def trust_policy(genesis: Genesis) -> bytes:
    """The c2sp.org/tlog-policy text that checkpoints and receipts are judged by (RULINGS R2, R44)."""
    members = [
        PolicyMember(
            state=member.state,
            log_key=log_vkey(genesis.origin, member.log_key),
            cosigner_key=cosigner_vkey(genesis.origin, member.state, member.cosigner_key),
            url=f"https://{member.http_endpoint}",
        )
        for member in genesis.members
    ]
    return policy_text(members, quorum_of(len(members)))
