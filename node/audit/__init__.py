"""Offline audit: is this history what the states signed, and what the law makes of it? If not: where, and who said otherwise.

Reading order:

    findings      what an audit says: depths, findings, sources, the verdict
    source        what a history is read from, and what it means that something is lost
    store_source  a node's home or data folder; `archive` an archive; `web` a running node
    archive       the layout of plain files; `unfinished` and `export` write one, `importing` makes a store of one
    structure     entries -> leaf hashes -> tree -> root
    certificates  founding signatures, checkpoints, cosignatures; who signed two roots
    order         the sequence of commits, again, from the signed blocks
    law           every leaf again, from the sequence
    store_rows    every other row of a store against the replay
    compare       two sources side by side: entry and byte range
    copies        one copy through all depths; `explaining` its single entries, `apart` several copies at once
    resuming      what an interrupted audit left: copies found clean; `points` and `taking_up` the middle of one
    audit         all of it, source by source
    monitor       running nodes, again and again; `outside` what witnesses say; `two_roots` the evidence of a split view
    travel        a copy as of a moment, certified; on it `diff`, `one_entry`, `absence` and what was `owed`
    worker        how processes begin and end
    command       `foedus audit`; `evidence` what it writes down; `confirm` evidence that rests on ML-DSA-44

The order and the law are not written a second time: `consensus` and `node.ledger.plan` are what every node runs, and a pure
function of the signed bytes (decision 0041).
"""
