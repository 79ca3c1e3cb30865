"""The server in each pod: etcd API, Raft group, MVCC store, cross-region replication."""
