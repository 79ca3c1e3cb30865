"""Diverged tails: leaving them, their files in quarantine, and undoing their rows."""
