"""How a node talks to its peers.

Reading order:

    certificates  who is at the other end
    wire          between protobuf and our values; the only place
    budget        token buckets, and the score of what no honest peer sends
    hosting       what the network asks of the node around it
    outbox        what one reader has still to be sent, bounded
    doorkeeper    the checks before every handler
    service       what peers call on us
    link          one peer, dialled
    network       all of it as one object
"""
