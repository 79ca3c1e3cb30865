"""The primary's tenure: the leader that holds it, the voters that grant it, and what each round says."""
