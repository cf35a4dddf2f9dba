//! A logged-in server connection, as its holder sees it.

use std::io::IoSlice;

use pgwire_core::cancel::BackendKey;
use pgwire_core::encode;
use pgwire_core::frame::BackendFramer;
use pgwire_core::params::Params;
use pgwire_core::pipeline::Pipeline;

use crate::buffers::{FRAME_LIMITS, InBuf};
use crate::ids::{NodeId, ServerId};
use crate::io::{Io, Transfer};
use crate::outbox::Outbox;
use crate::prepared::{Key, ServerStatements};
use crate::tls::Wire;

/// Requests for which there is always room: what sets a server up, what a transaction did before, and
/// what goes along with one message of the client.
const MIN_PIPELINE: usize = 24;

/// A logged-in server connection with its socket `S`: held by one [`crate::relay::Relay`], or idle
/// in the [`crate::hub::Hub`].
#[derive(Debug)]
pub struct Link<S> {
    pub(crate) id: ServerId,
    pub(crate) socket: Wire<S>,
    pub(crate) key: BackendKey,
    /// The parameters that the server has reported last.
    pub(crate) params: Params,
    /// A client's parameters that those of the server were found to agree with, as far as they are
    /// tracked. Clients of one identity mostly share theirs, so that this answers for all of them.
    pub(crate) agrees_with: Option<Params>,
    pub(crate) framer: BackendFramer,
    pub(crate) pipeline: Pipeline,
    pub(crate) input: InBuf,
    pub(crate) output: Outbox,
    /// A message longer than the buffer is coming in: whether its pieces go to the client.
    pub(crate) streaming: Streaming,
    /// The shared prepared statements that it has.
    pub(crate) statements: ServerStatements,
    /// The version of its client's settings that it has.
    pub(crate) settings: u64,
    /// What tells the settings apart that shared servers were given (transaction mode).
    pub(crate) applied: Key,
    /// Queries that are under way to give it others.
    pub(crate) applying: u8,
    /// It has settings of its client that cannot be repeated elsewhere.
    pub(crate) unrepeatable: bool,
    /// Settings are being repeated on it.
    pub(crate) repeating: bool,
    /// Whether a look at the socket has shown it alive since it was lent.
    pub(crate) verified: bool,
}

/// What becomes of the pieces of a message that is longer than the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Streaming {
    Forward,
    Drop,
}

impl<S> Link<S> {
    pub(crate) fn new(
        id: ServerId,
        socket: Wire<S>,
        key: BackendKey,
        params: Params,
        pipeline_limit: usize,
    ) -> Self {
        Self {
            id,
            socket,
            key,
            params,
            agrees_with: None,
            framer: BackendFramer::new(FRAME_LIMITS),
            pipeline: Pipeline::new(pipeline_limit.max(MIN_PIPELINE)),
            input: InBuf::default(),
            output: Outbox::default(),
            streaming: Streaming::Forward,
            statements: ServerStatements::default(),
            settings: 0,
            applied: Key::default(),
            applying: 0,
            unrepeatable: false,
            repeating: false,
            verified: true,
        }
    }

    /// The connection's id.
    #[must_use]
    pub fn id(&self) -> ServerId {
        self.id
    }

    /// The node that it leads to.
    #[must_use]
    pub fn node(&self) -> NodeId {
        self.id.node
    }

    /// Says goodbye, as far as that goes without waiting: the connection is closed either way.
    pub fn say_goodbye(&mut self, io: &mut impl Io<S>) {
        let mut goodbye = Vec::new();
        encode::terminate(&mut goodbye);
        let _: Transfer = self.socket.write(io, &[IoSlice::new(&goodbye)]);
        self.socket.close(io);
    }

    /// The bare socket.
    #[cfg(any(test, feature = "testing"))]
    pub fn into_socket(self) -> S {
        self.socket.into_socket()
    }

    /// Whether nothing is under way in either direction.
    pub(crate) fn is_quiet(&self) -> bool {
        self.pipeline.is_settled()
            && self.framer.at_boundary()
            && self.output.is_empty()
            && self.input.is_empty()
    }
}
