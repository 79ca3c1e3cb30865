"""Which region is primary and how that changes: switchover, failover, and what a person may ask for."""
