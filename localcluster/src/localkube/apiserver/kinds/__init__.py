"""What is particular to each built-in kind: defaults, validation, immutable fields."""
