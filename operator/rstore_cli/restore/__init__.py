"""``rstore restore``: from an etcd or an archive into a store."""
