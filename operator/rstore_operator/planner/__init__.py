"""The decision about a whole store at one moment, made of the rules of the floors below."""
