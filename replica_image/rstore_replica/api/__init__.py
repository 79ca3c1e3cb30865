"""The services that clients and the operator call: thin, each a table of methods and their bodies."""
