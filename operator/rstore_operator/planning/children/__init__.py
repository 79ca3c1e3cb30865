"""The Kubernetes objects of a store: their names, owners, volumes and content."""
