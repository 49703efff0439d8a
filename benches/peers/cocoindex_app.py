"""CocoIndex: chunks are embedded once for each text, rows are kept in SQLite."""

import asyncio
import base64
import os
import sqlite3
import sys
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass

folder, state, url = sys.argv[1:]
os.environ["COCOINDEX_DB"] = f"{state}/cocoindex"
os.environ["COCOINDEX_DISABLE_USAGE_TRACKING"] = "1"

import cocoindex as coco
from cocoindex.connectors import sqlite
from cocoindex.ops.text import RecursiveSplitter, detect_code_language
from openai import AsyncOpenAI

import measured

DATABASE = coco.ContextKey[sqlite.ManagedConnection]("database")
client = AsyncOpenAI(base_url=f"{url}/v1", api_key="none-is-asked-for")
splitter = RecursiveSplitter()


@dataclass
class Row:
    id: str
    path: str
    text: str
    vector: bytes


@coco.lifespan
async def lifespan(builder: coco.EnvironmentBuilder) -> AsyncIterator[None]:
    builder.provide(DATABASE, sqlite.connect(f"{state}/index.db"))
    yield


@coco.fn.as_async(batching=True, max_batch_size=measured.BATCH, memo=True)
async def embed(texts: list[str]) -> list[bytes]:
    answer = await client.embeddings.create(
        model="text-embedding-3-small", input=texts, encoding_format="base64"
    )
    return [base64.b64decode(item.embedding) for item in answer.data]


@coco.fn(memo=True)
async def index_file(file: tuple[str, str], table: sqlite.TableTarget[Row]) -> None:
    path, text = file
    chunks = splitter.split(
        text,
        chunk_size=measured.CHUNK,
        chunk_overlap=measured.OVERLAP,
        language=detect_code_language(filename=path),
    )
    vectors = await asyncio.gather(*(embed(chunk.text) for chunk in chunks))
    for nth, (chunk, vector) in enumerate(zip(chunks, vectors, strict=True)):
        table.declare_row(row=Row(f"{path}:{nth}", path, chunk.text, vector))


@coco.fn
async def main() -> None:
    schema = await sqlite.TableSchema.from_class(Row, primary_key=["id"])
    table = await sqlite.mount_table_target(DATABASE, "chunks", schema)
    await coco.mount_each(index_file, [(path, (path, text)) for path, text in measured.files(folder)], table)


app = coco.App(coco.AppConfig(name="docs"), main)


def run() -> int:
    app.update_blocking()
    with closing(sqlite3.connect(f"{state}/index.db")) as database:
        return database.execute("SELECT count(*) FROM chunks").fetchone()[0]


measured.serve(run)
