"""The node that a signatory state runs: see README.md for the map of its rooms."""
