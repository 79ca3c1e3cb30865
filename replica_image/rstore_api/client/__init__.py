"""The Python client of a store: keys and values, and the services of single replicas."""

from rstore_api.client.key_values import Client, prefix_end
from rstore_api.client.login import User
from rstore_api.client.many import PutManyResult
from rstore_api.tls import TlsFiles, TlsPem

__all__ = ["Client", "PutManyResult", "TlsFiles", "TlsPem", "User", "prefix_end"]
