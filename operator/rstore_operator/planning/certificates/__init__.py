"""The certificates of a store, the authority that signs them, and how that is replaced in three stages."""
