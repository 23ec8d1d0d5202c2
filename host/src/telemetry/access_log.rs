//! The access log: one JSON line a request, written by a thread of its own.
//!
//! A request hands its line to a bounded queue and goes on. When the disk is full or slow, lines are
//! dropped and counted; no request ever waits for one.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use prometheus::IntCounter;
use serde::Serialize;

use crate::config::LogOutput;

/// Lines that may wait for the writer.
const QUEUE: usize = 8192;

/// One line. Never a prompt, never a key.
#[derive(Debug, Clone, Serialize)]
pub struct Record {
    /// When the request arrived, RFC 3339 in UTC.
    pub time: String,
    /// The `x-request-id` of the answer.
    pub request_id: String,
    /// The path asked for, of those the gateway knows.
    pub path: &'static str,
    /// Canonical id of the model.
    pub model: String,
    /// The deployment that answered.
    pub deployment: Option<String>,
    /// Its side.
    pub side: Option<&'static str>,
    /// Every attempt, in order, and every deployment that had no place for the request.
    pub attempts: Vec<Attempt>,
    /// Status the client got; 499 where it went away before the answer.
    pub status: u16,
    /// How it ended: `ok`, `error`, `cancelled` (by the client), `broken` (after the first byte).
    pub outcome: &'static str,
    /// The code of the error that the client was told, where it was told one.
    pub error: Option<String>,
    /// Whether a stream was asked for.
    pub stream: bool,
    /// Milliseconds in line for a place at a deployment.
    pub queued_ms: f64,
    /// Milliseconds from arrival to the first byte of the answer.
    pub first_byte_ms: Option<f64>,
    /// Milliseconds from arrival to the end of the answer.
    pub total_ms: f64,
    /// Milliseconds that engines were at work on answers that nobody got, over all attempts.
    pub wasted_ms: f64,
    /// Bytes of the request's body.
    pub request_bytes: u64,
    /// Bytes of the answer's body.
    pub response_bytes: u64,
    /// Tokens, where the upstream reported them.
    pub usage: Option<Usage>,
}

/// One attempt of a request.
#[derive(Debug, Clone, Serialize)]
pub struct Attempt {
    /// Where.
    pub deployment: String,
    /// `ok`, why it failed, or why it was not made: `queue_full`, `queue_timeout`, `queue_dispersed`.
    pub outcome: String,
    /// Milliseconds until the answer began or the attempt failed; where none was made, in line.
    pub ms: f64,
}

/// Tokens as the upstream counted them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// Of the prompt.
    pub prompt_tokens: u64,
    /// Of the answer.
    pub completion_tokens: u64,
}

enum Message {
    Line(Box<Record>),
    Reopen,
    Flush(SyncSender<()>),
}

/// The handle of the writer, which ends when every handle is gone.
#[derive(Debug, Clone)]
pub struct AccessLog {
    queue: SyncSender<Message>,
    dropped: IntCounter,
}

impl AccessLog {
    /// Opens the output and starts the writer.
    ///
    /// # Errors
    /// If the file cannot be opened for appending.
    pub fn start(output: &LogOutput, dropped: IntCounter) -> io::Result<Self> {
        let (queue, inbox) = sync_channel(QUEUE);
        let (output, counter) = (Output::open(output.clone())?, dropped.clone());
        std::thread::Builder::new()
            .name("access-log".into())
            .spawn(move || write(&inbox, output, &counter))?;
        Ok(Self { queue, dropped })
    }

    /// Queues one line, or drops and counts it.
    pub fn write(&self, record: Record) {
        if self.queue.try_send(Message::Line(Box::new(record))).is_err() {
            self.dropped.inc();
        }
    }

    /// Opens the file anew, for a rotation that renamed it.
    pub fn reopen(&self) {
        // A full queue means a stuck disk; the next rotation asks again.
        let _ = self.queue.try_send(Message::Reopen);
    }

    /// Waits until every line queued so far is written. Blocks: for the end of a process.
    pub fn flush(&self) {
        let (done, wait) = sync_channel(1);
        if self.queue.try_send(Message::Flush(done)).is_ok() {
            // An error means the writer is gone: nothing is left to wait for.
            let _ = wait.recv_timeout(std::time::Duration::from_secs(2));
        }
    }
}

fn write(inbox: &Receiver<Message>, mut output: Output, dropped: &IntCounter) {
    while let Ok(message) = inbox.recv() {
        match message {
            Message::Line(record) => {
                if output.line(&record).is_err() {
                    dropped.inc();
                }
            }
            Message::Reopen => {
                if let Err(error) = output.reopen() {
                    tracing::error!(%error, "the access log could not be reopened");
                }
            }
            Message::Flush(done) => {
                // Whoever waited may have given up.
                let _ = done.send(());
            }
        }
    }
}

struct Output {
    to: LogOutput,
    file: Option<File>,
}

impl Output {
    fn open(to: LogOutput) -> io::Result<Self> {
        let file = match &to {
            LogOutput::Stdout => None,
            LogOutput::File(path) => Some(OpenOptions::new().append(true).create(true).open(path)?),
        };
        Ok(Self { to, file })
    }

    fn reopen(&mut self) -> io::Result<()> {
        *self = Self::open(self.to.clone())?;
        Ok(())
    }

    /// One write a line, so that lines of several processes do not mix.
    fn line(&mut self, record: &Record) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        match &mut self.file {
            Some(file) => file.write_all(&line),
            None => io::stdout().write_all(&line),
        }
    }
}
