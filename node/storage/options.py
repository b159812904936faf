"""How RocksDB is opened: small memtables, one shared cache, a write-ahead log of bounded length (RULINGS R53)."""

from typing import Any, Final

import rocksdict

MIB: Final = 1024 * 1024
# A node should stay below 250 MiB in all, so the database gets small memtables and one shared cache.
WRITE_BUFFERS_BYTES: Final = 32 * MIB
BLOCK_CACHE_BYTES: Final = 32 * MIB
WAL_BYTES_MAX: Final = 64 * MIB  # bounds how long opening takes after a crash


def rocks_options(cache: Any, *, salvage: bool = False) -> Any:
    options = rocksdict.Options(raw_mode=True)
    options.create_if_missing(create_if_missing=True)
    options.create_missing_column_families(create_missing_cfs=True)
    mode = rocksdict.DBRecoveryMode
    options.set_wal_recovery_mode(
        mode.skip_any_corrupted_record() if salvage else mode.tolerate_corrupted_tail_records()
    )
    options.set_paranoid_checks(enabled=not salvage)  # else one bad file closes all others
    options.set_db_write_buffer_size(WRITE_BUFFERS_BYTES)
    options.set_write_buffer_size(8 * MIB)
    options.set_max_total_wal_size(WAL_BYTES_MAX)
    options.set_max_background_jobs(2)
    options.set_keep_log_file_num(4)
    options.set_max_open_files(256)
    options.set_compression_type(rocksdict.DBCompressionType.lz4())
    tables = rocksdict.BlockBasedOptions()
    tables.set_block_cache(cache)
    tables.set_bloom_filter(10, block_based=False)
    tables.set_checksum_type(rocksdict.ChecksumType.xxh3())
    options.set_block_based_table_factory(tables)
    return options
