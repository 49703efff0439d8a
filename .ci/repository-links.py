#!/usr/bin/env python3
"""A preprocessor of mdBook: links from pages to files outside of docs/ lead to the repository.

The repository's address is REPOSYNC_HOME (see deploy/release/home.sh). While it is not set, such a link becomes the name
of the file.
"""

import json
import os
import posixpath
import re
import subprocess
import sys

LINK = re.compile(r"\[([^\]\[]*)\]\(([^()\s]+)\)")


def home():
    here = os.path.dirname(os.path.abspath(__file__))
    script = os.path.join(here, "../deploy/release/home.sh")
    return subprocess.run(["sh", script], check=True, capture_output=True, text=True).stdout.strip()


def rewrite(text, page, address):
    """The text of a page below docs/, with links to files elsewhere replaced. Code blocks are left alone."""

    def replace(found):
        label, target = found.groups()
        if "://" in target or target.startswith(("#", "mailto:")):
            return found[0]
        path, _, anchor = target.partition("#")
        path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), path))
        if path.startswith("docs/"):
            return found[0]
        if not address:
            return label if "`" in label else f"{label} (`{path}`)"
        return f"[{label}]({address}/blob/main/{path}{'#' + anchor if anchor else ''})"

    parts = re.split(r"(^[ ]*```.*?^[ ]*```[ ]*$)", text, flags=re.MULTILINE | re.DOTALL)
    return "".join(part if index % 2 else LINK.sub(replace, part) for index, part in enumerate(parts))


def walk(items, address):
    for item in items:
        chapter = item.get("Chapter") if isinstance(item, dict) else None
        if chapter:
            if chapter.get("path"):
                chapter["content"] = rewrite(chapter["content"], chapter["path"], address)
            walk(chapter["sub_items"], address)


def main():
    if len(sys.argv) > 1 and sys.argv[1] == "supports":
        return
    _, book = json.load(sys.stdin)
    # mdBook 0.5 calls it `items`, 0.4 `sections`.
    walk(book.get("items", book.get("sections", [])), home())
    json.dump(book, sys.stdout)


if __name__ == "__main__":
    main()
