"""A Kubernetes cluster in one process, for laptops without Docker and for tests."""
