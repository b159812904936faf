"""`foedus law`: what the treaty's law says, at any index of the log, and how far it answers the proposal."""
