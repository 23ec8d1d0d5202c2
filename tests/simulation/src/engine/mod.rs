//! An engine: places, a queue, faults, and answers that come in pieces.

mod places;
mod script;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};

use answers::commit::{End, Shape};

use crate::luck::{Draw, Luck};
use crate::request::Request;
use crate::scene::{EngineScene, Fault, FaultKind, Nature, Refusal};

use places::Place;
pub(crate) use places::Places;
pub(crate) use script::Script;
use script::{error, good};

/// Time from a request to an answer that costs no work.
const QUICK: Duration = Duration::from_millis(5);

/// An engine of a scene.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) scene: EngineScene,
    pub(crate) places: Rc<Places>,
    began: Instant,
    /// The process is gone.
    down: Cell<bool>,
    fell: Notify,
    /// When it last refused a request because it is full.
    pub(crate) refused: Cell<Option<Instant>>,
}

/// The connection broke.
#[derive(Debug)]
pub(crate) struct Broke;

/// The head of an answer.
#[derive(Debug)]
pub(crate) struct Head {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) shape: Shape,
}

/// A request at an engine. Dropping it frees the engine's place.
#[derive(Debug)]
pub(crate) struct Exchange {
    engine: Rc<Engine>,
    place: Option<Place>,
    script: Script,
    /// Time before the head, and between the head and the first piece of the body.
    waits: [Duration; 2],
    gap: Duration,
    /// Bytes of the body that were sent.
    sent: usize,
    /// The sizes of the pieces are drawn from it.
    luck: Luck,
}

impl Engine {
    pub(crate) fn new(scene: EngineScene, began: Instant) -> Rc<Self> {
        let places = Places::new(scene.places, scene.queue, began);
        let (down, fell, refused) = Default::default();
        Rc::new(Self { scene, places, began, down, fell, refused })
    }

    /// Changes its places and its process as the scene says.
    pub(crate) async fn live(self: Rc<Self>) {
        let downs = || self.scene.faults.iter().filter(|fault| fault.kind == FaultKind::Down);
        let mut times: Vec<Duration> = self.scene.changes.iter().map(|(at, _)| *at).collect();
        times.extend(downs().flat_map(|fault| [fault.from, fault.to]));
        times.sort_unstable();
        for time in times {
            tokio::time::sleep_until(self.began + time).await;
            self.places.resize(self.scene.places_at(time));
            let down = downs().any(|fault| fault.from <= time && time < fault.to);
            if down && !self.down.replace(down) {
                self.fell.notify_waiters();
            }
            self.down.set(down);
        }
    }

    /// True if a probe succeeds.
    pub(crate) fn is_up(&self) -> bool {
        let unreachable = |fault: &Fault| fault.kind == FaultKind::Unreachable;
        !self.down.get() && !self.faults().any(unreachable)
    }

    /// Makes a connection. None: it is refused.
    pub(crate) async fn connect(self: &Rc<Self>, luck: &mut Luck) -> Option<()> {
        if self.down.get() {
            return None;
        }
        if let Some(FaultKind::Unreachable) = self.met(luck) {
            std::future::pending::<()>().await;
        }
        Some(())
    }

    /// Takes a request, and returns when its head may come.
    ///
    /// # Errors
    /// If the connection breaks before it.
    pub(crate) async fn take(
        self: &Rc<Self>,
        request: &Request,
        mark: &str,
        luck: &mut Luck,
    ) -> Result<(Head, Exchange), Broke> {
        let mut exchange = Exchange {
            engine: Rc::clone(self),
            place: None,
            script: Script::default(),
            waits: [QUICK, Duration::ZERO],
            gap: self.scene.gap,
            sent: 0,
            luck: luck.clone(),
        };
        let fault = self.met(luck).or_else(|| self.opinion(request));
        let head = exchange.begin(request, mark, fault, luck).await?;
        exchange.pause(exchange.waits[0]).await?;
        Ok((head, exchange))
    }

    /// The fault that a request meets now.
    fn met(&self, luck: &mut Luck) -> Option<FaultKind> {
        self.faults().find(|fault| luck.chance(fault.share)).map(|fault| fault.kind)
    }

    fn faults(&self) -> impl Iterator<Item = &Fault> {
        let now = self.began.elapsed();
        self.scene.faults.iter().filter(move |fault| fault.from <= now && now < fault.to)
    }

    /// What it makes of a request that is not good.
    fn opinion(&self, request: &Request) -> Option<FaultKind> {
        match request.nature {
            Nature::Poison(kind) => Some(kind),
            _ => None,
        }
    }
}

impl Exchange {
    /// What it answers.
    pub(crate) fn script(&self) -> &Script {
        &self.script
    }

    /// Bytes of the body that were sent.
    pub(crate) fn sent(&self) -> usize {
        self.sent
    }

    async fn begin(
        &mut self,
        request: &Request,
        mark: &str,
        fault: Option<FaultKind>,
        luck: &mut Luck,
    ) -> Result<Head, Broke> {
        let engine = Rc::clone(&self.engine);
        let scene = &engine.scene;
        let asked = request.shape();
        match fault {
            None | Some(FaultKind::Cut | FaultKind::Freezes) => {}
            Some(FaultKind::Hangs | FaultKind::Down | FaultKind::Unreachable) => {
                self.pause(Duration::from_secs(100_000)).await?;
            }
            Some(FaultKind::Dies) => {
                self.pause(QUICK * 4).await?;
                return Err(Broke);
            }
            Some(kind) => return Ok(self.fail(kind, asked)),
        }
        if let Some(head) = self.refuse_for_itself(request, scene) {
            return Ok(head);
        }
        let mut fell = std::pin::pin!(engine.fell.notified());
        fell.as_mut().enable();
        let place = tokio::select! {
            biased;
            () = fell => return Err(Broke),
            place = engine.places.enter() => place,
        };
        let Some(place) = place else {
            engine.refused.set(Some(Instant::now()));
            return Ok(self.refuse(scene.refusal, asked));
        };
        self.place = Some(place);
        let pieces = luck.pick(&[1u32, 2, 4, 9]);
        self.script = good(request, mark, luck);
        match fault {
            Some(FaultKind::Cut) => self.script.cut(luck),
            Some(FaultKind::Freezes) => self.script.freeze(luck),
            _ => {}
        }
        self.gap = scene.gap;
        self.script.pieces = pieces;
        let work = scene.prefill + scene.gap * pieces;
        (self.waits, self.gap) = match asked {
            Shape::Stream if scene.early => ([QUICK, scene.prefill], scene.gap),
            Shape::Stream => ([scene.prefill, Duration::ZERO], scene.gap),
            Shape::Plain => ([work, Duration::ZERO], Duration::from_millis(1)),
        };
        Ok(Head { status: 200, retry_after: None, shape: asked })
    }

    /// The answer of an engine that fails.
    fn fail(&mut self, kind: FaultKind, asked: Shape) -> Head {
        let plain = |status| Head { status, retry_after: None, shape: Shape::Plain };
        match kind {
            FaultKind::Status(status) => {
                self.script = error(status, "it broke", "");
                plain(status)
            }
            FaultKind::InBody(status) => {
                self.script = error(status, "it broke", "").of_shape(asked);
                Head { shape: asked, ..plain(200) }
            }
            FaultKind::Key => {
                self.script = error(401, "Incorrect API key provided", "invalid_api_key");
                plain(401)
            }
            FaultKind::NoModel => {
                self.script = error(404, "The model `m` does not exist", "model_not_found");
                plain(404)
            }
            FaultKind::Page => {
                self.script.body = Bytes::from_static(b"<html><body>Welcome</body></html>");
                Head { shape: asked, ..plain(200) }
            }
            _ => Head { shape: asked, ..plain(200) },
        }
    }

    /// The answer to a request that the engine refuses for the request's own sake.
    fn refuse_for_itself(&mut self, request: &Request, scene: &EngineScene) -> Option<Head> {
        let asked = request.shape();
        let (status, words, code) = match request.nature {
            Nature::Wrong if scene.early => {
                self.script = error(400, "temperature must be at most 2", "").of_shape(asked);
                return Some(Head { status: 200, retry_after: None, shape: asked });
            }
            Nature::Wrong => (400, "temperature must be at most 2", ""),
            Nature::Long(tokens) if tokens > scene.context => {
                let words = "This model's maximum context length is 8000 tokens";
                (400, words, "context_length_exceeded")
            }
            Nature::Refused(401) => (401, "mismatched organization", "invalid_api_key"),
            Nature::Refused(status) => (status, "flagged by moderation", ""),
            _ => return None,
        };
        self.script = error(status, words, code);
        Some(Head { status, retry_after: None, shape: Shape::Plain })
    }

    /// The answer of a full engine.
    fn refuse(&mut self, refusal: Refusal, asked: Shape) -> Head {
        self.script = error(refusal.status, "too many requests in flight", "");
        if refusal.in_body {
            self.script = std::mem::take(&mut self.script).of_shape(asked);
            return Head { status: 200, retry_after: None, shape: asked };
        }
        let retry_after = refusal.retry_after;
        Head { status: refusal.status, retry_after, shape: Shape::Plain }
    }

    /// The next piece of the body. None: its end, as [`Script::end`] tells it.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, Broke> {
        let wait = match self.sent {
            0 => self.waits[1],
            _ => self.gap,
        };
        self.pause(wait).await?;
        let left = self.script.sends().saturating_sub(self.sent);
        if left == 0 {
            if self.script.freezes {
                self.pause(Duration::from_secs(100_000)).await?;
            }
            self.place = None;
            return match self.script.end {
                End::Early => Err(Broke),
                End::Framed | End::Closed => Ok(None),
            };
        }
        let size = self.script.sends() / self.script.pieces.max(1) as usize + 1;
        // Cut anywhere, also within a line or a letter.
        let jitter = usize::try_from(self.luck.time(0..9).as_millis()).unwrap_or_default();
        let size = (size + jitter).min(left);
        let chunk = self.script.body.slice(self.sent..self.sent + size);
        self.sent += size;
        Ok(Some(chunk))
    }

    /// Waits, unless the process goes.
    async fn pause(&self, time: Duration) -> Result<(), Broke> {
        if self.engine.down.get() {
            return Err(Broke);
        }
        let fell = self.engine.fell.notified();
        tokio::select! {
            biased;
            () = fell => Err(Broke),
            () = sleep(time) => Ok(()),
        }
    }
}
