"""Rows, keys and index in LMDB: layout, reading, writing, compaction, checkpoints."""
