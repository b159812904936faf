"""The ledger: runs the law over committed batches and appends to the log. The only writer.

Reading order: `errors`, `batch` (what an engine hands over), `genesis` (the founding document), `reader` (from raw bytes
to what the law can judge), `evidence` (proofs of equivocation, from blocks and from the log), `records` (derived leaves as
bytes), `state_digest` (the law's state map as one hash), `plan` (what one commit appends, computed without a store), `append`
(the one place that writes a plan), `ledger` (both together, and the views that the faces read), `terms`, `conflicts` and
`finality` (who cosigns, two roots, cosignatures), `turns` and `shares` (whose entry is next, how much of a flood), `mempool`
and `admission` (the way in), `view` (records and entries for people).
"""
