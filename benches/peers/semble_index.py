"""semble: an index in memory, with the model that RepoSync has built in, and no service."""

import sys

from semble import SembleIndex
from semble.types import ContentType

import measured

folder, _, model = sys.argv[1:]


def run() -> int:
    content = (ContentType.CODE, ContentType.DOCS, ContentType.CONFIG)
    return SembleIndex.from_path(folder, content=content, model_path=model).stats.total_chunks


measured.serve(run)
