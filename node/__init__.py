"""The node that a signatory state runs: see README.md for the map of its rooms."""

import os

# gRPC's C core writes a line of its own to standard error for each handshake that fails: strangers would fill the log with what
# is no line of it. It reads this once, when it is loaded.
os.environ.setdefault("GRPC_VERBOSITY", "NONE")
