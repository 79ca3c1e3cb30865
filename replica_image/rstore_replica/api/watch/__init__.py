"""Watches between the hub of the replica and the streams of clients."""
