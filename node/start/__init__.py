"""What `node.main` does before and around a running node: the home read, a damaged store mended, the objects put together.

Only node.main, and programs that stand where it stands, import it.
"""
