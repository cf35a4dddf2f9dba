//! The expected-replies queue: which request each message of a server answers.
//!
//! PostgreSQL answers strictly in order ("Pipelining", chapter *Frontend/Backend Protocol*), so a
//! queue of what was sent tells what to do with each message that comes back: pass it on
//! ([`Disposition::Forward`]), keep it from the client because the proxy asked
//! ([`Disposition::Swallow`]), or make one up in its turn ([`FakeReply`]). It also answers the one
//! question on which pooling stands: may this server connection be given to somebody else?
//! Only when [`Pipeline::is_settled`] and the transaction status is idle:
//! [`Pipeline::is_releasable`].
//!
//! # Rules (from PostgreSQL's main loop)
//!
//! - Query, FunctionCall and Sync are each answered by exactly one ReadyForQuery.
//! - After an error in the extended protocol the server discards everything up to the next Sync;
//!   what it discards is never answered.
//! - After CopyInResponse the server reads CopyData until CopyDone or CopyFail. Flush and Sync in
//!   between are ignored (so the Sync that drivers send right behind Execute gets no answer, and
//!   leaves the batch open). Any other message is a protocol violation: the COPY fails, and
//!   PostgreSQL 14 and later close the connection.
//! - A COPY may fail at any time after CopyInResponse, even before the server has read anything (a
//!   trigger that raises, a view as its target). What was sent by then is read outside of copy-in.
//! - CopyData, CopyDone and CopyFail outside of copy-in are dropped without an answer.
//! - Flush has no answer of its own, and leaves the implicit transaction open: until the Sync the
//!   server is not free although every reply has arrived.
//!
//! # What cannot be known
//!
//! When a COPY fails, the messages do not tell whether a Sync that was sent before its CopyDone was
//! ignored or will be answered. The pipeline then expects *up to* one more ReadyForQuery and does
//! not claim to be settled, until that comes or the reply to a later request proves that it will
//! not.
//!
//! Where even that does not tell replies apart, the pipeline becomes *unpredictable*: it forwards,
//! and never claims to be settled again. That takes a client that sends another request while a
//! simple query's COPY reads data, or one that sends such a Sync and, behind it and before the next
//! Sync, a request for which the COPY's failure then is decisive; or a proxy that puts a made-up reply
//! in front of such a Sync; or a replication stream.
//!
//! # Calling rule
//!
//! Call [`Pipeline::sent`] for each message when it is handed to the server's socket buffer, in
//! order; call [`Pipeline::received`] for each message that [`Pipeline::stop_set`] names, in order;
//! then drain [`Pipeline::poll_fake`].

use alloc::collections::VecDeque;

use crate::error::PeerMisbehaved;
use crate::tag::{BackendTag, TagSet};
use crate::txn::TransactionStatus;

/// A message sent to the server, as far as its replies go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Request {
    /// Parse: answered by ParseComplete.
    Parse,
    /// Bind: answered by BindComplete.
    Bind,
    /// Describe of a statement or portal: answered by RowDescription or NoData.
    Describe,
    /// Execute: answered by CommandComplete, EmptyQueryResponse or PortalSuspended.
    Execute,
    /// Close: answered by CloseComplete.
    Close,
    /// Flush: no answer of its own.
    Flush,
    /// Sync: answered by ReadyForQuery, and the end of an error's reach.
    Sync,
    /// Simple query: any number of results, then ReadyForQuery.
    Query,
    /// FunctionCall: a result or an error, then ReadyForQuery.
    FunctionCall,
    /// CopyData from the client: no answer.
    CopyData,
    /// CopyDone from the client: no answer of its own.
    CopyDone,
    /// CopyFail from the client: no answer of its own.
    CopyFail,
}

/// What becomes of the replies to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Disposition {
    /// The client asked: its replies go to the client.
    Forward,
    /// The proxy asked: its replies stop here.
    Swallow,
}

/// A reply that the proxy makes itself, in its turn among the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FakeReply {
    /// ParseComplete for a statement that the server already has.
    ParseComplete,
    /// CloseComplete for a statement that the server is to keep.
    CloseComplete,
}

/// The caller's mark on a request, handed back with its completing reply. Zero means "none".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Token(pub u32);

/// What to do with a message from the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Part of the answer to the oldest open request.
    Reply(Disposition),
    /// The last part of the answer to a request that carried this token.
    Completed(Disposition, Token),
    /// ReadyForQuery that ends a request or batch.
    Ready(Disposition, TransactionStatus),
    /// ErrorResponse that answers a request (the token is that of the failed request).
    Failed(Disposition, Token),
    /// CopyInResponse: the client is to send data.
    CopyIn(Disposition),
    /// Not an answer: a notice, a notification, a parameter change, or an error while nothing was
    /// asked. `during` says whose request is being answered meanwhile, if any.
    Asynchronous {
        /// The disposition of the oldest open request.
        during: Option<Disposition>,
    },
}

/// The queue would exceed its bound; wait for replies before sending more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too many requests in flight on one server connection")]
pub struct PipelineFull;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Entry {
    Sent(Request, Disposition, Token),
    Fake(FakeReply, Token),
    /// Syncs sent during copy-in: ignored if the server was in copy-in when it read them, answered if
    /// the COPY had failed by then. At most one such entry exists: right behind the request that
    /// copies, and in front once that has failed.
    MaybeSync(Disposition, u32),
}

/// Where the server is in reading what we sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Normal,
    /// An extended-protocol error happened and no Sync has been sent yet: what is sent until then
    /// is discarded by the server.
    SkipToSync,
    /// The server waits for copy data.
    CopyIn,
    /// Copy-in was ended by the client (or is bound to fail); the outcome is still to come.
    CopyEnded,
    /// Replies can no longer be told apart; the connection serves its present client to the end.
    Unpredictable,
}

/// The expected-replies queue of one server connection.
#[derive(Debug, Clone)]
pub struct Pipeline {
    queue: VecDeque<Entry>,
    mode: Mode,
    /// Extended-protocol messages were sent since the last Sync or Query.
    batch_open: bool,
    status: TransactionStatus,
    limit: usize,
}

/// The default bound of requests in flight on one connection.
pub const DEFAULT_LIMIT: usize = 65_536;

const NEVER_EXPECTED: [BackendTag; 3] =
    [BackendTag::AUTHENTICATION, BackendTag::BACKEND_KEY_DATA, BackendTag::NEGOTIATE_VERSION];

/// Stops within the replies to a simple query, a function call or a Sync.
const STOP_SIMPLE: TagSet<BackendTag> = TagSet::of(&[
    BackendTag::READY,
    BackendTag::ERROR,
    BackendTag::PARAMETER_STATUS,
    BackendTag::NOTIFICATION,
    BackendTag::COPY_IN,
    BackendTag::COPY_BOTH,
    NEVER_EXPECTED[0],
    NEVER_EXPECTED[1],
    NEVER_EXPECTED[2],
]);

/// Stops within the replies to an extended-protocol batch.
const STOP_EXTENDED: TagSet<BackendTag> = STOP_SIMPLE.union(TagSet::of(&[
    BackendTag::PARSE_COMPLETE,
    BackendTag::BIND_COMPLETE,
    BackendTag::CLOSE_COMPLETE,
    BackendTag::ROW_DESCRIPTION,
    BackendTag::NO_DATA,
    BackendTag::COMMAND_COMPLETE,
    BackendTag::EMPTY_QUERY,
    BackendTag::PORTAL_SUSPENDED,
]));

impl Default for Pipeline {
    fn default() -> Self {
        Self::new(DEFAULT_LIMIT)
    }
}

impl Pipeline {
    /// An empty queue on a connection that has just sent its first ReadyForQuery, with at most
    /// `limit` requests in flight.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            queue: VecDeque::new(),
            mode: Mode::Normal,
            batch_open: false,
            status: TransactionStatus::Idle,
            limit: limit.max(16),
        }
    }

    /// Whether `more` requests still fit.
    #[must_use]
    pub fn has_room(&self, more: usize) -> bool {
        self.queue.len().saturating_add(more) <= self.limit
    }

    /// Records a message that goes to the server.
    ///
    /// # Errors
    /// [`PipelineFull`] at the bound; the message must not be sent then.
    pub fn sent(
        &mut self,
        request: Request,
        disposition: Disposition,
        token: Token,
    ) -> Result<(), PipelineFull> {
        match self.mode {
            Mode::Unpredictable => return Ok(()),
            Mode::SkipToSync if request != Request::Sync => {
                if has_reply(request) && self.awaits_maybe_sync() {
                    self.become_unpredictable();
                }
                return Ok(());
            }
            // None of these grows the queue by more than one entry in all: the client must be able to
            // end its COPY at any bound.
            Mode::CopyIn => match request {
                Request::CopyData | Request::Flush => return Ok(()),
                Request::CopyDone | Request::CopyFail => {
                    self.mode = Mode::CopyEnded;
                    return Ok(());
                }
                Request::Sync => {
                    self.push_maybe_sync(disposition);
                    return Ok(());
                }
                _ => {
                    self.fail_copy();
                    if self.mode == Mode::Unpredictable {
                        return Ok(());
                    }
                }
            },
            Mode::Normal | Mode::CopyEnded | Mode::SkipToSync => {}
        }
        if !self.has_room(1) {
            return Err(PipelineFull);
        }
        if self.mode == Mode::SkipToSync {
            self.mode = Mode::Normal;
        }
        match request {
            Request::Flush => {}
            // Each ends the implicit transaction that extended messages before it opened.
            Request::Sync | Request::Query | Request::FunctionCall => {
                self.batch_open = false;
                self.push(request, disposition, token);
            }
            Request::CopyData | Request::CopyDone | Request::CopyFail => {
                // Without a reply; only their place among requests that await one matters.
                let last = self.queue.back();
                let repeats = matches!(last, Some(Entry::Sent(Request::CopyData, ..)))
                    && request == Request::CopyData;
                if last.is_some() && !repeats {
                    self.push(request, disposition, token);
                }
            }
            Request::Parse
            | Request::Bind
            | Request::Describe
            | Request::Execute
            | Request::Close => {
                self.batch_open = true;
                self.push(request, disposition, token);
            }
        }
        Ok(())
    }

    /// Puts a reply of the proxy's own in its turn. `token` comes back when that has come.
    ///
    /// # Errors
    /// [`PipelineFull`] at the bound.
    pub fn fake(&mut self, reply: FakeReply, token: Token) -> Result<(), PipelineFull> {
        if !self.has_room(1) {
            return Err(PipelineFull);
        }
        if self.mode == Mode::SkipToSync {
            if !self.awaits_maybe_sync() {
                return Ok(());
            }
            self.become_unpredictable();
        }
        self.queue.push_back(Entry::Fake(reply, token));
        Ok(())
    }

    /// Keeps the replies to everything under way from the client: it will be asked again elsewhere.
    /// Replies of the proxy's own are not made any more.
    pub fn swallow_all(&mut self) {
        self.queue.retain(|entry| !matches!(entry, Entry::Fake(..)));
        for entry in &mut self.queue {
            match entry {
                Entry::Sent(_, disposition, _) | Entry::MaybeSync(disposition, _) => {
                    *disposition = Disposition::Swallow;
                }
                Entry::Fake(..) => {}
            }
        }
    }

    /// The next reply that the proxy is to make now, if its turn has come.
    pub fn poll_fake(&mut self) -> Option<(FakeReply, Token)> {
        self.drop_unanswered();
        let at = self.first_certain();
        let Some(Entry::Fake(reply, token)) = self.queue.get(at).copied() else { return None };
        self.queue.remove(at);
        Some((reply, token))
    }

    /// Whether a request or reply with this token has still its turn to come. One that has not, and
    /// was not completed, was never done: an error before it had the server skip it.
    #[must_use]
    pub fn awaits(&self, token: Token) -> bool {
        self.queue.iter().any(|entry| match entry {
            Entry::Sent(_, _, known) | Entry::Fake(_, known) => *known == token,
            Entry::MaybeSync(..) => false,
        })
    }

    /// Whether the server discards what is sent now, up to the next Sync.
    #[must_use]
    pub fn is_skipping(&self) -> bool {
        self.mode == Mode::SkipToSync
    }

    /// The messages that must be shown to [`Pipeline::received`] at this point; all others may be
    /// forwarded unseen. While the oldest request is the proxy's own, that is every message.
    #[must_use]
    pub fn stop_set(&self) -> TagSet<BackendTag> {
        if self.mode == Mode::Unpredictable {
            return STOP_SIMPLE;
        }
        match self.queue.front() {
            None
            | Some(
                Entry::Sent(_, Disposition::Swallow, _) | Entry::Fake(..) | Entry::MaybeSync(..),
            ) => TagSet::ALL,
            // The end of one COPY of several matters.
            Some(Entry::Sent(Request::Query, ..)) if self.is_copy() => {
                STOP_SIMPLE.union(TagSet::of(&[BackendTag::COMMAND_COMPLETE]))
            }
            Some(Entry::Sent(
                Request::Query | Request::FunctionCall | Request::Sync,
                Disposition::Forward,
                _,
            )) => STOP_SIMPLE,
            Some(Entry::Sent(_, Disposition::Forward, _)) => STOP_EXTENDED,
        }
    }

    /// Takes a message from the server. `status` is the body of a ReadyForQuery, else `None`.
    ///
    /// # Errors
    /// [`PeerMisbehaved`] when the message answers nothing that was asked; the connection must be
    /// dropped then.
    pub fn received(
        &mut self,
        tag: BackendTag,
        status: Option<TransactionStatus>,
    ) -> Result<Verdict, PeerMisbehaved> {
        self.drop_unanswered();
        let front = self.queue.get(self.first_certain()).copied();
        let during = match front {
            Some(Entry::Sent(_, disposition, _)) => Some(disposition),
            Some(Entry::Fake(..) | Entry::MaybeSync(..)) | None => None,
        };
        match tag {
            BackendTag::NOTICE | BackendTag::NOTIFICATION | BackendTag::PARAMETER_STATUS => {
                return Ok(Verdict::Asynchronous { during });
            }
            BackendTag::AUTHENTICATION
            | BackendTag::BACKEND_KEY_DATA
            | BackendTag::NEGOTIATE_VERSION => return Err(unexpected(tag)),
            // Only START_REPLICATION, a simple query, is answered so.
            BackendTag::COPY_BOTH if matches!(front, Some(Entry::Sent(Request::Query, ..))) => {
                self.become_unpredictable();
            }
            _ => {}
        }
        if self.mode == Mode::Unpredictable {
            if let Some(status) = status.filter(|_| tag == BackendTag::READY) {
                self.status = status;
                return Ok(Verdict::Ready(Disposition::Forward, status));
            }
            return Ok(Verdict::Reply(Disposition::Forward));
        }
        if self.awaits_maybe_sync() {
            let sync_is_next = matches!(front, Some(Entry::Sent(Request::Sync, ..)));
            if tag == BackendTag::READY {
                // The certain answer first: that leaves the most room for the uncertain one.
                return if sync_is_next { self.ready(status) } else { self.ready_maybe(status) };
            }
            if front.is_some() && !sync_is_next {
                // Somebody behind is being answered: the Syncs were ignored.
                self.queue.pop_front();
            }
        }
        let Some(Entry::Sent(request, disposition, token)) = front else {
            // The server may complain unasked (57P01 before it closes); anything else answers nothing.
            return if tag == BackendTag::ERROR {
                Ok(Verdict::Asynchronous { during: None })
            } else {
                Err(unexpected(tag))
            };
        };
        match request {
            Request::Query | Request::FunctionCall => match tag {
                BackendTag::READY => self.ready(status),
                BackendTag::COPY_IN => {
                    self.enter_copy_in();
                    Ok(Verdict::CopyIn(disposition))
                }
                BackendTag::ERROR => {
                    if self.is_copy() {
                        self.mode = Mode::Normal;
                    }
                    Ok(Verdict::Failed(disposition, token))
                }
                BackendTag::COMMAND_COMPLETE if self.is_copy() => {
                    self.copy_succeeded(1);
                    Ok(Verdict::Reply(disposition))
                }
                _ => Ok(Verdict::Reply(disposition)),
            },
            Request::Sync => match tag {
                BackendTag::READY => self.ready(status),
                BackendTag::ERROR => Ok(Verdict::Failed(disposition, token)),
                _ => Err(unexpected(tag)),
            },
            _ => self.received_extended(tag, request, disposition, token),
        }
    }

    fn received_extended(
        &mut self,
        tag: BackendTag,
        request: Request,
        disposition: Disposition,
        token: Token,
    ) -> Result<Verdict, PeerMisbehaved> {
        let completes = match request {
            Request::Parse => tag == BackendTag::PARSE_COMPLETE,
            Request::Bind => tag == BackendTag::BIND_COMPLETE,
            Request::Close => tag == BackendTag::CLOSE_COMPLETE,
            Request::Describe => {
                if tag == BackendTag::PARAMETER_DESCRIPTION {
                    return Ok(Verdict::Reply(disposition));
                }
                tag == BackendTag::ROW_DESCRIPTION || tag == BackendTag::NO_DATA
            }
            _ => match tag {
                BackendTag::COMMAND_COMPLETE
                | BackendTag::EMPTY_QUERY
                | BackendTag::PORTAL_SUSPENDED => true,
                BackendTag::DATA_ROW
                | BackendTag::COPY_OUT
                | BackendTag::COPY_DATA
                | BackendTag::COPY_DONE => return Ok(Verdict::Reply(disposition)),
                BackendTag::COPY_IN => {
                    self.enter_copy_in();
                    return Ok(Verdict::CopyIn(disposition));
                }
                _ => false,
            },
        };
        if completes {
            self.queue.pop_front();
            if self.is_copy() {
                self.copy_succeeded(0);
            }
            // What is left in front decides the next stop set.
            self.drop_unanswered();
            return Ok(Verdict::Completed(disposition, token));
        }
        if tag != BackendTag::ERROR {
            return Err(unexpected(tag));
        }
        // The server now discards up to the next Sync, whatever stands in between.
        self.queue.pop_front();
        let at = usize::from(self.awaits_maybe_sync());
        self.mode = Mode::SkipToSync;
        while let Some(entry) = self.queue.get(at) {
            match entry {
                Entry::Sent(Request::Sync, ..) => {
                    self.mode = Mode::Normal;
                    break;
                }
                // Discarded, unless the Sync before it was the one to end the discarding.
                Entry::Sent(request, ..) if at == 1 && has_reply(*request) => {
                    self.become_unpredictable();
                }
                Entry::Fake(..) if at == 1 => self.become_unpredictable(),
                Entry::Sent(..) | Entry::Fake(..) | Entry::MaybeSync(..) => {
                    self.queue.remove(at);
                }
            }
        }
        Ok(Verdict::Failed(disposition, token))
    }

    /// ReadyForQuery for the first certain request.
    fn ready(&mut self, status: Option<TransactionStatus>) -> Result<Verdict, PeerMisbehaved> {
        let Some(status) = status else { return Err(unexpected(BackendTag::READY)) };
        let Some(Entry::Sent(_, disposition, _)) = self.queue.remove(self.first_certain()) else {
            return Err(unexpected(BackendTag::READY));
        };
        self.status = status;
        self.mode = Mode::Normal;
        self.drop_unanswered();
        Ok(Verdict::Ready(disposition, status))
    }

    /// ReadyForQuery where only Syncs that may have been ignored await one.
    fn ready_maybe(
        &mut self,
        status: Option<TransactionStatus>,
    ) -> Result<Verdict, PeerMisbehaved> {
        let Some(status) = status else { return Err(unexpected(BackendTag::READY)) };
        let Some(Entry::MaybeSync(disposition, count)) = self.queue.front_mut() else {
            return Err(unexpected(BackendTag::READY));
        };
        let disposition = *disposition;
        *count = count.saturating_sub(1);
        if *count == 0 {
            self.queue.pop_front();
        }
        self.status = status;
        if self.mode == Mode::SkipToSync {
            self.mode = Mode::Normal;
            self.batch_open = false;
        }
        self.drop_unanswered();
        Ok(Verdict::Ready(disposition, status))
    }

    /// The server has begun to read copy data: settle what was already sent behind the request.
    fn enter_copy_in(&mut self) {
        // An earlier COPY of the same query has come to its end.
        self.copy_succeeded(1);
        self.mode = Mode::CopyIn;
        // Index 0 is the request itself, which still awaits its completion.
        let mut at = 1;
        while self.mode == Mode::CopyIn
            && let Some(entry) = self.queue.get(at).copied()
        {
            match entry {
                Entry::Fake(..) | Entry::MaybeSync(..) => at += 1,
                Entry::Sent(Request::Sync, disposition, _) => {
                    self.queue.remove(at);
                    if self.push_maybe_sync(disposition) {
                        at += 1;
                    }
                }
                Entry::Sent(Request::CopyDone | Request::CopyFail, ..) => {
                    self.queue.remove(at);
                    self.mode = Mode::CopyEnded;
                }
                Entry::Sent(Request::CopyData | Request::Flush, ..) => {
                    self.queue.remove(at);
                }
                Entry::Sent(..) => self.fail_copy(),
            }
        }
        // A Sync that was ignored has closed nothing.
        self.batch_open = self.queue.iter().fold(false, |open, entry| match entry {
            Entry::Sent(request, ..) => match request {
                Request::Parse
                | Request::Bind
                | Request::Describe
                | Request::Execute
                | Request::Close => true,
                Request::Sync | Request::Query | Request::FunctionCall => false,
                Request::Flush | Request::CopyData | Request::CopyDone | Request::CopyFail => open,
            },
            Entry::Fake(..) | Entry::MaybeSync(..) => open,
        });
    }

    /// A request has come up that has no place in copy-in.
    fn fail_copy(&mut self) {
        if matches!(self.queue.front(), Some(Entry::Sent(Request::Query, ..))) {
            // Answered if the COPY had failed before, else not.
            self.become_unpredictable();
        } else {
            // Discarded in either case, with all that follows up to the next Sync.
            self.mode = Mode::CopyEnded;
        }
    }

    /// A COPY has succeeded: it has ignored the Syncs that were sent before its CopyDone.
    fn copy_succeeded(&mut self, at: usize) {
        if let Some(Entry::MaybeSync(..)) = self.queue.get(at) {
            self.queue.remove(at);
        }
        self.mode = Mode::Normal;
    }

    /// Notes Syncs sent to a server that seems to be in copy-in. Returns whether the queue has grown.
    fn push_maybe_sync(&mut self, disposition: Disposition) -> bool {
        if let Some(Entry::MaybeSync(_, count)) = self.queue.get_mut(1) {
            *count = count.saturating_add(1);
            return false;
        }
        self.queue.insert(1.min(self.queue.len()), Entry::MaybeSync(disposition, 1));
        true
    }

    /// Whether the oldest that may be answered is a Sync that may have been ignored.
    fn awaits_maybe_sync(&self) -> bool {
        matches!(self.queue.front(), Some(Entry::MaybeSync(..)))
    }

    /// The place of the oldest entry whose answer is certain to come.
    fn first_certain(&self) -> usize {
        usize::from(self.awaits_maybe_sync())
    }

    fn is_copy(&self) -> bool {
        matches!(self.mode, Mode::CopyIn | Mode::CopyEnded)
    }

    fn become_unpredictable(&mut self) {
        self.mode = Mode::Unpredictable;
        self.queue.clear();
    }

    /// Removes leading entries that have no answer.
    fn drop_unanswered(&mut self) {
        let at = self.first_certain();
        while let Some(Entry::Sent(request, ..)) = self.queue.get(at)
            && !has_reply(*request)
        {
            self.queue.remove(at);
        }
    }

    fn push(&mut self, request: Request, disposition: Disposition, token: Token) {
        self.queue.push_back(Entry::Sent(request, disposition, token));
    }

    /// Requests still unanswered (those without an answer of their own may count too).
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.queue.len()
    }

    /// Whether everything sent has been answered and no batch is open. After a failed COPY this may
    /// take one more request to know: see the [module](self).
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.mode == Mode::Normal && !self.batch_open && self.queue.is_empty()
    }

    /// Whether the connection may be given to another client: settled, and outside a transaction.
    #[must_use]
    pub fn is_releasable(&self) -> bool {
        self.is_settled() && self.status == TransactionStatus::Idle
    }

    /// Whether the next reply answers a request of the proxy's own.
    #[must_use]
    pub fn is_swallowing(&self) -> bool {
        matches!(self.queue.front(), Some(Entry::Sent(_, Disposition::Swallow, _)))
    }

    /// Whether the server is reading copy data from the client.
    #[must_use]
    pub fn is_copying_in(&self) -> bool {
        self.mode == Mode::CopyIn
    }

    /// Whether replies can no longer be told apart (replication streams, or COPY misuse).
    #[must_use]
    pub fn is_unpredictable(&self) -> bool {
        self.mode == Mode::Unpredictable
    }

    /// The transaction status of the last ReadyForQuery.
    #[must_use]
    pub fn status(&self) -> TransactionStatus {
        self.status
    }
}

/// Whether the server answers the request (when it does not discard it).
fn has_reply(request: Request) -> bool {
    !matches!(request, Request::Flush | Request::CopyData | Request::CopyDone | Request::CopyFail)
}

fn unexpected(tag: BackendTag) -> PeerMisbehaved {
    PeerMisbehaved::UnexpectedMessage { tag: tag.as_byte() }
}
