"""What a node answers to anyone: the client gRPC service and the HTTP files.

Reading order: `node` (what the handlers call), `refusals` (errors as gRPC statuses), `access` (who reads what is restricted),
`wire` (our values as messages), `views` (motions, cases, runs and facilities, read from the log), `receipts`, `service` (the
handlers), `guard` (limits, deadlines and error translation around every handler), `server` (gRPC), `http` (checkpoints
and tiles), `listener` (HTTP and TLS).

No rule of the ledger lives here: a handler translates, calls, translates back.
"""
