"""Reading an archive: what a restore needs, and the keys at a revision of the past."""
