"""Checkpoints of a replica: when they are made, how they are stored, and how they reach one that is far behind."""
