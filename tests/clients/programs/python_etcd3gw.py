"""Python's etcd3gw, which speaks with the JSON gateway: does what its users do with it.

Arguments: a mode, addresses (``host:port,…``), a prefix for keys, and the files of CA, certificate and key, if any.
``operations`` prints what each operation came to as JSON; ``through-failover`` puts until its input ends.
"""

import base64
import json
import os
import sys
import threading
import time

import etcd3gw

mode, addresses, prefix, *tls = sys.argv[1:]
host, port = addresses.split(",")[-1].split(":")
files = dict(zip(("ca_cert", "cert_cert", "cert_key"), tls, strict=True), protocol="https") if tls else {}
client = etcd3gw.client(host=host, port=int(port), timeout=20, **files)


def encoded(text):
    return base64.b64encode(text.encode()).decode()


def keys_and_values(key):
    client.put(key + "a", "1")
    client.put(key + "a", "2")
    client.put(key + "b", "3")
    return [
        [value.decode() for value in client.get(key + "a")],
        client.get(key + "none"),
        [about["version"] for _, about in client.get(key + "a", metadata=True)],
        [[value.decode(), about["key"].decode()] for value, about in client.get_prefix(key)],
        [value.decode() for value, _ in client.get_prefix(key, sort_order="descend", sort_target="value")],
        client.create(key + "a", "3"),
        client.create(key + "c", "3"),
        client.replace(key + "a", "2", "4"),
        client.replace(key + "a", "2", "5"),
        client.delete(key + "a"),
        client.delete(key + "a"),
        client.delete_prefix(key),
    ]


def transactions(key):
    compare = [{"key": encoded(key), "result": "EQUAL", "target": "VERSION", "version": 0}]
    put = {"request_put": {"key": encoded(key), "value": encoded("1")}}
    read = {"request_range": {"key": encoded(key)}}
    made = [client.transaction({"compare": compare, "success": [put], "failure": [read]}) for _ in range(2)]
    return [made[0]["succeeded"], "succeeded" in made[1], made[1]["responses"][0]["response_range"]["kvs"][0]["value"]]


def watch(key):
    client.put(key + "a", "1")
    [(_, about)] = client.get(key + "a", metadata=True)
    events, cancel = client.watch_prefix(key, start_revision=int(about["mod_revision"]))
    client.put(key + "b", "2")
    client.delete(key + "a")
    seen = [next(events) for _ in range(3)]
    cancel()
    return [[event.get("type", "PUT"), event["kv"]["key"].decode()] for event in seen]


def lease(key):
    granted = client.lease(ttl=60)
    client.put(key, "1", lease=granted)
    seen = [granted.refresh(), 50 < granted.ttl() <= 60, list(map(bytes.decode, granted.keys()))]
    return [*seen, granted.revoke(), client.get(key)]


def lease_expires(key):
    client.put(key, "1", lease=client.lease(ttl=1))
    deadline = time.monotonic() + 20
    while client.get(key) and time.monotonic() < deadline:
        time.sleep(0.1)
    return client.get(key)


def lock(key):
    lock, other = client.lock(key, ttl=30), client.lock(key, ttl=30)
    return [lock.acquire(), lock.is_acquired(), other.acquire(), lock.release(), other.acquire(), other.release()]


def members_and_status(key):
    return [client.status()["version"].split(".")[0], len(client.members()[0]["clientURLs"])]


def failure(call):
    try:
        return call()
    except Exception as error:
        return [type(error).__name__, json.loads(error.detail_text)["message"]]


def errors(key):
    twice = [{"request_put": {"key": encoded(key)}}] * 2
    return [
        failure(lambda: client.put("", "v")),
        failure(lambda: client.transaction({"success": twice})),
        failure(lambda: client.post(client.get_url("/kv/compaction"), json={"revision": str(1 << 60)})),
    ]


def errors_of_auth(key):
    request = {"name": "ann", "password": "secret"}
    return failure(lambda: client.post(client.get_url("/auth/authenticate"), json=request))


OPERATIONS = (
    keys_and_values,
    transactions,
    watch,
    lease,
    lease_expires,
    lock,
    members_and_status,
    errors,
    errors_of_auth,
)


def operations():
    outcomes = {}
    for operation in OPERATIONS:
        try:
            outcomes[operation.__name__] = operation(f"{prefix}/{operation.__name__}/")
        except Exception as error:  # the outcome is the failure
            outcomes[operation.__name__] = f"{type(error).__name__}: {error} {vars(error)}"
    print(json.dumps(outcomes))


def through_failover():
    ended = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), ended.set()), daemon=True).start()
    number = 0
    while not ended.is_set():
        try:
            client.put(f"{prefix}/{number}", "v")
        except Exception:
            time.sleep(0.1)
        else:
            print(number, flush=True)
            number += 1
    print(json.dumps(None))


through_failover() if mode == "through-failover" else operations()
sys.stdout.flush()
os._exit(0)  # a watch leaves a thread behind that nothing ends
