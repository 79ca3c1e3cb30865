"""Commands of etcdctl, a row for each command and its usual flags. ``KEY`` is a prefix of the row's own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Command:
    """One command: arguments as a shell would split them, and what it reads from its standard input."""

    arguments: tuple[str, ...]
    stdin: str = ""
    lines: int = 0
    """0 when the command ends by itself; else it is ended after so many lines."""


def run(text: str, stdin: str = "", lines: int = 0) -> Command:
    return Command(tuple(text.split()), stdin, lines)


_PUTS = [run("put KEYa 1"), run("put KEYb 2"), run("put KEYb 3"), run("put KEYc 2")]
ROWS: dict[str, list[Command]] = {
    "put": [
        run("put KEY v"),
        run("put KEY w --prev-kv"),
        run("put KEY w2 --prev-kv -w json"),
        run("put KEY", stdin="from stdin"),
        run("put KEY -- -w"),
        run("get KEY"),
        run("put KEY --ignore-value"),
        run("put KEYnone --ignore-value"),
        run("put KEY v --ignore-lease"),
        run("put KEY v --lease=abc"),
        run("put"),
    ],
    "get": [
        *_PUTS,
        run("get KEYa"),
        run("get KEYnone"),
        run("get KEY --prefix"),
        run("get KEYa KEYc"),
        run("get KEYb --from-key --limit=2"),
        run("get KEY --prefix --limit=1"),
        run("get KEY --prefix --order=DESCEND --sort-by=VALUE"),
        run("get KEY --prefix --order=ASCEND --sort-by=MODIFY"),
        run("get KEY --prefix --sort-by=VERSION"),
        run("get KEY --prefix --keys-only"),
        run("get KEY --prefix --count-only"),
        run("get KEY --prefix --count-only -w fields"),
        run("get KEY --prefix --print-value-only"),
        run("get KEYa --hex"),
        run("get KEY --prefix -w json"),
        run("get KEY --prefix -w fields"),
        run("get KEY --prefix -w table"),
        run("get KEYa --consistency=s"),
        run("get KEYa --rev=1"),
        run("get KEYa --rev=1000000"),
        run("get KEYa --rev=-1"),
        run("get KEY --prefix --from-key"),
        run("get"),
    ],
    "del": [
        *_PUTS,
        run("del KEYa"),
        run("del KEYa"),
        run("del KEYb --prev-kv"),
        run("put KEYd 1"),
        run("del KEY --prefix --prev-kv -w json"),
        run("put \xff\xff 1"),
        run("del \xff --from-key"),
        run("del KEYa KEYz"),
        run("del"),
    ],
    "txn": [
        run("put KEY 1"),
        run("txn", stdin='value("KEY") = "1"\n\nput KEY 2\nget KEY\n\nget KEY\n\n'),
        run("txn", stdin='value("KEY") > "5"\n\nput KEY 2\n\ndel KEY --prev-kv\nget KEY\n\n'),
        run("txn", stdin='create("KEY") = "0"\nmod("KEY") = "0"\nversion("KEY") < "1"\n\nput KEY 3\n\n\n'),
        run("txn -w json", stdin='value("KEY") != "9"\n\nput KEY 9 --prev-kv\nget KEY\n\n\n'),
        run("txn", stdin="\n\nput KEY 1\nput KEY 2\n\n\n"),
        run("txn", stdin="\n\n\n\n"),
    ],
    "compaction": [
        run("put KEY 1 -w fields"),
        run("put KEY 2"),
        run("compaction REVISION"),
        run("compaction REVISION"),
        run("compaction 1"),
        run("compaction 100000000"),
        run("compaction 0"),
        run("get KEY --rev=1"),
        run("put KEY 2"),
        run("compaction --physical REVISION"),
        run("watch KEY --rev=1"),
    ],
    "watch": [
        *_PUTS,
        run("del KEYa"),
        run("watch KEY --prefix --rev=REVISION-4", lines=15),
        run("watch KEY --prefix --rev=REVISION-4 --prev-kv -w json", lines=1),
        run("watch KEYa KEYz --rev=REVISION-4 -w fields", lines=10),
    ],
    "endpoint status": [
        run("endpoint status"),
        run("endpoint status -w json"),
        run("endpoint status -w fields"),
        run("endpoint status -w table"),
    ],
    "lease": [
        run("lease grant 300"),
        run("lease grant abc"),
        run("lease revoke 7b"),
        run("lease timetolive 7b"),
        run("lease timetolive 7b --keys"),
        run("lease keep-alive 7b --once"),
        run("lease list"),
        run("put KEY v --lease=7b"),
        run("get KEY --prefix"),
        run("lease grant 0"),
    ],
    "lock": [run("lock KEY echo locked"), run("lock KEY -- sh -c true")],
    "elect": [run("elect KEY me", lines=2)],
    "member list": [run("member list"), run("member list -w json"), run("member list -w table")],
    "member changes": [
        run("member remove 7b"),
        run("member update 7b --peer-urls=http://127.9.9.9:2380"),
        run("member promote 7b"),
    ],
    "endpoint health": [run("endpoint health"), run("endpoint health -w json")],
    "endpoint hashkv": [run("endpoint hashkv")],
    "endpoint health --cluster": [run("endpoint health --cluster")],
    "alarm": [run("alarm list"), run("alarm disarm")],
    "defrag": [run("defrag"), run("defrag --cluster")],
    "move-leader": [run("move-leader 7b"), run("move-leader")],
    "snapshot save": [run("snapshot save file.db")],
    "downgrade": [run("downgrade validate 3.4.0"), run("downgrade cancel")],
    "auth": [run("auth status"), run("auth disable"), run("auth enable")],
    "user": [
        run("user add KEYann:secret"),
        run("user list"),
        run("user get KEYann"),
        run("user passwd KEYann --interactive=false", stdin="other\n"),
        run("user delete KEYann"),
        run("user get KEYann"),
        run("user delete KEYann"),
    ],
    "role": [
        run("role add KEYrole"),
        run("role list"),
        run("role grant-permission KEYrole readwrite KEY --prefix"),
        run("role get KEYrole"),
        run("user add KEYbob:secret"),
        run("user grant-role KEYbob KEYrole"),
        run("user get KEYbob --detail"),
        run("user revoke-role KEYbob KEYrole"),
        run("role revoke-permission KEYrole KEY --prefix"),
        run("role delete KEYrole"),
        run("user delete KEYbob"),
        run("role get KEYrole"),
    ],
    "version, completion, help": [run("version"), run("completion bash"), run("help"), run("nonsense")],
}
