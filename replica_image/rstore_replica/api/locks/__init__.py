"""etcd's locks and elections: who waits for whom, as keys in the order in which they were created."""
