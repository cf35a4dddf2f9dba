//! Carries out what the hub orders.

use std::future::poll_fn;
use std::io::IoSlice;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pgwire_core::encode;
use pool_router::auth_query::{Answers, AuthOrder, AuthQuery, AuthQueryError, AuthQueryTurn};
use pool_router::catalogue::{Digest, Lookup, LookupError, LookupOrder, LookupPlan, LookupTurn};
use pool_router::hub::CancelOrder;
use pool_router::io::{Io, Transfer};
use pool_router::link::Link;
use pool_router::login::{ConnectError, Login, LoginPlan, LoginTurn};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::dial::dial;
use crate::shared::{Shared, with_buffers};
use crate::socket::{Socket, TaskIo};
use crate::tasks::{Alarm, random};

/// Opens and logs in a server connection, and reports the outcome.
pub(crate) fn connect(shared: Arc<Shared>, plan: LoginPlan) {
    tokio::spawn(async move {
        let server = plan.server;
        match log_in(&shared, plan).await {
            Ok(link) => shared.with_hub(|hub, now| hub.connected(link, now)),
            Err(error) => shared.with_hub(|hub, now| hub.connect_failed(server, error, now)),
        }
    });
}

async fn log_in(shared: &Shared, plan: LoginPlan) -> Result<Box<Link<Socket>>, ConnectError> {
    let dialled = within(plan.connect_timeout, dial(&plan.host, plan.port)).await;
    let socket = match dialled {
        Some(Ok(socket)) => socket,
        Some(Err(error)) => return Err(ConnectError::Dial(error.to_string().into())),
        None => return Err(ConnectError::Timeout("connecting")),
    };
    let mut login = Login::new(plan, socket, random(), shared.now());
    let mut alarm = Alarm::default();
    loop {
        let turn = poll_fn(|cx| {
            loop {
                let now = shared.now();
                match with_buffers(|buffers| login.drive(&mut TaskIo(cx), buffers, now)) {
                    LoginTurn::Wait(deadline) => {
                        if !alarm.set(shared, deadline, cx) {
                            return Poll::Pending;
                        }
                    }
                    turn => return Poll::Ready(turn),
                }
            }
        })
        .await;
        match turn {
            LoginTurn::Done(link) => return Ok(link),
            LoginTurn::Failed(error) => return Err(error),
            LoginTurn::Derive(job) => {
                let key = shared.derive(job).await;
                login.resume(key)?;
            }
            LoginTurn::Wait(_) => {}
        }
    }
}

/// Looks up a catalogue over a connection of its own, and reports the outcome.
pub(crate) fn look_up(shared: Arc<Shared>, plan: LookupPlan) {
    tokio::spawn(async move {
        let LookupPlan { login, order } = plan;
        let result = match log_in(&shared, login).await {
            Ok(link) => ask(&shared, &order, link).await,
            Err(error) => Err(error.into()),
        };
        shared.with_hub(|hub, now| hub.looked_up(&order, result, now));
    });
}

async fn ask(
    shared: &Shared,
    order: &LookupOrder,
    link: Box<Link<Socket>>,
) -> Result<Digest, LookupError> {
    let mut lookup = Lookup::new(order, link, shared.now());
    let mut alarm = Alarm::default();
    poll_fn(|cx| {
        loop {
            let now = shared.now();
            match with_buffers(|buffers| lookup.drive(&mut TaskIo(cx), buffers, now)) {
                LookupTurn::Wait(deadline) => {
                    if !alarm.set(shared, deadline, cx) {
                        return Poll::Pending;
                    }
                }
                LookupTurn::Done(result) => return Poll::Ready(result),
            }
        }
    })
    .await
}

/// Asks a server who somebody is, and reports the answer.
pub(crate) fn authenticate(shared: Arc<Shared>, mut order: AuthOrder<Socket>) {
    tokio::spawn(async move {
        let link = match order.take_link() {
            Some(link) => Ok(link),
            None => log_in(&shared, order.login().clone()).await,
        };
        let result = match link {
            Ok(link) => find_out(&shared, &order, link).await,
            Err(error) => Err(error.into()),
        };
        shared.with_hub(|hub, now| hub.authenticated(order, result, now));
    });
}

async fn find_out(
    shared: &Shared,
    order: &AuthOrder<Socket>,
    link: Box<Link<Socket>>,
) -> Result<Answers<Socket>, AuthQueryError> {
    let mut query = AuthQuery::new(order, link, shared.now());
    let mut alarm = Alarm::default();
    poll_fn(|cx| {
        loop {
            let now = shared.now();
            match with_buffers(|buffers| query.drive(&mut TaskIo(cx), buffers, now)) {
                AuthQueryTurn::Wait(deadline) => {
                    if !alarm.set(shared, deadline, cx) {
                        return Poll::Pending;
                    }
                }
                AuthQueryTurn::Done(result) => return Poll::Ready(result),
            }
        }
    })
    .await
}

/// Says goodbye and closes.
pub(crate) fn close(link: Link<Socket>) {
    let mut socket = link.into_socket();
    let mut goodbye = Vec::new();
    encode::terminate(&mut goodbye);
    // Whether it goes out does not matter: the socket is closed either way.
    let mut cx = Context::from_waker(std::task::Waker::noop());
    let _: Transfer = TaskIo(&mut cx).write(&mut socket, &[IoSlice::new(&goodbye)]);
}

/// Sends a cancel request and waits until the server has taken it.
pub(crate) fn cancel(shared: Arc<Shared>, order: CancelOrder) {
    tokio::spawn(async move {
        let mut packet = Vec::new();
        encode::cancel_request(&mut packet, &order.key);
        let sent = within(order.timeout, async {
            match dial(&order.host, order.port).await? {
                Socket::Tcp(mut stream) => {
                    stream.write_all(&packet).await?;
                    stream.read(&mut [0]).await
                }
                Socket::Unix(mut stream) => {
                    stream.write_all(&packet).await?;
                    stream.read(&mut [0]).await
                }
            }
        });
        if !matches!(sent.await, Some(Ok(0))) {
            tracing::warn!(node = order.server.node.0, "a cancel request was not taken");
        }
        shared.with_hub(|hub, now| hub.cancel_finished(order.server, now));
    });
}

async fn within<F: Future>(limit: Option<Duration>, future: F) -> Option<F::Output> {
    match limit {
        Some(limit) => timeout(limit, future).await.ok(),
        None => Some(future.await),
    }
}
