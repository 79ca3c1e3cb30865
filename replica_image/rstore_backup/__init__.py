"""The archive of a store, outside the store: its log of revisions, and bases; docs/archive-format.md has the format."""
