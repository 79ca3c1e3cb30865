"""The servicers: etcd's KV, Maintenance and Cluster, our Admin and Quarantine, health, and the HTTP port."""
