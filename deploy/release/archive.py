#!/usr/bin/env python3
"""Packs a built program into a release archive, the same bytes for the same files: names in order, no owners, no times.

  deploy/release/archive.py --program FILE --target TRIPLE --components DIR --out DIR

Writes `reposync-VERSION-TRIPLE.tar.gz` and the folder that it holds, which the Debian package is made of. Runs the program
to get its version, manual pages and completions, so it must run on this machine.
"""

import argparse
import gzip
import os
import pathlib
import shutil
import subprocess
import tarfile

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Where shells look for completions, below a prefix such as /usr or ~/.local.
COMPLETIONS = {
    "bash": "share/bash-completion/completions/reposync",
    "zsh": "share/zsh/site-functions/_reposync",
    "fish": "share/fish/vendor_completions.d/reposync.fish",
}
# Too large to be part of the program.
COMPONENTS = ["restructuredtext.wasm"]
DOCUMENTS = ["README.md", "CHANGELOG.md", "SECURITY.md", "LICENSE-APACHE", "LICENSE-MIT"]


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def stage(program, components, tree):
    """Fills a folder with what lies below the prefix of an installation."""

    def run(*words):
        return subprocess.run([program, *words], check=True, capture_output=True, cwd=tree).stdout

    write(tree / "bin/reposync", program.read_bytes())
    (tree / "bin/reposync").chmod(0o755)
    run("man", tree / "share/man/man1")
    for shell, path in COMPLETIONS.items():
        write(tree / path, run("completions", shell))
    for name in COMPONENTS:
        write(tree / "share/reposync/plugins" / name, (components / name).read_bytes())
    for name in DOCUMENTS:
        write(tree / "share/doc/reposync" / name, (ROOT / name).read_bytes())
    # The unit of a package finds the program in /usr/bin.
    unit = (ROOT / "deploy/reposync.service").read_text().replace("/usr/local/bin/", "/usr/bin/")
    write(tree / "share/doc/reposync/reposync.service", unit.encode())
    # What an uninstallation removes; the list names itself.
    listed = "share/doc/reposync/files"
    files = sorted([listed, *(str(path.relative_to(tree)) for path in tree.rglob("*") if path.is_file())])
    write(tree / listed, "".join(f"{name}\n" for name in files).encode())


def pack(tree, archive):
    with open(archive, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as packed:
        with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as tar:
            for path in [tree, *sorted(tree.rglob("*"))]:
                entry = tar.gettarinfo(path, str(path.relative_to(tree.parent)))
                entry.uid = entry.gid = entry.mtime = 0
                entry.uname = entry.gname = ""
                entry.mode = 0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644
                if path.is_file():
                    with open(path, "rb") as content:
                        tar.addfile(entry, content)
                else:
                    tar.addfile(entry)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ["program", "components", "out"]:
        parser.add_argument(f"--{name}", type=pathlib.Path, required=True)
    parser.add_argument("--target", required=True)
    args = parser.parse_args()
    program = args.program.resolve()
    printed = subprocess.run([program, "--version"], check=True, capture_output=True, text=True).stdout
    name = f"reposync-{printed.split()[1]}-{args.target}"
    tree = args.out / name
    shutil.rmtree(tree, ignore_errors=True)
    tree.mkdir(parents=True)
    stage(program, args.components.resolve(), tree.resolve())
    pack(tree, args.out / f"{name}.tar.gz")
    print(args.out / f"{name}.tar.gz")


if __name__ == "__main__":
    main()
