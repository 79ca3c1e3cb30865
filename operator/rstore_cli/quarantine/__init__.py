"""``rstore quarantine``: diverged tails, the writes that a lost primary had to itself."""
