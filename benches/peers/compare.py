#!/usr/bin/env python3
"""Measures RepoSync and other programs on one repository, against the same services, and prints their tables.

    python3 -m venv target/peers && target/peers/bin/pip install -r benches/peers/requirements.txt
    cargo bench --bench run --no-run
    target/peers/bin/python benches/peers/compare.py --repository CLONE --base REV --head REV \
        --bench target/release/deps/run-… --program target/release/reposync

Every program indexes the files of `base`, then those of `head`, in a copy of the clone. The first run is also made with
a service that takes 750 ms for each call of 100 texts, eight at once. What is counted: processor time and memory of the
program alone, without its start (which RepoSync's include), and the texts that the service was sent.
"""

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODEL = HERE.parent.parent / "engine/models/static-256"
PEERS = {
    "LangChain, `index()`": "langchain_index.py",
    "LlamaIndex, ingestion pipeline": "llama_index_pipeline.py",
    "CocoIndex": "cocoindex_app.py",
}
SERVICES = """
[stages.model]
kind = "openai"
base_url = "{url}/v1"
model = "text-embedding-3-small"
dimensions = 1536
batch_size = 100

[stages.index]
kind = "pinecone"
index = "docs"
api_key = "none-is-asked-for"
api_url = "{url}/pinecone"
"""
LOCAL = """
[stages.model]
kind = "local"

[stages.index]
kind = "sqlite"
"""
SENTENCE = '[stages.sentence]\nkind = "sentence"\nmax_chunk_size = 1000\nchunk_overlap = 200\n'
SYNTAX = f'[stages.markdown]\nkind = "markdown"\n\n[stages.code]\nkind = "code"\n\n{SENTENCE}'
OURS = {
    "RepoSync, `sentence`, Pinecone": (SENTENCE, ["sentence"], SERVICES),
    "RepoSync, `markdown`, `code`, `sentence`, Pinecone": (SYNTAX, ["markdown", "code", "sentence"], SERVICES),
}
OURS_LOCAL = {
    "RepoSync, `sentence`, built-in model, SQLite": (SENTENCE, ["sentence"], LOCAL),
    "RepoSync, `markdown`, `code`, `sentence`, built-in model, SQLite": (
        SYNTAX,
        ["markdown", "code", "sentence"],
        LOCAL,
    ),
}


class Services:
    """The services of `benches/run`, in a process that ends with this object."""

    def __init__(self, bench: Path, latency: int):
        command = [bench, "--serve", "--latency", str(latency)]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.url = self.process.stdout.readline().strip()

    def sent(self) -> dict:
        """Calls, texts and their bytes since the last call."""
        with urllib.request.urlopen(f"{self.url}/counts") as answer:
            return json.load(answer)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.communicate()


class Clone:
    """A copy of the repository in which commits are checked out."""

    def __init__(self, repository: Path, folder: Path):
        self.folder = folder
        subprocess.run(["git", "clone", "--quiet", "--no-checkout", repository, folder], check=True)

    def check_out(self, revision: str) -> None:
        command = ["git", "-C", self.folder, "-c", "advice.detachedHead=false", "checkout", "--quiet", "-B", "measured"]
        subprocess.run([*command, revision], check=True)


class Peer:
    """A script that indexes once for each line that it reads."""

    def __init__(self, script: str, clone: Clone, state: Path, last: str):
        state.mkdir(parents=True)
        command = [sys.executable, HERE / script, clone.folder, state, last]
        environment = {**os.environ, "OPENAI_API_KEY": "none-is-asked-for"}
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
        )

    def run(self) -> dict:
        self.process.stdin.write("\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.communicate()


class Ours:
    """RepoSync on the same folder, as a process of its own for each run."""

    def __init__(self, program: Path, stages: tuple[str, list[str], str], clone: Clone, state: Path, url: str):
        state.mkdir(parents=True)
        self.program, self.state = program.resolve(), state
        chunks, names, rest = stages
        pipeline = json.dumps(["files", *names, "model", "index"])
        text = f"""[engine]
concurrency = 8

[stages.files]
kind = "git"

{chunks}{rest.replace("{url}", url)}
[projects.docs]
pipeline = {pipeline}
repositories = [{json.dumps(str(clone.folder))}]
branch = "measured"
"""
        (state / "reposync.toml").write_text(text)

    def run(self) -> dict:
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
        # `wait4` gives the memory of this child alone.
        with open(self.state / "report.json", "w") as report:
            child = subprocess.Popen([self.program, "apply", "--json", "--quiet"], cwd=self.state, stdout=report)
            _, status, used = os.wait4(child.pid, 0)
        wall = time.monotonic() - began
        if status:
            report = (self.state / "report.json").read_text()
            raise SystemExit(f"RepoSync ended with {os.waitstatus_to_exitcode(status)}: {report[:1000]}")
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        report = json.loads((self.state / "report.json").read_text())
        chunks = sum(project["counts"]["chunks"] for project in report["projects"])
        return {"cpu": cpu, "wall": wall, "mib": used.ru_maxrss / 1024, "chunks": chunks}

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repository", type=Path, required=True, help="a clone")
    parser.add_argument("--base", required=True, help="the first commit")
    parser.add_argument("--head", required=True, help="a commit that changes about one file of a hundred")
    parser.add_argument("--bench", type=Path, required=True, help="the built `run` benchmark, for the services")
    parser.add_argument("--program", type=Path, required=True, help="the built program")
    parser.add_argument("--older", type=Path, help="an older program, measured too")
    parser.add_argument("--latency", type=int, default=750, help="of a call, in milliseconds; 0 leaves this run out")
    args = parser.parse_args()
    temporary = Path(tempfile.mkdtemp(prefix="peers-"))
    try:
        compare(args, temporary)
    finally:
        shutil.rmtree(temporary)


def compare(args: argparse.Namespace, temporary: Path) -> None:
    clone = Clone(args.repository.resolve(), temporary / "clone")
    programs = [("", args.program)] + ([(" (older)", args.older)] if args.older else [])

    def makers(ours: dict, peers: dict):
        for suffix, program in programs:
            for name, stages in ours.items():
                yield name + suffix, lambda state, url, p=program, s=stages: Ours(p, s, clone, state, url)
        for name, script in peers.items():
            yield name, lambda state, url, script=script: Peer(script, clone, state, url or str(MODEL))

    rows = []
    for name, make in makers(OURS, PEERS):
        row = {"name": name}
        with Services(args.bench, 0) as services, make(temporary / "state", services.url) as indexer:
            clone.check_out(args.base)
            row["first"] = indexer.run()
            row["sent"] = services.sent()
            clone.check_out(args.head)
            row["commit"] = indexer.run()
            row["commit_sent"] = services.sent()
        shutil.rmtree(temporary / "state")
        row["slow"] = row["first"]
        if args.latency:
            with Services(args.bench, args.latency) as services, make(temporary / "state", services.url) as indexer:
                clone.check_out(args.base)
                row["slow"] = indexer.run()
            shutil.rmtree(temporary / "state")
        rows.append(row)
        print(f"# {json.dumps(row)}", file=sys.stderr)
    print_table(rows)
    local = []
    for name, make in makers(OURS_LOCAL, {"semble": "semble_index.py"}):
        with make(temporary / "state", "") as indexer:
            clone.check_out(args.base)
            first = indexer.run()
        shutil.rmtree(temporary / "state")
        local.append({"name": name, "first": first})
        print(f"# {json.dumps(local[-1])}", file=sys.stderr)
    print_local(local)


def times(value: float, best: float) -> str:
    return f"{value / best:.1f}"


def print_table(rows: list[dict]) -> None:
    best = rows[0]
    print(
        "| program | texts | MB | CPU s | times | wall s, slow service | times "
        "| texts, commit | times | KB, commit | times | MiB |"
    )
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
    for row in rows:
        first, slow = row["first"], row["slow"]
        cells = [
            row["name"],
            f"{row['sent']['texts']:,}",
            f"{row['sent']['bytes'] / 1e6:.1f}",
            f"{first['cpu']:.2f}",
            times(first["cpu"], best["first"]["cpu"]),
            f"{slow['wall']:.1f}",
            times(slow["wall"], best["slow"]["wall"]),
            f"{row['commit_sent']['texts']:,}",
            times(row["commit_sent"]["texts"], best["commit_sent"]["texts"]),
            f"{row['commit_sent']['bytes'] / 1e3:.0f}",
            times(row["commit_sent"]["bytes"], best["commit_sent"]["bytes"]),
            f"{max(first['mib'], row['commit']['mib']):.0f}",
        ]
        print(f"| {' | '.join(cells)} |")


def print_local(rows: list[dict]) -> None:
    best = rows[0]["first"]
    print("\n| program, no service | chunks | CPU s, first | times | wall s | peak MiB |")
    print("|---|---:|---:|---:|---:|---:|")
    for row in rows:
        first = row["first"]
        cpu = times(first["cpu"], best["cpu"])
        cells = [row["name"], f"{first['chunks']:,}", f"{first['cpu']:.2f}", cpu, f"{first['wall']:.1f}", f"{first['mib']:.0f}"]
        print(f"| {' | '.join(cells)} |")


main()
