"""The law: from signed entries and ledger time to decisions, findings and cases. Pure.

No input or output, clock, randomness, logging or float; it imports the standard library and
`foedus.v1` (with protobuf's run-time part). Read in this order:

    errors, codes      the one parse error; why an entry is refused
    bodies, entries    the form of every kind; from payload bytes to the value that is judged
    derived            what comes out: the values that become records
    policy, tiers      the numbers, and which runs they make Tier 0 to 3
    courses            schedules as step functions: overlaid, compared, limited in their steps
    rules, veto        voting arithmetic, and what one state can block
    codec, state       rows and their one spelling
    genesis, book      what the law is founded on; the open book that rules read and write
    filing, ballots    who may say what; motions opened, voted on, closed
    cases              findings, replies, BREACH
    lives              a run's status, and halts
    scores, runs       evaluations as rows; training runs with C14 and C15
    chips, duties      chip types and batches; C28, what is owed and overdue
    reports            facilities and reports with C02 and C07
    stocks, custody    counts with C03 and C29; the way of chips with C04
    inspections        reports of inspectors; who counts as one
    evaluations        reports of evaluators
    notes, register    short papers; parties, keys and membership
    amendments         the policy as motions leave it
    motions            one module for each kind of motion: begin with `kind` and `train`
    law                the state machine: start here if you only want to use the room

`scenario` runs published scenarios and is imported by no room; `memory_index` serves it and the tests.

A genesis names law 1 or 2 (decision record 0120). Law 1 knows the statements identity, instrument, facility, usage, energy,
run, note; the motions TRAIN, BREACH, APPOINT, CLASSIFY; vote; and HALT where a Finding opens it by itself. Law 2 adds
chip_type, chip_batch, custody, inventory, eval, inspection, and the other motions of `motions.FILERS`. A kind not in
force is refused as FILER (0021).
"""
