"""The files that etcd writes and reads: its database, and the snapshots that ``etcdctl snapshot save`` makes."""
