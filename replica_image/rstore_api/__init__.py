"""The wire protocol of ReplicatedStore: etcd v3 and our own services, error vocabulary, and an asyncio client."""

__version__ = "0.1.0"
