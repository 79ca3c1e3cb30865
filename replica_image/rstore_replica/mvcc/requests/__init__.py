"""etcd's requests, carried out on the rows: Range, Put, DeleteRange, Txn, and those that come again."""
