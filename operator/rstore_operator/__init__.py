"""The Kubernetes operator of ReplicatedStore."""
