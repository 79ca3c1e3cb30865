"""The few Kubernetes controllers the embedded cluster needs, over a small API protocol."""
