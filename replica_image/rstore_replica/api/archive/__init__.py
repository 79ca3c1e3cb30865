"""What a store's archiver reads."""
