"""The archive of a store, outside the store: its log of revisions, and bases; docs/backup.md has the format."""
