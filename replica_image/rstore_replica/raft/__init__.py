"""PySyncObj made safe: one Raft group per region behind a narrow interface."""
