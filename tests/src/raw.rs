//! A scripted upstream on a bare socket: it sends exactly the bytes of its script, at the moments
//! of its script, and keeps the requests it got.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::DEADLINE;

/// One request as it came.
#[derive(Debug, Clone, Default)]
pub struct Received {
    /// `POST`.
    pub method: String,
    /// `/v1/chat/completions`, with its query.
    pub path: String,
    /// In their order, names in lower case.
    pub headers: Vec<(String, String)>,
    /// Byte for byte.
    pub body: Vec<u8>,
}

impl Received {
    /// The value of a header.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// What an upstream does next.
#[derive(Debug, Clone)]
pub enum Step {
    /// Sends these bytes.
    Send(Vec<u8>),
    /// Waits.
    Pause(Duration),
    /// Waits until the gate is open.
    Wait(Gate),
    /// Waits until the gateway closes the connection.
    Hang,
    /// Closes the connection as an orderly end.
    Close,
    /// Closes the connection with a reset.
    Reset,
}

impl Step {
    /// Sends this text.
    #[must_use]
    pub fn send(text: &str) -> Self {
        Self::Send(text.as_bytes().to_vec())
    }

    /// Sends the head of a streamed answer.
    #[must_use]
    pub fn stream() -> Self {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n";
        Self::send(&format!("{head}transfer-encoding: chunked\r\n\r\n"))
    }

    /// Sends one chunk of a streamed answer; an empty one is its end.
    #[must_use]
    pub fn chunk(data: impl AsRef<[u8]>) -> Self {
        let data = data.as_ref();
        Self::Send([format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat())
    }
}

/// The connection a request came on, as its script sees it.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    state: Arc<State>,
    open: bool,
    served: usize,
}

impl Wire {
    /// Where the upstream listens.
    ///
    /// # Panics
    /// If the connection was never one.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.stream.local_addr().expect("connected")
    }

    /// How many requests came on this connection before the one at hand.
    #[must_use]
    pub fn served(&self) -> usize {
        self.served
    }

    /// Sends bytes. One that cannot be sent means that the gateway went away, which `hang` counts.
    pub fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The script goes on: the test checks what the gateway does next.
        let _ = self.stream.write_all(bytes.as_ref());
    }

    /// Sends a piece over and over, until `most` bytes were taken or the gateway goes away; `taken`
    /// counts them meanwhile.
    pub fn flood(&mut self, piece: &[u8], most: u64, taken: &AtomicU64) {
        let mut left = most;
        while left > 0 {
            let now = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            if self.stream.write_all(&piece[..now]).is_err() {
                return;
            }
            left -= now as u64;
            taken.fetch_add(now as u64, SeqCst);
        }
    }

    /// Sends a whole answer of JSON.
    pub fn answer(&mut self, status: u16, body: &str) {
        let length = body.len();
        self.send(format!(
            "HTTP/1.1 {status} X\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\n\r\n{body}"
        ));
    }

    /// Waits until the gateway closes the connection, and counts that.
    pub fn hang(&mut self) {
        let mut rest = [0; 1024];
        while matches!(self.stream.read(&mut rest), Ok(1..)) {}
        self.state.hung_up.fetch_add(1, SeqCst);
        self.open = false;
    }

    /// Closes the connection as an orderly end.
    pub fn close(&mut self) {
        self.open = false;
    }

    /// Closes the connection with a reset.
    pub fn reset(&mut self) {
        // Closing with a linger of 0 sends a reset.
        rustix::net::sockopt::set_socket_linger(&self.stream, Some(Duration::ZERO)).ok();
        self.open = false;
    }

    /// Does one step.
    pub fn step(&mut self, step: &Step) {
        match step {
            Step::Send(bytes) => self.send(bytes),
            Step::Pause(time) => std::thread::sleep(*time),
            Step::Wait(gate) => gate.wait(),
            Step::Hang => self.hang(),
            Step::Close => self.close(),
            Step::Reset => self.reset(),
        }
    }
}

#[derive(Debug, Default)]
struct State {
    received: Mutex<Vec<Received>>,
    connections: AtomicUsize,
    hung_up: AtomicUsize,
    ended: AtomicBool,
}

/// A scripted upstream. Stops listening on drop.
#[derive(Debug)]
pub struct Raw {
    address: SocketAddr,
    state: Arc<State>,
}

impl Raw {
    /// An upstream that answers each request by calling `script`. Requests of one connection come
    /// one after the other; the connection stays open unless the script closes it.
    ///
    /// # Panics
    /// If no port is free.
    #[must_use]
    pub fn start(script: impl Fn(&Received, &mut Wire) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("a free port");
        let address = listener.local_addr().expect("bound");
        let state = Arc::<State>::default();
        let (shared, script) = (Arc::clone(&state), Arc::new(script));
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if shared.ended.load(SeqCst) {
                    return;
                }
                let Ok(stream) = stream else { continue };
                shared.connections.fetch_add(1, SeqCst);
                let (state, script) = (Arc::clone(&shared), Arc::clone(&script));
                std::thread::spawn(move || {
                    // The gateway may close a connection at any time.
                    let _ = converse(stream, &state, &*script);
                });
            }
        });
        Self { address, state }
    }

    /// An upstream that answers every request by the same steps.
    #[must_use]
    pub fn steps(steps: Vec<Step>) -> Self {
        Self::start(move |_, wire| steps.iter().for_each(|step| wire.step(step)))
    }

    /// An upstream that answers every request with this status and body of JSON.
    #[must_use]
    pub fn answering(status: u16, body: &str) -> Self {
        let body = body.to_owned();
        Self::start(move |_, wire| wire.answer(status, &body))
    }

    /// `http://127.0.0.1:PORT`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The requests so far, in the order they came.
    #[must_use]
    pub fn received(&self) -> Vec<Received> {
        self.state.received.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The last request.
    ///
    /// # Panics
    /// If none came.
    #[must_use]
    pub fn last(&self) -> Received {
        self.received().pop().expect("a request")
    }

    /// Connections so far.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.state.connections.load(SeqCst)
    }

    /// How often the gateway closed a connection on which the script hung.
    #[must_use]
    pub fn hung_up(&self) -> usize {
        self.state.hung_up.load(SeqCst)
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        self.state.ended.store(true, SeqCst);
        // Wakes the thread that accepts, which then ends.
        TcpStream::connect(self.address).ok();
    }
}

fn converse(
    stream: TcpStream,
    state: &Arc<State>,
    script: &(impl Fn(&Received, &mut Wire) + ?Sized),
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut wire = Wire { stream, state: Arc::clone(state), open: true, served: 0 };
    while wire.open {
        let Some(received) = read(&mut reader)? else { return Ok(()) };
        state.received.lock().unwrap_or_else(PoisonError::into_inner).push(received.clone());
        script(&received, &mut wire);
        wire.served += 1;
    }
    Ok(())
}

/// One request; None at the end of the connection. The gateway sends bodies with a length.
fn read(reader: &mut impl BufRead) -> io::Result<Option<Received>> {
    let Some(line) = read_line(reader)? else { return Ok(None) };
    let mut words = line.split_whitespace().map(str::to_owned);
    let mut received = Received {
        method: words.next().unwrap_or_default(),
        path: words.next().unwrap_or_default(),
        ..Received::default()
    };
    while let Some((name, value)) =
        read_line(reader)?.unwrap_or_default().trim_end().split_once(':')
    {
        received.headers.push((name.to_ascii_lowercase(), value.trim().to_owned()));
    }
    let length = received.header("content-length").and_then(|length| length.parse().ok());
    received.body = vec![0; length.unwrap_or(0)];
    reader.read_exact(&mut received.body)?;
    Ok(Some(received))
}

/// One line; None at the end of the connection. Headers may hold bytes that are no text.
fn read_line(reader: &mut impl BufRead) -> io::Result<Option<String>> {
    let mut line = Vec::new();
    let read = reader.read_until(b'\n', &mut line)?;
    Ok((read > 0).then(|| String::from_utf8_lossy(&line).into_owned()))
}

/// A gate at which a script waits until the test opens it.
#[derive(Debug, Clone, Default)]
pub struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    /// Lets through whoever waits, now and later.
    pub fn open(&self) {
        *self.0.0.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.0.1.notify_all();
    }

    /// Waits until it is open, at most [`DEADLINE`].
    pub fn wait(&self) {
        let open = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        // A gate that stays shut fails the test elsewhere.
        let _ = self.0.1.wait_timeout_while(open, DEADLINE, |open| !*open);
    }
}
