"""The outside: the Kubernetes API, the replicas' Admin service, certificates."""
