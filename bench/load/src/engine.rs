//! Engines that cost next to nothing: answers are prepared at the start, and sent in one write.
//!
//! A chat request gets 600 bytes of JSON, or a stream if it asks for one. Any other request gets a
//! short answer that does for `/v1/models` and `/health`. `POST /bench/CHUNKS/GAP_MS` sets the
//! chunks of later streams, at all listeners.

use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener as Listener};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;
use std::time::Duration;

use clap::Args;
use memchr::memmem;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, sleep_until};

/// Bytes in the body of a plain answer.
const ANSWER_BYTES: usize = 600;

/// Serving threads. Each has every second listener.
const THREADS: usize = 2;

#[derive(Args)]
pub(crate) struct Options {
    /// Number of engines, each on a port of its own
    #[arg(long, default_value_t = 2)]
    listeners: usize,
}

/// The shape of streams.
struct Pace {
    chunks: AtomicU64,
    /// Milliseconds between two chunks. 0: no pause.
    gap: AtomicU64,
}

static PACE: Pace = Pace { chunks: AtomicU64::new(50), gap: AtomicU64::new(10) };

/// Serves until the process ends.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    let mut shares: Vec<Vec<Listener>> = (0..THREADS).map(|_| Vec::new()).collect();
    let mut ports = Vec::new();
    for number in 0..options.listeners {
        let listener = Listener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        ports.push(listener.local_addr()?.port());
        shares[number % THREADS].push(listener);
    }
    let threads: Vec<_> = shares.into_iter().map(|share| thread::spawn(|| serve(share))).collect();
    println!("{}", json!({ "ports": ports }));
    io::stdout().flush()?;
    for thread in threads {
        thread.join().map_err(|_| io::Error::other("an engine panicked"))??;
    }
    Ok(())
}

/// Serves on all of `listeners`, on this thread.
#[tokio::main(flavor = "current_thread")]
async fn serve(listeners: Vec<Listener>) -> io::Result<()> {
    let bytes: &'static Bytes = Box::leak(Box::new(Bytes::new()));
    let mut accepting = JoinSet::new();
    for listener in listeners {
        let listener = TcpListener::from_std(listener)?;
        accepting.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                // A failed connection is the client's to report.
                tokio::spawn(async move { connection(stream, bytes).await.unwrap_or_default() });
            }
        });
    }
    while let Some(ended) = accepting.join_next().await {
        let result: io::Result<()> = ended?;
        result?;
    }
    Ok(())
}

/// All prepared answers.
struct Bytes {
    answer: Vec<u8>,
    other: Vec<u8>,
    stream_head: &'static [u8],
    chunk: Vec<u8>,
    last_chunk: Vec<u8>,
    stream_end: Vec<u8>,
}

impl Bytes {
    fn new() -> Self {
        let event = |finish: Option<&str>| {
            let event = json!({
                "id": "chatcmpl-0123456789abcdef", "object": "chat.completion.chunk", "created": 1_700_000_000,
                "model": "bench-model",
                "choices": [{"index": 0, "delta": {"role": "assistant", "content": "token "}, "finish_reason": finish}],
            });
            chunk(&format!("data: {event}\n\n"))
        };
        let other = json!({
            "object": "list", "data": [{"id": "bench-model", "object": "model"}],
            "status": "ok", "model_path": "bench-model", "served_model_name": "bench-model", "is_generation": true,
        });
        Self {
            answer: plain(&completion()),
            other: plain(&other.to_string()),
            stream_head:
                b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncache-control: no-cache\r\n\
                transfer-encoding: chunked\r\n\r\n",
            chunk: event(None),
            last_chunk: event(Some("stop")),
            stream_end: [&chunk("data: [DONE]\n\n")[..], b"0\r\n\r\n"].concat(),
        }
    }
}

/// A chat completion of [`ANSWER_BYTES`].
fn completion() -> String {
    let of = |content: &str| {
        json!({
            "id": "chatcmpl-0123456789abcdef", "object": "chat.completion", "created": 1_700_000_000,
            "model": "bench-model",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": content}, "finish_reason": "stop"}],
            "usage": {"prompt_tokens": 200, "completion_tokens": 80, "total_tokens": 280},
        })
        .to_string()
    };
    of(&"x".repeat(ANSWER_BYTES - of("").len()))
}

fn plain(body: &str) -> Vec<u8> {
    format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
    .into_bytes()
}

fn chunk(data: &str) -> Vec<u8> {
    format!("{:x}\r\n{data}\r\n", data.len()).into_bytes()
}

/// Answers the requests of a connection in turn.
async fn connection(mut stream: TcpStream, bytes: &Bytes) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(4096);
    loop {
        let (length, asked) = loop {
            if let Some(request) = parse(&buffer)? {
                break request;
            }
            if stream.read_buf(&mut buffer).await? == 0 {
                return Ok(());
            }
        };
        buffer.drain(..length);
        match asked {
            Asked::Answer => stream.write_all(&bytes.answer).await?,
            Asked::Stream => answer_stream(&mut stream, bytes).await?,
            Asked::Pace { chunks, gap } => {
                PACE.chunks.store(chunks, Relaxed);
                PACE.gap.store(gap, Relaxed);
                stream.write_all(&bytes.other).await?;
            }
            Asked::Other => stream.write_all(&bytes.other).await?,
        }
    }
}

/// Writes each chunk by itself, as engines do, so that a proxy pays for each of them.
async fn answer_stream(stream: &mut TcpStream, bytes: &Bytes) -> io::Result<()> {
    let (chunks, gap) = (PACE.chunks.load(Relaxed), Duration::from_millis(PACE.gap.load(Relaxed)));
    stream.write_all(bytes.stream_head).await?;
    let mut due = Instant::now();
    for left in (0..chunks).rev() {
        stream.write_all(if left == 0 { &bytes.last_chunk } else { &bytes.chunk }).await?;
        if gap.is_zero() {
            // Yields after each chunk: engines write one token of every stream in turn.
            yield_now().await;
        } else if left > 0 {
            due += gap;
            sleep_until(due).await;
        }
    }
    stream.write_all(&bytes.stream_end).await
}

enum Asked {
    Answer,
    Stream,
    Pace { chunks: u64, gap: u64 },
    Other,
}

/// The first complete request in `buffer`: its length in bytes, and its kind.
fn parse(buffer: &[u8]) -> io::Result<Option<(usize, Asked)>> {
    let invalid = |what: &str| io::Error::new(io::ErrorKind::InvalidData, what.to_owned());
    let mut headers = [httparse::EMPTY_HEADER; 64];
    let mut request = httparse::Request::new(&mut headers);
    let parsed = request.parse(buffer).map_err(|error| invalid(&error.to_string()))?;
    let httparse::Status::Complete(head) = parsed else { return Ok(None) };

    let header =
        |name: &str| request.headers.iter().find(|header| header.name.eq_ignore_ascii_case(name));
    let length = if header("transfer-encoding").is_some() {
        // A search is enough: inside a JSON string these bytes would be escaped.
        match memmem::find(&buffer[head..], b"\r\n0\r\n\r\n") {
            Some(end) => end + 7,
            None => return Ok(None),
        }
    } else {
        let length = header("content-length").and_then(|header| str::from_utf8(header.value).ok());
        length.map_or(Ok(0), str::parse).map_err(|_| invalid("content-length"))?
    };
    let Some(body) = buffer.get(head..head + length) else { return Ok(None) };

    let path = request.path.unwrap_or_default();
    let asked = if let Some(pace) = path.strip_prefix("/bench/") {
        let numbers = pace
            .split_once('/')
            .and_then(|(chunks, gap)| Some((chunks.parse().ok()?, gap.parse().ok()?)));
        let (chunks, gap) = numbers.ok_or_else(|| invalid("pace"))?;
        Asked::Pace { chunks, gap }
    } else if request.method != Some("POST") {
        Asked::Other
    } else if [&b"\"stream\":true"[..], b"\"stream\": true"]
        .iter()
        .any(|mark| memmem::find(body, mark).is_some())
    {
        Asked::Stream
    } else {
        Asked::Answer
    };
    Ok(Some((head + length, asked)))
}
