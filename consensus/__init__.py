"""The order of blocks, pure."""
