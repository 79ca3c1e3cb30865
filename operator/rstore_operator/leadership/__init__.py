"""Which of several operators acts: the Lease of an installation, and the claims of others."""
