//! A request of a client.

use bytes::Bytes;

use answers::commit::Shape;
use config::Sides;
use routing::InferenceEndpoint;

use crate::scene::{ClientScene, Nature};

/// One request. A repeated one has the same body.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    /// Counts the requests of a scene.
    pub(crate) id: u64,
    pub(crate) model: usize,
    pub(crate) nature: Nature,
    pub(crate) stream: bool,
    pub(crate) endpoint: InferenceEndpoint,
    pub(crate) sides: Sides,
    pub(crate) body: Bytes,
}

impl Request {
    /// A request of this client. Requests of one `text` have one digest.
    pub(crate) fn new(id: u64, client: &ClientScene, text: u64) -> Self {
        let ClientScene { model, nature, stream, endpoint, sides, .. } = *client;
        let body = format!(r#"{{"model":"m{model}","prompt":"{text}"}}"#).into();
        Self { id, model, nature, stream, endpoint, sides, body }
    }

    /// How its answer is read.
    pub(crate) fn shape(&self) -> Shape {
        if self.stream { Shape::Stream } else { Shape::Plain }
    }

    /// True if an engine with this context answers it.
    pub(crate) fn is_answered_with(&self, context: u64) -> bool {
        match self.nature {
            Nature::Good => true,
            Nature::Long(tokens) => tokens <= context,
            Nature::Wrong | Nature::Poison(_) | Nature::Refused(_) => false,
        }
    }
}
