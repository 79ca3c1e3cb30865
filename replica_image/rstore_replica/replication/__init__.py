"""Cross-region replication: streaming the log of the primary region to the others, and moving the primary."""
