"""What a replica keeps on its disk for Raft: journal, checkpoints, and what may be trusted at a start."""
