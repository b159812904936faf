"""Names that processes of one run must agree on."""

CLOCK_VARIABLE = "FOEDUS_CHAOS_CLOCK"
