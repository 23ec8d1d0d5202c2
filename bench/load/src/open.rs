//! Open-loop load: requests are due at fixed times, whatever happened to earlier ones. Latency
//! counts from the due time, so a stall also counts for the requests that were due meanwhile.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use serde_json::json;

use crate::answer::Answer;
use crate::quantiles;
use crate::request::Target;

/// An answer fails after this much silence.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Args)]
pub(crate) struct Options {
    #[command(flatten)]
    target: Target,
    /// Requests a second
    #[arg(long)]
    rate: u32,
    /// For how many seconds
    #[arg(long)]
    seconds: u32,
    /// Connections: the most requests in flight
    #[arg(long, default_value_t = 64)]
    connections: u32,
}

/// The results of one connection.
#[derive(Default)]
struct Seen {
    /// Times from due to the first event, or to the end of an answer without events.
    took: Vec<Duration>,
    failed: u64,
}

/// Sends the requests, and prints the results.
///
/// It uses blocking threads, because tokio's timers tick in milliseconds and the figures are tenths
/// of that.
pub(crate) fn run(options: &Options) -> io::Result<()> {
    let request = options.target.request()?;
    let requests = options.rate * options.seconds;
    let next = AtomicU32::new(0);
    // Time to make all connections and get an answer on each.
    let start = Instant::now() + Duration::from_secs(1);
    let all: Vec<Seen> = thread::scope(|scope| {
        let asking: Vec<_> = (0..options.connections)
            .map(|_| {
                scope.spawn(|| {
                    let mut connection = Connection { stream: None, options, request: &request };
                    // The first answer includes connecting, so it does not count.
                    let _ = connection.ask(start);
                    let mut seen = Seen::default();
                    loop {
                        let number = next.fetch_add(1, Relaxed);
                        if number >= requests {
                            return seen;
                        }
                        let due = start + Duration::from_secs(1) * number / options.rate;
                        thread::sleep(due.saturating_duration_since(Instant::now()));
                        match connection.ask(due) {
                            Ok(took) => seen.took.push(took),
                            Err(_) => seen.failed += 1,
                        }
                    }
                })
            })
            .collect();
        asking.into_iter().filter_map(|thread| thread.join().ok()).collect()
    });
    let elapsed = start.elapsed().as_secs_f64();
    let failed: u64 = all.iter().map(|seen| seen.failed).sum();
    let took: Vec<Duration> = all.into_iter().flat_map(|seen| seen.took).collect();
    println!(
        "{}",
        json!({
            "requests": requests, "failed": failed, "seconds": elapsed, "rate": took.len() as f64 / elapsed,
            "latency": quantiles::of(took),
        })
    );
    Ok(())
}

/// A connection that reconnects after a close.
struct Connection<'a> {
    stream: Option<TcpStream>,
    options: &'a Options,
    request: &'a [u8],
}

impl Connection<'_> {
    /// Sends the request and reads the answer. Returns the time from `due` to the first event or
    /// the end.
    fn ask(&mut self, due: Instant) -> io::Result<Duration> {
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => self.connect()?,
        };
        stream.write_all(self.request)?;
        let mut answer = Answer::default();
        let mut first = None;
        let mut buffer = [0; 16 * 1024];
        loop {
            let length = stream.read(&mut buffer)?;
            let done = if length == 0 { answer.end() } else { answer.feed(&buffer[..length])? };
            if answer.events > 0 {
                first.get_or_insert_with(|| due.elapsed());
            }
            if done {
                break;
            }
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        let took = first.unwrap_or_else(|| due.elapsed());
        if !answer.is_good() {
            return Err(io::Error::other(format!("status {}", answer.status)));
        }
        if !answer.closes {
            self.stream = Some(stream);
        }
        Ok(took)
    }

    fn connect(&self) -> io::Result<TcpStream> {
        let stream = TcpStream::connect(self.options.target.address())?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }
}
