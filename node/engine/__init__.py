"""What puts entries in order: drives `consensus.core` and hands its commits to the ledger.

Reading order:

clock     milliseconds that never run backwards
inbox     what waits for the core, bounded
recent    blocks verified lately, so that copies cost next to nothing
receiving a peer's bytes -> verified blocks, or a charge
payload   the mempool's entries -> own blocks, and back when a block is void
applying  commits -> ledger, in a task of its own
keeping   blocks to disk and back: what is durable before what
gossip    cosignatures to and from peers
hosting   what peers are answered from the store
seating   who sits where; `register`: by which certificates peers are known as the ledger goes on
loss      an operator's word after a lost sign state, on its way to the core
parts     what an engine works with
figures   what is counted and shown: `outcomes`, `accusations`, gathered by `watching`
dag       the driver: one task that owns the core and does its effects in order
epochs    from one epoch's engine to the next; `past`: an epoch that is over, as peers see it who are still in it
"""
