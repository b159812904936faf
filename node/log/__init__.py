"""The public formats of the log, pure: a tree, tiles, notes, checkpoints, cosignatures, statements, receipts.

Nothing here reads a file, a clock or a key: signatures are checked by a function handed in (`Verify`, RULINGS
R70), stored hashes come from a function handed in (`ReadHash`). One tree, many wrappers: the same root goes into
the checkpoint, the tlog-proof and the COSE receipt. Read in this order:

    errors         what a stranger's bytes can do wrong
    merkle         RFC 9162 tree: hashes, growth, proofs from stored hashes, their verification
    tiles          C2SP tlog-tiles: paths, geometry, tiles, entry bundles
    note           C2SP signed note and verifier keys
    checkpoint     C2SP tlog-checkpoint: the text (origin, size, root)
    cosignature    C2SP tlog-cosignature, Ed25519 and ML-DSA-44; opening a cosigned note
    policy         C2SP tlog-policy: when is a checkpoint final; the text derived from the register
    proof          C2SP tlog-proof: the receipt for humans
    witness        C2SP tlog-witness: the decision of add-checkpoint
    equivocation   two certificates in, the guilty out
    cbor           deterministic CBOR, the only importer of cbor2
    cose           COSE_Sign1 statements, endorsements, receipts
    dsse           DSSE envelopes, verified only
    conformance    `python -m node.log.conformance FILE...`, imported by nobody
"""
