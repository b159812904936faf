"""Keys, signatures and the files keys live in: the only place that signs and the only place that verifies.

keys             roles, signing keys that never show themselves, refusal of weak public keys
transport        the self-signed P-256 certificate of a node (RULINGS R47)
keystore         encrypted key files: argon2id and secretbox, mode 0600 (R51)
verify           Ed25519 by libsodium's rule, ML-DSA-44; batches over threads, results remembered
statements       entries and endorsements: COSE_Sign1 around bytes that never change again (R13, R14)
acknowledgement  a node's signed word that an entry will be included by a time (R58)
checkpoints      the note lines of a checkpoint: log line, cosignature
sharing          Shamir's shares of a scalar (0146)
sealing          documents of class S: sealed to recipients, opened by k of them, checked against their commitment
blocks           consensus blocks: signing, and the only maker of verified ones
"""
