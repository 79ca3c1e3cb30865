"""An embedded Kubernetes API server: one asyncio process that kubectl, Helm, kopf and the Python clients accept."""
