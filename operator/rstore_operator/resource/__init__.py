"""The ReplicatedStore object: its spec, its annotations and its status, as values."""
