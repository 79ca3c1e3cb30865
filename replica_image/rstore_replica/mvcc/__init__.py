"""The state machine: multi-version rows in LMDB."""
