//! Carries out what the hub orders.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use pool_router::auth_query::{Answers, AuthOrder, AuthQuery, AuthQueryError, AuthQueryTurn};
use pool_router::cancel::{CancelRequest, CancelTurn};
use pool_router::catalogue::{Digest, Lookup, LookupError, LookupOrder, LookupPlan, LookupTurn};
use pool_router::hub::CancelOrder;
use pool_router::link::Link;
use pool_router::login::{ConnectError, Login, LoginPlan, LoginTurn};
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
pub(crate) fn close(mut link: Link<Socket>) {
    let mut cx = Context::from_waker(std::task::Waker::noop());
    link.say_goodbye(&mut TaskIo(&mut cx));
}

/// Sends a cancel request and waits until the server has taken it.
pub(crate) fn cancel(shared: Arc<Shared>, order: CancelOrder) {
    tokio::spawn(async move {
        if let Err(error) = deliver(&shared, &order).await {
            let node = order.server.node.0;
            tracing::warn!(node, "a cancel request was not taken: {error}");
        }
        shared.with_hub(|hub, now| hub.cancel_finished(&order, now));
    });
}

async fn deliver(shared: &Shared, order: &CancelOrder) -> Result<(), ConnectError> {
    let deadline = order.timeout.map(|timeout| shared.now() + timeout);
    let socket = match within(order.timeout, dial(&order.host, order.port)).await {
        Some(Ok(socket)) => socket,
        Some(Err(error)) => return Err(ConnectError::Dial(error.to_string().into())),
        None => return Err(ConnectError::Timeout("connecting")),
    };
    let mut request = CancelRequest::new(order, socket, deadline);
    let mut alarm = Alarm::default();
    poll_fn(|cx| {
        loop {
            match request.drive(&mut TaskIo(cx), shared.now()) {
                CancelTurn::Wait(deadline) => {
                    if !alarm.set(shared, deadline, cx) {
                        return Poll::Pending;
                    }
                }
                CancelTurn::Done(result) => return Poll::Ready(result),
            }
        }
    })
    .await
}

async fn within<F: Future>(limit: Option<Duration>, future: F) -> Option<F::Output> {
    match limit {
        Some(limit) => timeout(limit, future).await.ok(),
        None => Some(future.await),
    }
}
