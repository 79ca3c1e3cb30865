"""Schemas: validation, defaulting, pruning, CEL, the definitions of built-in kinds."""
