"""The server in each pod: etcd API, Raft group, MVCC store, cross-region replication."""

import os

# gRPC's core reads this once, when it is imported. Below "error" it writes, past the structured log, a line for each
# failed handshake of whoever connects.
os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
