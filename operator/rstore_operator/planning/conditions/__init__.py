"""What `.status` reports of a store and of each region."""
