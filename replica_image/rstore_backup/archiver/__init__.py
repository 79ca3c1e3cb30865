"""The process that writes a store's archive."""
