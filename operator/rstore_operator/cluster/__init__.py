"""What talks to the outside: a cluster and its objects, and the replicas of a store."""
