"""Watches: who is interested in which keys, how far each has been served, and the rows that are still to be shown."""
