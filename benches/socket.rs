//! Sending vectors to Pinecone, compared with a lower bound: the same bytes written to a raw socket,
//! and the answers read. One call at a time, against a server that counts bytes and discards them.
//!
//! `cargo bench --bench socket`

#[path = "store/records.rs"]
mod records;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};

use divan::Bencher;
use divan::counter::BytesCount;
use reposync::model::Record;
use reposync::store::VectorStore;
use reposync::store::pinecone::PineconeStore;
use tokio::runtime::Runtime;

use records::{pinecone, records};

fn main() {
    divan::main();
}

const RECORDS: usize = 1_000;
const DIMENSION: usize = 1_536;
/// The answer to every request: valid as a description of the index and as the result of an upsert.
const ANSWER: &str =
    r#"{"dimension":1536,"metric":"cosine","vectorType":"dense","namespaces":{},"upsertedCount":1}"#;

/// Starts a server in this process; returns its address.
fn server() -> String {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Reads requests and answers each, until the connection ends.
fn serve(mut stream: TcpStream) -> Option<()> {
    // Without TCP_NODELAY small answers wait 40 ms for the peer's delayed acknowledgement.
    stream.set_nodelay(true).ok()?;
    let mut reader = BufReader::with_capacity(1 << 16, stream.try_clone().ok()?);
    let mut sink = vec![0; 1 << 16];
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let line = line.trim_end();
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':')
                && name.eq_ignore_ascii_case("content-length")
            {
                length = value.trim().parse().ok()?;
            }
        }
        while length > 0 {
            let most = sink.len().min(length);
            match reader.read(&mut sink[..most]).ok()? {
                0 => return None,
                read => length -= read,
            }
        }
        let length = ANSWER.len();
        let head =
            format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(&[head.as_bytes(), ANSWER.as_bytes()].concat()).ok()?;
    }
}

/// Bytes of the bodies, so that both results are MB/s of the same bytes.
fn bodies(store: &PineconeStore, records: &[Record]) -> Vec<bytes::Bytes> {
    store.upsert_bodies("n", records).expect("bodies")
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn upsert_1000(bencher: Bencher) {
    let runtime = Runtime::new().expect("a runtime");
    let store = pinecone(&format!("http://{}", server()), 1);
    let records = records(RECORDS, DIMENSION);
    let bytes: usize = bodies(&store, &records).iter().map(bytes::Bytes::len).sum();
    // Connect and describe the index before the measurement starts.
    runtime.block_on(store.upsert("n", &records)).expect("written");
    bencher
        .counter(BytesCount::new(bytes))
        .bench_local(|| runtime.block_on(store.upsert("n", &records)).expect("written"));
}

#[divan::bench(sample_count = 10, sample_size = 1)]
fn bound_raw_socket(bencher: Bencher) {
    let address = server();
    let bodies = bodies(&pinecone(&format!("http://{address}"), 1), &records(RECORDS, DIMENSION));
    let bytes: usize = bodies.iter().map(bytes::Bytes::len).sum();
    let mut stream = TcpStream::connect(&address).expect("the server");
    stream.set_nodelay(true).expect("a socket");
    let mut answer = vec![0; 1 << 12];
    bencher.counter(BytesCount::new(bytes)).bench_local(|| {
        for body in &bodies {
            write!(stream, "POST /vectors/upsert HTTP/1.1\r\ncontent-length: {}\r\n\r\n", body.len())
                .expect("sent");
            stream.write_all(body).expect("sent");
            let mut got = 0;
            while !answer[..got].ends_with(ANSWER.as_bytes()) {
                got += stream.read(&mut answer[got..]).expect("an answer");
            }
        }
    });
}
