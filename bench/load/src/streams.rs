//! Many streams at a time: their times to first event, and whether each one completes.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::answer::Answer;
use crate::quantiles;
use crate::request::Target;

/// Streams of a batch. The next batch starts after the first events of this one.
const BATCH: usize = 200;

/// A stream fails after this much silence.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// Streams at a time
    #[arg(long)]
    streams: usize,
    /// Streams on each connection, one after the other
    #[arg(long, default_value_t = 1)]
    repeat: usize,
    /// Print when all have begun, wait for a line on standard input, then print again
    #[arg(long)]
    hold: bool,
}

/// The results of one connection.
#[derive(Default)]
struct Seen {
    /// Times from the request to the first event.
    first: Vec<Duration>,
    events: u64,
    whole: u64,
    /// The reason of an early end.
    error: Option<io::Error>,
}

/// Opens the streams, and prints the results.
#[tokio::main(flavor = "current_thread")]
pub(crate) async fn run(options: &Options) -> io::Result<()> {
    let request: Arc<[u8]> = options.target.request()?.into();
    let begin = Instant::now();
    let mut open = JoinSet::new();
    let (begun, mut first) = mpsc::channel(BATCH);
    for batch in (0..options.streams).step_by(BATCH) {
        let size = BATCH.min(options.streams - batch);
        let mut connections = Vec::with_capacity(size);
        for _ in 0..size {
            let stream = TcpStream::connect(options.target.address()).await?;
            stream.set_nodelay(true)?;
            connections.push(stream);
        }
        for stream in connections {
            open.spawn(connection(stream, Arc::clone(&request), options.repeat, begun.clone()));
        }
        for _ in 0..size {
            first.recv().await;
        }
    }
    if options.hold {
        take_ended(&mut open);
        println!("{}", json!({"open": open.len()}));
        BufReader::new(tokio::io::stdin()).read_line(&mut String::new()).await?;
        take_ended(&mut open);
        println!("{}", json!({"open": open.len()}));
        return Ok(());
    }
    let all = open.join_all().await;
    let elapsed = begin.elapsed().as_secs_f64();
    let error = all.iter().find_map(|seen| seen.error.as_ref()).map(ToString::to_string);
    println!(
        "{}",
        json!({
            "streams": options.streams * options.repeat,
            "whole": all.iter().map(|seen| seen.whole).sum::<u64>(),
            "chunks": all.iter().map(|seen| seen.events).sum::<u64>(),
            "seconds": elapsed,
            "error": error,
            "first": quantiles::of(all.into_iter().flat_map(|seen| seen.first).collect()),
        })
    );
    Ok(())
}

/// Removes ended streams from `open`.
fn take_ended(open: &mut JoinSet<Seen>) {
    while open.try_join_next().is_some() {}
}

/// Reads `repeat` streams in turn. Signals `begun` at the first event or an early end.
async fn connection(
    mut stream: TcpStream,
    request: Arc<[u8]>,
    repeat: usize,
    begun: mpsc::Sender<()>,
) -> Seen {
    let mut seen = Seen::default();
    for number in 0..repeat {
        let begun = (number == 0).then_some(&begun);
        if let Err(error) = one(&mut stream, &request, begun, &mut seen).await {
            seen.error = Some(error);
            break;
        }
    }
    if seen.first.is_empty() {
        // Without a receiver, nobody waits for the batch.
        let _ = begun.send(()).await;
    }
    seen
}

/// Reads one stream to its end.
async fn one(
    stream: &mut TcpStream,
    request: &[u8],
    begun: Option<&mpsc::Sender<()>>,
    seen: &mut Seen,
) -> io::Result<()> {
    let mut answer = Answer::default();
    let mut buffer = [0; 4096];
    let sent = Instant::now();
    stream.write_all(request).await?;
    loop {
        let length = timeout(PATIENCE, stream.read(&mut buffer)).await??;
        let before = answer.events;
        let done = if length == 0 { answer.end() } else { answer.feed(&buffer[..length])? };
        if before == 0 && answer.events > 0 {
            seen.first.push(sent.elapsed());
            if let Some(begun) = begun {
                let _ = begun.send(()).await;
            }
        }
        if done || length == 0 {
            break;
        }
    }
    seen.events += answer.events;
    if !answer.is_good() {
        return Err(io::Error::other(format!("status {}, ended early", answer.status)));
    }
    seen.whole += 1;
    Ok(())
}
