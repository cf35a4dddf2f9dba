//! The hub's part in finding out who clients are: orders to ask servers, and what comes of them.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use pgwire_core::auth::{AuthError, Method, ScramKeys, Secret};
use pgwire_core::sqlstate::SqlState;
use pgwire_core::time::Instant;

use super::{Command, Event, Hub, IdentityEntry};
use crate::auth_query::{
    Answer, Answers, AuthOrder, AuthQueryError, AuthTask, Check, Credentials, Derivation, Found,
};
use crate::identity::Identity;
use crate::ids::{ClientId, NodeId, ServerId};
use crate::link::Link;
use crate::login::{ConnectError, LoginPlan};
use crate::pool::FailureKind;

/// After so long without a question the connection for them is closed.
const LINK_IDLE_TIME: Duration = Duration::from_secs(60);

/// The number of the batch of names among the tickets of checks.
const BATCH: u32 = 0;

/// Why a password could not be asked for, or not be tried.
#[derive(Debug, Clone)]
pub(crate) enum AskError {
    /// No server could be asked; this is what was tried last.
    Connect(NodeId, Arc<ConnectError>),
    /// The question is at fault; it is in the log.
    Query,
}

/// What a login that was tried has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Checked {
    /// The server takes the client as it is.
    LoggedIn,
    /// The server asks for a password, by this method.
    Asks(Method),
}

/// What the hub holds for asking.
#[derive(Debug)]
pub(super) struct Asking<S> {
    pub(super) credentials: Credentials,
    /// The connection for `weir_auth_query`, since when it is idle.
    link: Option<(Box<Link<S>>, Instant)>,
    /// What is known of the asking role's own password.
    secret: Option<Secret>,
    /// Until when the connection is not kept.
    vacated: Option<Instant>,
}

impl<S> Default for Asking<S> {
    fn default() -> Self {
        Self { credentials: Credentials::default(), link: None, secret: None, vacated: None }
    }
}

impl<S> Asking<S> {
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.link.as_ref().map(|(_, since)| *since + LINK_IDLE_TIME)
    }

    /// The connection, if it has been idle for too long.
    pub(super) fn take_old_link(&mut self, now: Instant) -> Option<Box<Link<S>>> {
        self.link.take_if(|(_, since)| now >= *since + LINK_IDLE_TIME).map(|(link, _)| link)
    }

    /// The connection, because nobody is to be connected to its database until then.
    pub(super) fn vacate(&mut self, until: Instant) -> Option<Box<Link<S>>> {
        self.vacated = Some(until);
        self.take_link()
    }

    /// The connection, because the service ends or the settings have changed.
    pub(super) fn take_link(&mut self) -> Option<Box<Link<S>>> {
        self.link.take().map(|(link, _)| link)
    }
}

impl<S, D: Clone> Hub<S, D> {
    /// An order to ask a server has ended.
    pub fn authenticated(
        &mut self,
        order: AuthOrder<S>,
        result: Result<Answers<S>, AuthQueryError>,
        now: Instant,
    ) {
        match order.task {
            AuthTask::Fetch { .. } => self.fetched(&order, result, now),
            AuthTask::Login => self.checked(&order, result, now),
        }
        self.ask(now);
    }

    fn fetched(
        &mut self,
        order: &AuthOrder<S>,
        result: Result<Answers<S>, AuthQueryError>,
        now: Instant,
    ) {
        let node = order.login.server.node;
        let answers = match result {
            Ok(found) => {
                // Whether it is still alive is found out when it is used.
                let vacated = self.asking.vacated.is_some_and(|until| now < until);
                if vacated || self.shutdown.is_some() || !self.is_for_asking(&order.login) {
                    self.commands.push_back(Command::Close(found.link));
                } else {
                    self.asking.link = Some((found.link, now));
                }
                found.answers
            }
            Err(error) => {
                let elsewhere = matches!(
                    &error,
                    AuthQueryError::Connect(error) if error.kind() == FailureKind::Unreachable
                );
                let again = order.reused && matches!(error, AuthQueryError::Closed);
                if let Some(batch) = self.asking.credentials.retry_batch() {
                    batch.attempt += usize::from(elsewhere);
                    let attempt = batch.attempt;
                    if again || elsewhere && attempt < self.settings.backends.len() {
                        return self.order_batch();
                    }
                }
                self.warn_of_asking(&error.to_string(), now);
                let found = match error {
                    AuthQueryError::Connect(error) if elsewhere => {
                        Err(AskError::Connect(node, Arc::new(error)))
                    }
                    _ => self.nothing_found(),
                };
                for client in self.batch_ended().into_iter().flat_map(|(_, clients)| clients) {
                    self.tell(client, Event::Found(found.clone()));
                }
                return;
            }
        };
        let asked = self.asking.credentials.retry_batch().map_or(now, |batch| batch.asked);
        let names = self.batch_ended();
        for ((name, clients), answer) in names.into_iter().zip(answers) {
            let found = self.judge(&name, answer, asked, now);
            for client in clients {
                self.tell(client, Event::Found(found.clone()));
            }
        }
    }

    /// Whether a connection is one that a new order would make. The settings may have changed.
    fn is_for_asking(&self, login: &LoginPlan) -> bool {
        let user = self.settings.authenticator().unwrap_or_default();
        let backend = self.settings.backends.get(login.server.node.index());
        *login.identity.user == *user.as_bytes()
            && *login.identity.database == *self.settings.auth_dbname.as_bytes()
            && !self.settings.is_removed(login.server.node)
            && backend.is_some_and(|it| (&it.host, it.port) == (&login.host, login.port))
    }

    /// What an answer means to those who wait for it.
    fn judge(
        &mut self,
        name: &[u8],
        answer: Answer,
        asked: Instant,
        now: Instant,
    ) -> Result<Option<Secret>, AskError> {
        let fault = match answer {
            Answer::Secret(secret) => {
                self.asking.credentials.remember(name, &secret, asked);
                return Ok(Some(secret));
            }
            Answer::Nothing => {
                self.asking.credentials.forget_role(name);
                return Ok(None);
            }
            Answer::Refused { code, message } => format!("{message} ({code})"),
            Answer::Unfit(why) => why.to_owned(),
        };
        self.warn_of_asking(&fault, now);
        self.nothing_found()
    }

    /// What clients are told if the question itself fails.
    fn nothing_found(&self) -> Result<Option<Secret>, AskError> {
        // Nobody has said that sr_check_user may do this: then it is as if there were no such role.
        if self.settings.auth_user.is_some() { Err(AskError::Query) } else { Ok(None) }
    }

    fn warn_of_asking(&mut self, why: &str, now: Instant) {
        if self.asking.credentials.may_warn(now) {
            let role = self.settings.authenticator().unwrap_or_default();
            tracing::warn!(
                role,
                "weir_auth_query fails: {why}; name a role that may run it (weir_auth_user) or give \
                 the passwords of roles in pool_passwd"
            );
        }
    }

    fn batch_ended(&mut self) -> Vec<(Box<[u8]>, Vec<ClientId>)> {
        self.asking.credentials.batch_ended().map(|batch| batch.names).unwrap_or_default()
    }

    fn checked(
        &mut self,
        order: &AuthOrder<S>,
        result: Result<Answers<S>, AuthQueryError>,
        now: Instant,
    ) {
        let ticket = order.login.server.generation;
        let node = order.login.server.node;
        let outcome = match result {
            Ok(found) => {
                self.commands.push_back(Command::Close(found.link));
                Ok(Checked::LoggedIn)
            }
            Err(AuthQueryError::Connect(ConnectError::Auth(AuthError::SecretRequired(method)))) => {
                Ok(Checked::Asks(method))
            }
            Err(AuthQueryError::Connect(error)) => Err(error),
            Err(_) => Err(ConnectError::Closed),
        };
        if let Err(error) = &outcome
            && error.kind() == FailureKind::Unreachable
            && let Some(check) = self.asking.credentials.retry_check(ticket)
        {
            check.attempt += 1;
            if check.attempt < self.settings.backends.len() {
                return self.order_check(ticket);
            }
        }
        let method = match &outcome {
            Ok(Checked::LoggedIn) => Some(Method::Trust),
            Ok(Checked::Asks(method)) => Some(*method),
            Err(_) => None,
        };
        let ended = self.asking.credentials.check_ended(ticket, method, now);
        let outcome = outcome.map_err(|error| (node, Arc::new(error)));
        for client in ended.into_iter().flat_map(|check| check.waiting) {
            self.tell(client, Event::Checked(outcome.clone()));
        }
    }

    /// Orders what is due.
    fn ask(&mut self, now: Instant) {
        if self.shutdown.is_some() {
            return;
        }
        if self.asking.credentials.next_batch(now).is_some() {
            self.order_batch();
        }
        while let Some((ticket, _)) = self.asking.credentials.next_check() {
            self.order_check(ticket);
        }
    }

    fn order_batch(&mut self) {
        let Some(batch) = self.asking.credentials.retry_batch() else { return };
        let attempt = batch.attempt;
        let names = batch.names.iter().map(|(name, _)| name.clone()).collect();
        let link = self.asking.link.take().map(|(link, _)| link);
        let user = self.settings.authenticator().unwrap_or_default().as_bytes().into();
        let database = self.settings.auth_dbname.as_bytes().into();
        let secret = self.asking.secret.clone();
        let timeout = self.settings.auth_query_timeout;
        let Some(login) = self.plan_for_asking(user, database, secret, attempt, BATCH) else {
            return;
        };
        let task = AuthTask::Fetch { sql: self.settings.auth_query.as_str().into(), names };
        let order = AuthOrder { login, reused: link.is_some(), link, task, timeout };
        self.commands.push_back(Command::Authenticate(Box::new(order)));
    }

    fn order_check(&mut self, ticket: u32) {
        let Some(check) = self.asking.credentials.retry_check(ticket) else { return };
        let Check { user, database, secret, attempt, .. } = check;
        let (user, database, secret) = (user.clone(), database.clone(), secret.clone());
        let attempt = *attempt;
        let Some(mut login) = self.plan_for_asking(user, database, secret, attempt, ticket) else {
            return;
        };
        login.tls = login.tls.without_certificate();
        let task = AuthTask::Login;
        let order = AuthOrder { login, reused: false, link: None, task, timeout: None };
        self.commands.push_back(Command::Authenticate(Box::new(order)));
    }

    /// A login outside the pools: to the primary, or where that could not be reached to the next.
    fn plan_for_asking(
        &self,
        user: Box<[u8]>,
        database: Box<[u8]>,
        secret: Option<Secret>,
        attempt: usize,
        ticket: u32,
    ) -> Option<LoginPlan> {
        let primary = self.settings.primary_node();
        let others = (0..self.settings.backends.len())
            .filter_map(|index| u16::try_from(index).ok())
            .map(NodeId)
            .filter(|node| *node != primary && !self.settings.is_removed(*node));
        let node = std::iter::once(primary).chain(others).nth(attempt).unwrap_or(primary);
        let backend = self.settings.backends.get(node.index())?;
        let name = (b"application_name".as_slice().into(), b"pgweir".as_slice().into());
        let identity = Identity { user, database, parameters: vec![name], credential: None };
        Some(LoginPlan {
            tls: self.context.tls.clone(),
            // Of no pool.
            server: ServerId { node, index: u32::MAX, generation: ticket },
            host: backend.host.clone(),
            port: backend.port,
            identity: Arc::new(identity),
            secret,
            must_be_primary: false,
            connect_timeout: backend.connect_timeout,
            login_timeout: self.settings.server_login_timeout,
            pipeline_limit: 1,
        })
    }

    // --- for relays -----------------------------------------------------------------------------

    /// A role's password: now, or by [`Event::Found`]. `secret` is that of the asking role.
    pub(crate) fn find_password(
        &mut self,
        client: ClientId,
        user: &[u8],
        secret: Option<Secret>,
        now: Instant,
    ) -> Option<Secret> {
        self.asking.secret = secret;
        let cache_time = self.settings.auth_cache_time;
        match self.asking.credentials.find(client, user, cache_time, now) {
            Found::Secret(secret) => Some(secret),
            Found::Wait => {
                self.ask(now);
                None
            }
        }
    }

    /// How the servers ask this identity for its password: now, or by [`Event::Checked`].
    pub(crate) fn find_method(
        &mut self,
        client: ClientId,
        identity: &Identity,
        now: Instant,
    ) -> Option<Method> {
        let Identity { user, database, .. } = identity;
        let method = self.asking.credentials.method(client, user, database, now);
        self.ask(now);
        method
    }

    /// Has a server say whether it takes this password: by [`Event::Checked`].
    pub(crate) fn try_password(
        &mut self,
        client: ClientId,
        identity: &Identity,
        secret: Secret,
        now: Instant,
    ) {
        let Identity { user, database, .. } = identity;
        self.asking.credentials.try_login(client, user, database, secret);
        self.ask(now);
    }

    /// Keys that were derived for a role before, from the password with this digest.
    pub(crate) fn derivation(&self, user: &[u8], source: Option<[u8; 32]>) -> Option<ScramKeys> {
        self.asking.credentials.derivation(user, source).cloned()
    }

    /// Keys that were derived for a role.
    pub(crate) fn derived(&mut self, user: &[u8], derivation: Derivation) {
        self.asking.credentials.derived(user, derivation);
    }

    /// A client could not show who it is. It gives its place back and is to be told after this time.
    pub(crate) fn login_failed(
        &mut self,
        client: ClientId,
        user: &[u8],
        from: Option<IpAddr>,
        now: Instant,
    ) -> Duration {
        self.asking.credentials.doubt(user);
        self.step_back(client);
        self.asking.credentials.failed(from, self.settings.auth_failure_delay, now)
    }

    /// What servers are logged in to with for an identity. Keys that a client has proved lately go
    /// before those that were proved when the identity was new: the password may have changed since.
    pub(super) fn secret_of(&self, entry: &IdentityEntry) -> Option<Secret> {
        let newer = match &entry.secret {
            Some(Secret::ScramKeys(_)) => self.asking.credentials.keys(&entry.identity.user),
            _ => None,
        };
        newer.cloned().map(Secret::ScramKeys).or_else(|| entry.secret.clone())
    }

    /// A server would not take what is known of a password: it may have changed.
    pub(super) fn password_refused(&mut self, user: &[u8], error: &ConnectError) {
        let refused = match error {
            ConnectError::Auth(_) => true,
            ConnectError::Refused { code, .. } => *code == SqlState::INVALID_PASSWORD,
            _ => false,
        };
        if refused {
            self.asking.credentials.doubt(user);
        }
    }
}
