"""HTTP/1.1 on the client port: health, version, metrics, and etcd's JSON gateway, which calls services in process."""
