"""Builds both images without a container engine: root file trees, and OCI archives of them."""
