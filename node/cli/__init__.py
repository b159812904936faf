"""The `foedus` command. A face: it asks nodes as any client does, and holds no rule of its own.

Reading order:

    report       how every command ends: exit status, --json, errors                    used by all commands
    errors       what a command could not do, as one tree
    passphrases  from files and terminals
    founding     home folders, declarations, genesis: what `init` and `genesis` do, as functions
    statements   JSON in, the content of a statement, motion or vote out
    outbox       (seq, hash) on disk before a signature leaves (RULINGS R28)
    author       an author's chain: statements, motions, votes, endorsements from plain values
    client       one connection to one node, pinned to the certificate in the genesis; several nodes (R59)
    receipts     what a receipt proves, offline
    asking       which ledger, which nodes, which keys: the options that commands share
    *_command    the typer commands over these
    demo         the rehearsal: the whole treaty in five processes on this machine
    main         the root: registers them all
"""
