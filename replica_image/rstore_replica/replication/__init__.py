"""Cross-region replication: stream sender and receiver, roles, topology."""
