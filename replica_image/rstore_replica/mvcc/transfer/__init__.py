"""Rows and snapshots from one region to another, as the data see it."""
