"""A deterministic simulator of the consensus core: one seed, one history.

    python -m tests.simulation --seeds 200       many runs
    python -m tests.simulation --seed 0x2a --trace
    foedus simulate veto                         is any member needed?

Reading order:

    regime        what a seed draws: sizes, liars, links, cuts, crashes, machines, load
    clock         virtual time
    mint          every block of a run, with fake signatures (the core verifies none)
    store         a disk that forgets at a crash what was not synced
    network       links that lose, double, delay, reorder and are cut, also one way
    desk          peers' requests, answered by `consensus.serving` from the simulated store
    node          the driver of one core, with the seven promises of `consensus.types` and crash points
    adversaries   Byzantine seats: small strategies that see everything
    liars         more of them
    schedules     delays within the bound, drawn up against the protocol
    checkers      what must hold, computed again without the core's code
    cluster       all of it together: a storm, then healing, then everybody commits again
    law           what stands for the law where members change
    member        one member through the epochs
    succession    a network whose members come and go
    run           one regime, by the one or the other
    trace         one line per event and effect
    script        hand-written schedules: real cores, a liar's hand, pushes held or lost
    seeds         many drawn runs, from the command line
    entries       a cluster that is handed entries and watches each
    veto          the no-veto gate: sets of members that are silent, lie or are cut off
    censorship    f colluders who never refer to a victim
    gate          both of these as one command, with its tables
    capitals      195 states, the links between them, the floor of four hops
    wan           latency at that scale: every member a core, or the rules as a schedule
    fed           one core of a large committee, fed: what a member costs
    wan_report    these three as one command

To grow it: a new adversary is a class in `liars` and a name in `regime._strategies`; a new fault of machines or links is a
field of the regime; a new promise is a check in `checkers`, called from `cluster`.
"""
