"""The etcd services, Admin and Replication, as thin servicers."""
