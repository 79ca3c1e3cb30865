"""What is written to the log, and what never is."""

from __future__ import annotations

import json
import subprocess
import sys

PROGRAM = """
import logging
from rstore_api.logs import configure, get_logger
log = get_logger("test")
configure("info", replica="orders-us-east-0", region="us-east")
def fail(value):
    raise ValueError("no")
try:
    fail("top" + "secret")
except ValueError:
    log.exception("failed", key="k")
log.debug("quiet")
logging.getLogger("rstore_replica.raft").info("state_changed term=%d", 3)
logging.getLogger("another.library").info("chatter")
logging.getLogger("another.library").warning("trouble")
"""


def test_lines_are_json_with_constant_fields_and_without_local_variables() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=30, check=True)
    lines = [json.loads(line) for line in ended.stderr.splitlines()]
    assert [line["event"] for line in lines] == ["failed", "state_changed term=3", "trouble"]
    assert all(line["replica"] == "orders-us-east-0" and line["region"] == "us-east" for line in lines)
    assert lines[0]["logger"] == "test"
    assert lines[0]["exception"][0]["exc_type"] == "ValueError"
    assert lines[2]["logger"] == "another.library"
    assert "topsecret" not in ended.stderr
