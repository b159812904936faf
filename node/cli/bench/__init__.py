"""`foedus bench`: what this network does on this machine, measured; nothing is assumed.

Reading order: `workload` (the statements), `load` (the process that sends them), `meters` (what is read from the machine),
`figures` (what becomes of it), `localnet` (the run). The command itself is `node/cli/bench_command.py`.

    bench (this process)                 load generator (its own process)       4 nodes (a process each)
      found, start, wait ready
      "prepare" ───────────────────────► sign all statements of the phase
      read meters, "closed" / "open" ──► clock starts: SubmitMany ────────────► order, apply, cosign
                                         poll GetEntryState of the oldest ────► final?
      read meters ◄───────────────────── counts and latencies
"""
