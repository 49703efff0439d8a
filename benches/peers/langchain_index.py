"""LangChain: `index()` with a record manager in SQLite and a store in memory."""

import sys

from langchain_classic.indexes import SQLRecordManager, index
from langchain_core.documents import Document
from langchain_core.vectorstores import InMemoryVectorStore
from langchain_openai import OpenAIEmbeddings
from langchain_text_splitters import RecursiveCharacterTextSplitter

import measured

folder, state, url = sys.argv[1:]
model = OpenAIEmbeddings(
    base_url=f"{url}/v1",
    api_key="none-is-asked-for",
    model="text-embedding-3-small",
    chunk_size=measured.BATCH,
    # Its own splitting by tokens would fetch a vocabulary.
    check_embedding_ctx_length=False,
)
store = InMemoryVectorStore(model)
records = SQLRecordManager("docs", db_url=f"sqlite:///{state}/records.db")
records.create_schema()
splitter = RecursiveCharacterTextSplitter(chunk_size=measured.CHUNK, chunk_overlap=measured.OVERLAP)


def run() -> int:
    documents = [Document(text, metadata={"source": name}) for name, text in measured.files(folder)]
    index(
        splitter.split_documents(documents),
        records,
        store,
        cleanup="full",
        source_id_key="source",
        batch_size=measured.BATCH * measured.CALLS,
        key_encoder="sha256",
    )
    return len(store.store)


measured.serve(run)
