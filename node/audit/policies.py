"""Members as a trust policy tells them: enough to judge checkpoints, of a node that shows no entries."""

from typing import Final

from node.ledger.genesis import GenesisMember
from node.log.note import KeyType
from node.log.policy import TrustPolicy

EPOCHS_SINCE_LAW: Final = 2


def members_of_policy(policy: TrustPolicy) -> tuple[GenesisMember, ...]:
    """By state. By the one rule of our policies (RULINGS R44) the i-th log and the i-th witness are of one state."""
    second = {
        witness.name: witness.key.public_key
        for witness in policy.witnesses
        if witness.key.key_type is KeyType.MLDSA_COSIGNATURE
    }
    first = [w for w in policy.witnesses if w.key.key_type is KeyType.COSIGNATURE]
    return tuple(
        GenesisMember(
            state=witness.name,
            log_key=log.key.public_key,
            cosigner_key=witness.key.public_key,
            cosigner_pq_key=second.get(f"{witness.name}/pq", b""),
            block_key=b"",
            author_key=b"",
            vote_key=b"",
            certificate_pem=b"",
            peer_endpoint="",
            client_endpoint="",
            http_endpoint=(log.url or "").removeprefix("https://"),
        )
        for log, witness in zip(policy.logs, first, strict=False)
    )
