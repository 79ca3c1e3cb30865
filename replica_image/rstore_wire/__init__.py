"""gRPC over HTTP/2 in the event loop's own thread.

gRPC's own server for Python hands each event of a call from a thread of its core to the event loop and back, which
costs several times what the replica itself does for a call. Here a connection is an ``asyncio`` protocol: what one read
brings is taken apart, served and answered with one write. Servicers, handlers and generated code are gRPC's, unchanged:
:class:`.server.Server` takes the place of ``grpc.aio.server()``,
:class:`.client.ClientCall` that of a call of a channel.

A server may be given an application that answers HTTP/1.1 on the same sockets, within the same bounds: `h11` reads and
writes that protocol (:mod:`.http1_connection`), and :mod:`.beginning` chooses between the two.

HTTP/2 is RFC 9113 (frames, flow control) and RFC 7541 (header compression, by ``hpack``); the rest is
`gRPC over HTTP/2 <https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>`_.
"""
