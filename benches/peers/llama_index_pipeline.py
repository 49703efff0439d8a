"""LlamaIndex: an ingestion pipeline with a document store and a vector store in memory."""

import sys

from llama_index.core import Document
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.embeddings.openai_like import OpenAILikeEmbedding

import measured

folder, _, url = sys.argv[1:]
store = SimpleVectorStore()
# The splitter counts in tokens, whose vocabulary would be fetched; characters are what the others count in.
splitter = SentenceSplitter(chunk_size=measured.CHUNK, chunk_overlap=measured.OVERLAP, tokenizer=list)
model = OpenAILikeEmbedding(
    model_name="text-embedding-3-small",
    api_base=f"{url}/v1",
    api_key="none-is-asked-for",
    embed_batch_size=measured.BATCH,
)
pipeline = IngestionPipeline(
    transformations=[splitter, model],
    docstore=SimpleDocumentStore(),
    docstore_strategy=DocstoreStrategy.UPSERTS_AND_DELETE,
    vector_store=store,
)


def run() -> int:
    pipeline.run(documents=[Document(text=text, id_=name) for name, text in measured.files(folder)])
    return len(store.data.embedding_dict)


measured.serve(run)
