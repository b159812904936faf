"""The law: from signed entries and ledger time to decisions, findings and cases. Pure.

No input or output, clock, randomness, logging or float; it imports the standard library and
`foedus.v1` (with protobuf's run-time part). Read in this order:

    errors, codes      the one parse error; why an entry is refused
    bodies, entries    what the form of a kind says; entries as values
    derived            what comes out: the values that become records
    policy, tiers      the numbers, and which runs they make Tier 0 to 3
    courses            schedules as step functions: overlaid, compared, limited in their steps
    rules, veto        voting arithmetic, and what one state can block
    codec, rows        rows by subject, and their one spelling
    tables, state      rows by text key; all tables
    genesis, book      what the law is founded on; the open book that rules read and write
    kinds              what a kind of statement is
    sealed             the form of sealed documents, as the ledger sees them
    filing, ballots    who may say what; motions opened, voted on, closed
    grounds, cases     what a finding says of its check; findings, replies, BREACH
    explanations, remedies   what ends a case below severity 3; what an upheld one asks of its subject
    equivocations      C29 about a state whose node signed two blocks for one round
    lives              a run's status, and halts
    scores, runs       evaluations as rows; training runs with C14 and C15
    chips, stocks      approved chip types; chips counted at a site
    duties, reports    C28, what is owed and overdue; sites that owe reports, C02
    inspections        who counts as an inspector
    evaluators, owners who may evaluate and review, one by lot; owners that change
    entry_into_force   the two doors, and what is provisional before
    register           parties, keys and membership
    departures         what a state owes that leaves
    amendments         the policy as motions leave it
    releases, capabilities   deployed models: shares, evaluations, withdrawal; the list they are evaluated by
    hardware           limits on chips, off by default
    sampling, documents      how many chips to look at; proofs over a run's documents
    checks             the catalogue of checks, and those that compare several statements
    notes              what each type of note does, by what it is about
    statements         one module for each kind of statement, with its checks: begin with `facility` and `usage`
    motions            one module for each kind of motion: begin with `kind` and `train`
    earlier_laws       what the schema was under laws 1 and 2
    parsing            from payload bytes to the value that is judged
    law                the state machine: start here if you only want to use the room

`scenario` runs published scenarios and is imported by no room; `memory_index` serves it and the tests.

A genesis names law 1 or 2 (decision record 0120). Law 1 knows the statements identity, instrument, facility, usage, energy,
run, note; the motions TRAIN, BREACH, APPOINT, CLASSIFY; vote; and HALT where a Finding opens it by itself. Law 2 adds the
other statements of `statements.KINDS` and the other motions of `motions.FILERS`. A kind not in force is refused as FILER
(0021); what the schema did not have under law 1 is SCHEMA there (0145). Both laws are frozen (0187): what changes a record, a
row, a rule, a field or a parameter is law 3.
"""
