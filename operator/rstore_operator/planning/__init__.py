"""The rules about a store, apart from a change of its primary."""
