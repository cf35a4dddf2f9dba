//! The servers' messages: what goes to the client, what stays here, what ends the session.

use pgwire_core::backend::{ErrorOrNotice, ParameterStatus, ReadyForQuery};
use pgwire_core::encode::{self, ErrorResponse, Severity};
use pgwire_core::frame::Seen;
use pgwire_core::pipeline::{Disposition, Token, Verdict};
use pgwire_core::sqlstate::SqlState;
use pgwire_core::tag::BackendTag;
use pgwire_core::time::Instant;
use pgwire_core::txn::TransactionStatus;

use super::heal::{Occasion, is_stale};
use super::parameters::{Outcome, Resets};
use super::query::{BLOCK, REPEAT, SETUP};
use super::shared::Dropping;
use super::transaction::Block;
use super::{Phase, Relay};
use crate::classify::{ClientEncoding, Lexing};
use crate::hub::client_pid;
use crate::identity::TRACKED;
use crate::link::Streaming;
use crate::pins::PinReasons;
use crate::prepared::Key;

/// What a message of the server leads to, besides being forwarded or dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum After {
    Nothing,
    /// The server is of no more use (it says so, or it broke the protocol).
    Lost,
    /// Parameters could not be set.
    SetupFailed,
}

impl<S> Relay<S> {
    /// Deals with the active server's messages as far as it goes.
    pub(super) fn advance_server(&mut self, now: Instant) -> bool {
        let mut progress = false;
        while let Some(link) = &mut self.active
            && !link.input.is_parsed()
        {
            if !self.session.replay.is_empty()
                && !link.pipeline.is_swallowing()
                && self.await_verdict()
            {
                break;
            }
            self.make_replies();
            let Some(link) = &mut self.active else { break };
            let left = usize::try_from(link.framer.left()).unwrap_or(usize::MAX);
            let seen = link.framer.scan(link.input.unparsed(), link.pipeline.stop_set());
            let after = match seen {
                Ok(Seen::Need { .. }) => break,
                Ok(Seen::Run { bytes }) => {
                    let dropped =
                        if link.streaming == Streaming::Drop { left.min(bytes) } else { 0 };
                    self.client.output.skip(&mut link.input, dropped);
                    self.client.output.forward(&mut link.input, bytes - dropped);
                    if bytes > left {
                        // Whatever it ends in began here, and is forwarded.
                        link.streaming = Streaming::Forward;
                    }
                    After::Nothing
                }
                Ok(Seen::Message { tag, frame }) => {
                    let frame_len = frame.len();
                    match frame.len() {
                        // The small ones are copied out, so that the link can be changed meanwhile.
                        n if n <= SMALL => {
                            let mut copy = [0; SMALL];
                            if let Some(copy) = copy.get_mut(..n) {
                                copy.copy_from_slice(frame);
                            }
                            self.on_server_message(
                                tag,
                                copy.get(..n).unwrap_or_default(),
                                frame_len,
                            )
                        }
                        _ => {
                            let copy = frame.to_vec();
                            self.on_server_message(tag, &copy, frame_len)
                        }
                    }
                }
                Ok(Seen::Opening { tag, have, .. }) => {
                    let copy = have.to_vec();
                    self.on_server_message(tag, &copy, copy.len())
                }
                Err(error) => {
                    tracing::warn!(node = link.node().0, "malformed message from server: {error}");
                    After::Lost
                }
            };
            progress = true;
            self.make_replies();
            match after {
                After::Nothing => {}
                After::Lost => {
                    self.link_lost(now);
                    return true;
                }
                After::SetupFailed => {
                    self.fatal(
                        SqlState::INVALID_PARAMETER_VALUE,
                        "the session's parameters could not be set on its server",
                        None,
                    );
                    return true;
                }
            }
        }
        progress
    }

    /// `frame` may be only the beginning of a message that is larger than the buffer.
    fn on_server_message(&mut self, tag: BackendTag, frame: &[u8], len: usize) -> After {
        // It may change how the client's text is to be read, or which statements there are.
        self.session.head = None;
        let Some(link) = &mut self.active else { return After::Nothing };
        let status = if tag == BackendTag::READY {
            match ReadyForQuery::parse(frame) {
                Ok(ready) => Some(ready.status),
                Err(_) => return After::Lost,
            }
        } else {
            None
        };
        if status.is_some()
            && let Some(clocks) = &mut self.clocks
        {
            clocks.answered();
        }
        let verdict = match link.pipeline.received(tag, status) {
            Ok(verdict) => verdict,
            Err(error) => {
                tracing::warn!(node = link.node().0, "server out of step: {error}");
                return After::Lost;
            }
        };
        let fatal = tag == BackendTag::ERROR
            && ErrorOrNotice::parse_prefix(frame).is_ok_and(|error| error.is_fatal());
        // A server that is shut down at once says so in a warning, whose end may come later.
        let leaving = matches!(verdict, Verdict::Asynchronous { during: None })
            && tag == BackendTag::NOTICE
            && ErrorOrNotice::parse_prefix(frame)
                .is_ok_and(|notice| notice.code().is_some_and(SqlState::is_server_leaving));
        let mut after = if fatal || leaving { After::Lost } else { After::Nothing };
        let serving = matches!(self.phase, Phase::Ready);
        let forward = match verdict {
            Verdict::Reply(disposition) | Verdict::CopyIn(disposition) => {
                disposition == Disposition::Forward
            }
            Verdict::Completed(disposition, token) => {
                if token != Token::default() {
                    if let Some(key) = link.statements.confirmed(token) {
                        self.session.library.get_or_insert_default().prove(key);
                    }
                    self.session.statements.confirmed(token);
                    self.dropped_all(Some(token));
                }
                disposition == Disposition::Forward
            }
            Verdict::Ready(disposition, status) => {
                self.session.statements.batch_answered();
                let forward = disposition == Disposition::Forward;
                if !forward {
                    link.applying = link.applying.saturating_sub(1);
                }
                if forward {
                    self.dropped_all(None);
                    self.answered(status);
                }
                forward
            }
            Verdict::Failed(disposition, token) => {
                self.statements_failed();
                self.session.statements.batch_failed(token);
                if let Some(link) = &mut self.active
                    && (token == SETUP || token == REPEAT)
                {
                    link.applied = Key::UNKNOWN;
                }
                if disposition == Disposition::Swallow && token == SETUP && !fatal {
                    self.setup_failed(frame);
                    after = After::SetupFailed;
                    false
                } else if disposition == Disposition::Swallow && !serving {
                    self.reset_failed = true;
                    false
                } else if disposition == Disposition::Swallow
                    && (self.session.healing
                        || self.session.mending
                        || token == BLOCK
                        || token == REPEAT)
                {
                    self.session.repeat_failed |= token == REPEAT;
                    false
                } else {
                    // A statement that had to be prepared again and could not: the client's batch
                    // fails with the server's own words.
                    self.session.parameters.failed();
                    true
                }
            }
            Verdict::Asynchronous { during } => match tag {
                BackendTag::PARAMETER_STATUS => self.parameter_reported(frame, during),
                // Said by a server that is about to leave while nothing was asked of it.
                BackendTag::ERROR => false,
                _ if leaving => false,
                // Only what this client listens to is heard here, whatever we do meanwhile.
                BackendTag::NOTIFICATION => true,
                _ => during != Some(Disposition::Swallow),
            },
        };
        if after == After::SetupFailed {
            return after;
        }
        let forward = forward && serving && self.client.socket.is_some();
        let translated = if forward && tag == BackendTag::ERROR && frame.len() == len {
            self.in_clients_words(frame)
        } else {
            None
        };
        let Some(link) = &mut self.active else { return after };
        link.streaming = if forward { Streaming::Forward } else { Streaming::Drop };
        let own_note = forward
            && tag == BackendTag::NOTIFICATION
            && frame.get(NOTIFIER_PID) == Some(&link.key.pid.to_be_bytes()[..]);
        if own_note {
            // Drivers know their own notifications by the process id that they were told at login.
            let pid = client_pid(self.id).to_be_bytes();
            let head = frame.get(..NOTIFIER_PID.start).unwrap_or_default();
            self.client.output.own(|out| {
                out.extend_from_slice(head);
                out.extend_from_slice(&pid);
            });
            self.client.output.skip(&mut link.input, NOTIFIER_PID.end);
            self.client.output.forward(&mut link.input, len - NOTIFIER_PID.end);
        } else if let Some(translated) = translated {
            self.client.output.own(|out| out.extend_from_slice(&translated));
            self.client.output.skip(&mut link.input, len);
        } else if forward {
            self.client.output.forward(&mut link.input, len);
        } else {
            self.client.output.skip(&mut link.input, len);
        }
        if after == After::Lost && forward {
            // The client has the server's own words for the end.
            self.close_client();
            return After::Nothing;
        }
        after
    }

    /// An error in which shared statements are called what the client calls them. What is wrong with
    /// them is looked at: they are prepared anew before they are used again.
    fn in_clients_words(&mut self, frame: &[u8]) -> Option<Vec<u8>> {
        let names = self.session.statements.names.as_ref()?;
        let translated = names.translate(frame.get(5..)?);
        if is_stale(frame)
            && let Some(link) = &mut self.active
        {
            link.statements.doubt_all();
        }
        let body = translated?;
        let length = u32::try_from(body.len() + 4).ok()?;
        let mut out = vec![BackendTag::ERROR.as_byte()];
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(&body);
        Some(out)
    }

    /// A server was reset to its own defaults: the client's are what it began with.
    fn reset_to_startup(&mut self, resets: Resets) {
        for name in TRACKED.iter().filter(|name| resets.contains(name.as_bytes())) {
            let Some(value) = self.session.startup.get(name.as_bytes()) else { continue };
            if self.client.params.set(name.as_bytes(), value) == Ok(true) {
                let output = &mut self.client.output;
                output.own(|out| encode::parameter_status(out, name.as_bytes(), value));
            }
        }
        self.session.lexing = lexing(&self.client.params);
        self.session.statements.lexing_changed();
    }

    /// The client's statement or batch is answered, with this transaction status.
    fn answered(&mut self, status: TransactionStatus) {
        let unpins = std::mem::take(&mut self.session.unpins);
        if !unpins.is_empty()
            && self.is_transaction_mode()
            && status == TransactionStatus::Idle
            && self.is_settled()
            && !self.session.raw_names
            && !self.session.parameters.has_failed()
        {
            self.session.unpin(unpins);
        }
        let resets = self.session.resets.take();
        if let Some(resets) = resets
            && self.is_transaction_mode()
            && status != TransactionStatus::Failed
            && !self.session.parameters.has_failed()
        {
            self.reset_to_startup(resets);
        }
        let outcome = self.session.parameters.answered(status);
        self.session.transaction.answered(status);
        if status == TransactionStatus::Idle {
            self.session.transaction.close();
            if self.is_settled() {
                self.session.unsettled = None;
            }
            let altered = std::mem::take(&mut self.session.alters_catalogue);
            if altered && let Some(library) = &mut self.session.library {
                library.doubt();
            }
            if altered && self.catalogue.is_some() {
                self.wants.catalogue_changed = true;
                self.session.catalogue_change = None;
            }
        }
        match outcome {
            Outcome::Nothing => return,
            Outcome::Set => {}
            // What was sent behind it may pin the session anew.
            Outcome::Discarded if self.is_settled() => self.session.unpin(self.session.pins),
            Outcome::Discarded => {}
            Outcome::Unrepeatable => self.session.pin(PinReasons::SETTING),
        }
        if let Some(link) = &mut self.active {
            link.settings = self.session.parameters.version();
            link.unrepeatable |= outcome == Outcome::Unrepeatable;
            link.applied =
                if link.unrepeatable { Key::UNKNOWN } else { self.session.parameters.digest() };
        }
    }

    fn is_settled(&self) -> bool {
        self.active.as_ref().is_none_or(|link| link.pipeline.is_settled())
    }

    /// Takes note of a ParameterStatus. Returns whether the client is to hear of it.
    fn parameter_reported(&mut self, frame: &[u8], during: Option<Disposition>) -> bool {
        let Some(link) = &mut self.active else { return false };
        let Ok(status) = ParameterStatus::parse(frame) else { return false };
        link.agrees_with = None;
        if link.params.set(status.name, status.value).is_err() {
            return true;
        }
        // What is set again after others have been served says nothing about the client.
        let applies = link.applying > 0 && during == Some(Disposition::Swallow);
        if link.repeating || applies || !matches!(self.phase, Phase::Ready) {
            return false;
        }
        let known = self.client.params.set(status.name, status.value).is_ok();
        if known {
            let lexing = lexing(&self.client.params);
            if self.session.lexing != lexing {
                self.session.lexing = lexing;
                self.session.statements.lexing_changed();
            }
        }
        // What we do on our own account is what the client was told of before.
        during != Some(Disposition::Swallow) || self.session.transaction.is_failing()
    }

    /// A SET of ours failed: during login that is the client's choice of values.
    fn setup_failed(&mut self, frame: &[u8]) {
        if let Ok(error) = ErrorOrNotice::parse_prefix(frame)
            && matches!(self.phase, Phase::Startup(_))
        {
            let text = String::from_utf8_lossy(error.message().unwrap_or_default()).into_owned();
            let code = error.code().unwrap_or(SqlState::INVALID_PARAMETER_VALUE);
            self.client.output.own(|out| {
                encode::error_response(
                    out,
                    &ErrorResponse {
                        severity: Severity::Fatal,
                        code,
                        message: &text,
                        detail: None,
                        hint: None,
                    },
                );
            });
            self.close_client();
        }
    }

    /// The active link has ended, or cannot be used any more.
    pub(super) fn link_lost(&mut self, now: Instant) {
        let Some(mut link) = self.active.take() else { return };
        let idle = link.pipeline.is_releasable() && link.framer.at_boundary();
        let settled = link.pipeline.is_settled() && link.framer.at_boundary();
        let status = link.pipeline.status();
        self.client.output.detach(&mut link.input);
        link.output.detach(&mut self.client.input);
        self.session.statements.link_gone(link.node());
        self.session.unsettled = None;
        self.session.dropping = Dropping::Nothing;
        self.session.mending = false;
        self.wants.discard.push(link.id);
        let node = link.node();
        let between = link.framer.at_boundary();
        drop(link);
        if matches!(self.phase, Phase::Ready)
            && (self.session.healing
                || self.session.replay_for != Occasion::Stale && self.take_back())
            && !self.session.pinned
        {
            // Only reads run on standbys: the primary answers instead, and nobody notices.
            return;
        }
        if matches!(self.phase, Phase::Ready)
            && settled
            && node != self.context.settings.primary_node()
            && self.client.framer.at_boundary()
            && (self.session.transaction.block() == Block::Deferred
                || self.session.transaction.can_move())
        {
            // What it has read so far is the client's already.
            if self.session.transaction.block() == Block::Open {
                self.leave_node(status);
            }
            return;
        }
        match self.phase {
            Phase::Startup(_) => self.welcome_link_lost(),
            Phase::Ready if idle && !self.session.pinned => {
                // Nothing of the session was there: the next statement gets another one.
                tracing::debug!(node = node.0, "idle server connection lost");
            }
            Phase::Ready => {
                if between {
                    let name = self.node_name(node);
                    self.tell(
                        Severity::Fatal,
                        SqlState::CONNECTION_FAILURE,
                        &format!("backend {name} closed the connection unexpectedly"),
                        None,
                    );
                }
                self.close_client();
            }
            Phase::Gone => self.clean_up(now),
            Phase::Closing | Phase::Finished => {}
        }
    }
}

/// Where a NotificationResponse has the process id of the session that notified (PostgreSQL docs,
/// chapter "Message Formats").
const NOTIFIER_PID: std::ops::Range<usize> = 5..9;

/// Messages up to this size are looked at on the stack: all those that end a statement.
const SMALL: usize = 256;

/// How the client's statements are to be read, by its parameters.
pub(super) fn lexing(params: &pgwire_core::params::Params) -> Lexing {
    Lexing {
        standard_conforming_strings: params.get(b"standard_conforming_strings") != Some(b"off"),
        encoding: params
            .get(b"client_encoding")
            .map_or(ClientEncoding::BytesLikeAscii, ClientEncoding::of_name),
    }
}
