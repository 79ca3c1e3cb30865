"""The time of leases: only the leader of the primary region counts it."""
