"""Judges conformance files for the public formats: `python -m node.log.conformance FILE...`, imported by nobody (RULINGS R70)."""
