"""Storage: one RocksDB per node, and two small files beside it that remember what was signed.

Reading order: `errors` (what can go wrong), `keys` (every key layout, byte by byte), `store` (the database), `group_sync`
(one disk flush shared by everybody who waits), `sign_state` (the files `block` and `cosign`, and the lock).

Only this room imports rocksdict.
"""
