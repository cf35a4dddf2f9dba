//! The end of the service, in steps.
//!
//! ```text
//! Open -> Leaving -> Draining -> (is_done)
//!  |        |           |
//!  |        |           +- clients are told to leave, so many in a second; each goes when no
//!  |        |              transaction of it is open, and at the deadline in any case
//!  |        +- weir_drain_listen_time: new clients are still served, but readiness is denied, so that
//!  |           whoever distributes them learns to send them elsewhere
//!  +- Hub::drain
//! ```

use std::collections::VecDeque;
use std::time::Duration;

use pgwire_core::time::Instant;

use super::{Command, Event, Hub};
use crate::ids::{ClientId, NodeId};

/// How often clients are told to leave while that is spread over time.
const TICK: Duration = Duration::from_millis(10);

/// How a shutdown treats clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Shutdown {
    /// Transactions run to their end (SIGTERM).
    Graceful,
    /// At once (SIGINT).
    Fast,
}

/// What the process has to offer, for probes of readiness.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Clients are welcome.
    Open,
    /// Clients are served, but had better go elsewhere.
    Leaving,
    /// No new clients; those that are there are leaving.
    Draining,
}

#[derive(Debug)]
pub(super) enum Life {
    Serving,
    Leaving {
        until: Instant,
    },
    Telling {
        /// Who was not told yet.
        left: VecDeque<ClientId>,
        per_tick: usize,
        next: Instant,
    },
    Told,
}

impl Life {
    /// Whether new clients may come.
    pub(super) fn is_listening(&self) -> bool {
        matches!(self, Self::Serving | Self::Leaving { .. })
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Leaving { until } => Some(*until),
            Self::Telling { next, .. } => Some(*next),
            Self::Serving | Self::Told => None,
        }
    }
}

impl<S, D: Clone> Hub<S, D> {
    /// Begins the end of the service (SIGTERM), or ends its first step if it was begun before. What
    /// follows is done in time by [`Hub::handle_timeout`]; the proxy may leave when [`Hub::is_done`].
    pub fn drain(&mut self, now: Instant) {
        match self.life {
            Life::Serving => {
                self.deadline = self.settings.shutdown_timeout.map(|limit| now + limit);
                match self.settings.drain_listen_time {
                    Some(time) => self.life = Life::Leaving { until: now + time },
                    None => self.begin_telling(now),
                }
            }
            Life::Leaving { .. } => self.begin_telling(now),
            Life::Telling { .. } | Life::Told => {}
        }
    }

    /// Ends the service: no new clients, and those that are there leave as `how` says.
    pub fn shut_down(&mut self, how: Shutdown) {
        if self.shutdown.is_some_and(|present| present >= how) {
            return;
        }
        self.stop_listening();
        self.life = Life::Told;
        self.shutdown = Some(how);
        if how == Shutdown::Fast {
            self.deadline = None;
        }
        self.catalogues.stop();
        self.commands.extend(self.asking.take_link().map(Command::Close));
        for (_, client) in &mut self.clients {
            client.inbox.push_back(Event::Terminate(how));
            self.commands.push_back(Command::Ring(client.doorbell.clone()));
        }
        for index in 0..self.nodes.len() {
            if let Some(node) = self.nodes.get_mut(index) {
                node.pool.close_idle();
            }
            if let Ok(index) = u16::try_from(index) {
                self.carry_out(NodeId(index));
            }
        }
    }

    /// What the process has to offer.
    #[must_use]
    pub fn service(&self) -> Service {
        match self.life {
            Life::Serving => Service::Open,
            Life::Leaving { .. } => Service::Leaving,
            Life::Telling { .. } | Life::Told => Service::Draining,
        }
    }

    /// Whether the service has ended and nobody is left.
    #[must_use]
    pub fn is_done(&self) -> bool {
        matches!(self.life, Life::Told) && self.is_empty()
    }

    pub(super) fn go_on_draining(&mut self, now: Instant) {
        if matches!(self.life, Life::Leaving { until } if now >= until) {
            self.begin_telling(now);
        }
        self.tell_some(now);
        if self.deadline.is_some_and(|at| now >= at) {
            self.deadline = None;
            tracing::warn!(
                "weir_shutdown_timeout is over: {} clients are sent away",
                self.clients.len()
            );
            self.shut_down(Shutdown::Fast);
        }
    }

    fn stop_listening(&mut self) {
        if self.life.is_listening() {
            self.commands.push_back(Command::StopListening);
        }
    }

    fn begin_telling(&mut self, now: Instant) {
        self.stop_listening();
        let left: VecDeque<ClientId> = self
            .clients
            .iter()
            .filter_map(|(index, client)| {
                Some(ClientId { index: u32::try_from(index).ok()?, generation: client.generation })
            })
            .collect();
        let mut per_tick = left.len();
        if let Some(rate) = self.settings.drain_client_rate {
            let ticks = |span: Duration| span.as_millis() / TICK.as_millis();
            let rate = u128::from(rate).div_ceil(ticks(Duration::from_secs(1)));
            // Half of the time belongs to transactions.
            let time = self.deadline.map(|at| at.saturating_since(now) / 2);
            let count = u128::try_from(left.len()).unwrap_or(u128::MAX);
            let needed = time.map_or(0, |time| count.div_ceil(ticks(time).max(1)));
            per_tick = usize::try_from(rate.max(needed)).unwrap_or(usize::MAX);
        }
        self.life = Life::Telling { left, per_tick: per_tick.max(1), next: now };
        self.tell_some(now);
    }

    /// Tells those to leave whose turn it is.
    fn tell_some(&mut self, now: Instant) {
        loop {
            let Life::Telling { left, per_tick, next } = &mut self.life else { return };
            if left.is_empty() {
                self.shut_down(Shutdown::Graceful);
                return;
            }
            if now < *next {
                return;
            }
            *next = *next + TICK;
            let count = (*per_tick).min(left.len());
            let batch: Vec<ClientId> = left.drain(..count).collect();
            for client in batch {
                self.tell(client, Event::Terminate(Shutdown::Graceful));
            }
        }
    }
}
