"""etcd's auth: who asks, by token or certificate, what users may do, and what each request needs."""
