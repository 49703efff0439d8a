"""What the scripts of all peers share: which files are indexed, and how a phase is measured.

A script indexes the folder once for each line of its standard input, in one process, and answers with a line of
JSON. So what a peer keeps in memory stays between commits, and its imports are not counted.
"""

import json
import os
import resource
import subprocess
import sys
import time

CHUNK, OVERLAP = 1000, 200
MOST_BYTES = 1 << 20
BATCH, CALLS = 100, 8


def files(folder: str) -> list[tuple[str, str]]:
    """Path and text of every tracked file that RepoSync indexes: UTF-8, of at most 1 MiB."""
    names = subprocess.run(["git", "-C", folder, "ls-files", "-z"], check=True, capture_output=True).stdout
    found = []
    for name in sorted(names.decode().split("\0")):
        path = os.path.join(folder, name)
        if not name or os.path.islink(path) or not os.path.isfile(path) or os.path.getsize(path) > MOST_BYTES:
            continue
        with open(path, "rb") as file:
            content = file.read()
        if b"\0" in content:
            continue
        try:
            found.append((name, content.decode()))
        except UnicodeDecodeError:
            continue
    return found


def serve(index) -> None:
    """Calls `index`, which returns the number of chunks that it holds, for each line of the standard input."""
    for _ in sys.stdin:
        before, began = resource.getrusage(resource.RUSAGE_SELF), time.monotonic()
        chunks = index()
        wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_SELF)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        peak = after.ru_maxrss / 1024
        print(json.dumps({"cpu": cpu, "wall": wall, "mib": peak, "chunks": chunks}), flush=True)
