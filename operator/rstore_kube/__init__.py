"""The client of the Kubernetes API that operator and command line use: dictionaries in, dictionaries out."""
