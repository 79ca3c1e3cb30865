"""Python's etcd3: does what its users do with it.

Arguments: a mode, addresses (``host:port,…``), a prefix for keys, and the files of CA, certificate and key, if any.
``operations`` prints what each operation came to as JSON; ``through-failover`` puts until its input ends, and then
prints which keys a watch has been shown.
"""

import io
import json
import sys
import threading
import time

import etcd3

mode, addresses, prefix, *tls = sys.argv[1:]
host, port = addresses.split(",")[-1].split(":")
files = dict(zip(("ca_cert", "cert_cert", "cert_key"), tls, strict=True)) if tls else {}
client = etcd3.client(host=host, port=int(port), timeout=20, **files)
OPERATIONS = []


def operation(function):
    OPERATIONS.append(function)
    return function


def values(pairs):
    return [value.decode() for value, _ in pairs]


def read(succeeded, responses):
    """Returns whether a transaction succeeded, and the values that its ranges have read."""
    return [succeeded, [values(one) for one in responses if isinstance(one, list)]]


@operation
def keys_and_values(key):
    client.put(key + "a", "1")
    before = client.put(key + "a", "2", prev_kv=True).prev_kv.value.decode()
    client.put(key + "b", "3")
    value, about = client.get(key + "a")
    return [
        before,
        value.decode(),
        about.version,
        client.get(key + "none"),
        values(client.get_prefix(key)),
        values(client.get_prefix(key, sort_order="descend", sort_target="value")),
        values(client.get_range(key + "b", key + "z")),
        client.delete(key + "a"),
        client.delete(key + "a"),
        client.delete_prefix(key).deleted,
    ]


@operation
def bytes_that_are_no_text(key):
    client.put(key.encode() + bytes(range(256)), bytes(range(256)))
    [(value, about)] = client.get_prefix(key)
    return [value == bytes(range(256)), about.key == key.encode() + bytes(range(256))]


@operation
def transactions(key):
    does = client.transactions
    first = client.transaction(
        compare=[does.version(key) == 0, does.value(key + "x") != "1", does.create(key) == 0, does.mod(key) < 1],
        success=[does.put(key, "new"), does.get(key)],
        failure=[does.get(key)],
    )
    second = client.transaction(
        compare=[does.value(key) == "old"], success=[does.delete(key)], failure=[does.put(key, "2"), does.get(key)]
    )
    inner = client.transaction(compare=[], success=[does.txn([does.version(key) > 0], [does.get(key)], [])], failure=[])
    return [
        *(read(*answer) for answer in (first, second, inner)),
        client.put_if_not_exists(key, "3"),
        client.put_if_not_exists(key + "y", "3"),
        client.replace(key, "2", "4"),
        client.replace(key, "2", "5"),
    ]


@operation
def watch_from_the_past_on(key):
    revision = client.put(key, "1").header.revision
    client.put(key, "2")
    events, cancel = client.watch_prefix(key, start_revision=revision)
    threading.Timer(0.2, lambda: client.delete(key)).start()
    seen = []
    for event in events:
        seen.append([type(event).__name__, event.value.decode()])
        if len(seen) == 3:
            cancel()
    return seen


@operation
def watch_once(key):
    threading.Timer(0.5, lambda: client.put(key, "1")).start()
    return client.watch_once(key, timeout=20).value.decode()


@operation
def callbacks(key):
    came = threading.Event()
    number = client.add_watch_callback(key, lambda response: came.set())
    client.put(key, "1")
    arrived = came.wait(20)
    client.cancel_watch(number)
    return arrived


@operation
def compacted(key):
    first = client.put(key, "1").header.revision
    last = client.put(key, "2").header.revision
    client.compact(last, physical=True)
    deadline = time.monotonic() + 20  # a secondary region compacts a little later
    while time.monotonic() < deadline:
        try:
            next(client.watch(key, start_revision=first)[0])
        except etcd3.exceptions.RevisionCompactedError as error:
            return error.compacted_revision == last
    return "never"


@operation
def lease(key):
    granted = client.lease(60)
    client.put(key, "1", lease=granted)
    holds = client.get(key)[1].lease_id == granted.id
    keys = [one.decode() for one in granted.keys]
    refreshed = granted.refresh()[0].TTL
    times = [granted.granted_ttl, 50 < granted.remaining_ttl <= 60]
    granted.revoke()
    return [holds, keys, refreshed, times, client.get(key)]


@operation
def lease_expires(key):
    events, cancel = client.watch(key)
    client.put(key, "1", lease=client.lease(1))
    seen = [type(next(events)).__name__ for _ in range(2)]
    cancel()
    return [seen, client.get(key)]


@operation
def lock(key):
    lock = client.lock(key, ttl=30)
    other = client.lock(key, ttl=30)
    states = [lock.acquire(), lock.is_acquired(), other.acquire(timeout=1)]
    lock.refresh()
    return [*states, lock.release(), other.acquire(timeout=20), other.release()]


@operation
def maintenance(key):
    status = client.status()
    names = {member.name for member in client.members}
    return [
        status.version.split(".")[0],
        status.db_size > 0,
        status.raft_term > 0,
        status.leader.name in names,
        list(client.list_alarms()),
        client.defragment(),
    ]


@operation
def hash_of_the_database(key):
    return client.hash() != 0


@operation
def snapshot(key):
    file = io.BytesIO()
    client.snapshot(file)
    return file.getvalue()[16:20].hex()  # bbolt's magic number


def failure(call):
    try:
        return call()
    except Exception as error:
        return [type(error).__name__, error.details()]


@operation
def errors(key):
    twice = [client.transactions.put(key, "1"), client.transactions.put(key, "2")]
    return [
        failure(lambda: client.put("", "v")),
        failure(lambda: client.compact(1 << 60)),
        failure(lambda: client.transaction([], twice, [])),
    ]


@operation
def errors_of_leases(key):
    return failure(lambda: client.put(key, "v", lease=4711))


def operations():
    outcomes = {}
    for each in OPERATIONS:
        try:
            outcomes[each.__name__] = each(f"{prefix}/{each.__name__}/")
        except Exception as error:  # the outcome is the failure
            outcomes[each.__name__] = f"{type(error).__name__}: {error}"
    print(json.dumps(outcomes), flush=True)


def through_failover():
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    events, cancel = client.watch_prefix(f"{prefix}/")
    number = 0
    while not ended.is_set():
        try:
            client.put(f"{prefix}/{number}", "v")
        except Exception:
            time.sleep(0.1)
        else:
            print(number, flush=True)
            number += 1
    watched = []
    while number - 1 not in watched[-1:]:
        watched.append(int(next(events).key.decode().rpartition("/")[2]))
    cancel()
    print(json.dumps(watched), flush=True)


through_failover() if mode == "through-failover" else operations()
client.close()
