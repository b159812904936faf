"""The order of blocks, pure: an uncertified DAG, the Mysticeti-C commit rule, the Push pacemaker of Starfish.

Nothing here sees a clock, a disk, a socket or a key, and of the standard library only what computes. Reading order:

    types           values, events, effects, and what the driver owes
    codec           one spelling of each value; what is hashed and signed
    committee       validators, quorum, validity threshold, leaders
    validity        what makes a block valid, by its bytes alone
    dag             accepted blocks, their votes and certificates
    commit_rule     which leader slots are committed, skipped, undecided, and the blocks that show it
    linearizer      committed leaders -> one sequence of blocks, ledger time, floor
    pace            named paces: between states, on one machine
    pacemaker       rules A1 A2 L1 L2 C1 C2 C3: when to enter a round, when to make a block
    waiting         blocks whose parents are missing, bounded
    admission       a block's way in: limits, variants, acceptance
    parents         what a new block refers to
    own_slot        our newest block, what peers hold of ours, whether we may sign
    amnesia         from which round on to sign again where the sign state was lost
    epoch           when an epoch ends, and what is done after that
    votes           what others say they committed
    evidence        who signed two blocks for one round
    dissemination   who has which block, what to push
    resending       when to push the newest own block again, when to wake peers
    effects         what one step leads to, in order
    commit_sync     far behind: commits that a quorum certified, and their blocks
    ordering        from the DAG to the ledger, and what follows from each commit
    hearing         what peers' blocks show, whatever becomes of them
    requests        questions to peers not answered yet
    fetching        missing blocks, and what decided a commit where they are gone
    range_sync      coming back after an absence
    asking          all questions to peers, and what their answers bring
    core            all of these as one state machine: Core.step(now, event) -> effects
    serving         answers to peers from a store; what a core starts from
    conformance     entry script: the shared conformance cases

Sources: Mysticeti (arXiv 2310.14821) for the commit rule, Starfish (ePrint 2025/567) for the pacemaker; rules of the project's
protocol specification are cited as SPEC with their section, its repairs as P1 to P8. Where this departs from the papers:

    round advance    needs the own block of the round (A2), waived below a decided leader (decisions/0002)
    skip             judged for each known block of the slot, not for the slot
    sub-DAG          by a set of committed blocks and a floor that moves with commits alone, not by an author's watermark
    below the floor  a peer that cannot serve a block serves what decided its commits (decisions/0001)
    after absence    whole rounds ascending, nothing signed until the head is reached (decisions/0003)
    pushes           a block's history goes with it, or later with a longer leader timeout (decisions/0004)
"""
