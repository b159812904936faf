"""`foedus demo`: five states found a ledger, approve one training run, catch another, and a veto and an erasure fail.

A rehearsal on this machine with everything that a real treaty has: five node processes, gRPC over TLS, RocksDB, MQTT, key files.
Nothing in it is told in advance: every line shown and every value of the JSON is read back from the nodes, and a step that did
not come out as it must ends the story (`StoryBroke`). The rehearsal has no privilege: it asks nodes as any client does.

Reading order:

    cast        who takes part, what they say, and the drill's terms: entries from plain values, no network
    show        progress for people; where the story broke
    side_by_side   several things at once
    processes   child processes: started, watched, stopped by their ids
    metering    meters, broker and gateway, beside the steps
    story       what the steps share: folder, cast, processes, connections, and waiting for what nodes say
    founding    step 1: keys, declarations, genesis, five processes, first commit, veto check
    reports     step 2: facilities; meters over MQTT become signed reports; one root
    approval    step 3: a run approved against one no, another in spite of one silence; a receipt verified offline
    violation   step 4: a run in parts is found out; the accused votes, censors and stops, and is upheld against
    censoring_node   the accused state's node in step 4: the villain, a program of its own
    erasure     step 5: the accused node's store is altered; the audit names it; the node is rebuilt from its peers
    audit       step 6: history replayed offline from one node's archive
    outcome     the JSON
    run         all of it in order

Every operator, meter and event here is invented; states and facilities are named after real ones for scale alone.
"""
