"""CEL expressions of rules before they run: parsed, checked against the types of a schema, their cost estimated."""
