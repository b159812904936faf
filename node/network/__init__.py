"""How a node talks to its peers. `certificates` says who a caller is."""
