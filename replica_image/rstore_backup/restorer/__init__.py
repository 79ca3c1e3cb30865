"""Fills a new store with a past state from an archive: a process of its own, run by the operator beside the store."""
