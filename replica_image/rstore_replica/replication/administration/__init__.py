"""What the Admin service does: bootstrap, topology, fences, promotion and members of the region."""
