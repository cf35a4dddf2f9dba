//! Asking servers who somebody is, as the hub orders it.

use std::time::Duration;

use super::{Event, World};
use crate::auth_query::{AuthOrder, AuthQuery, AuthQueryError, AuthQueryTurn};
use crate::login::{ConnectError, Login, LoginTurn};
use crate::testing::fake_pg::Health;
use crate::testing::net::{Peer, Socket, Task};

/// A question: a login, or a connection that is there, and what is asked over it.
#[derive(Debug)]
pub(super) struct Question {
    order: Option<Box<AuthOrder<Socket>>>,
    login: Option<Box<Login<Socket>>>,
    query: Option<Box<AuthQuery<Socket>>>,
}

impl Question {
    pub(super) fn new(order: Box<AuthOrder<Socket>>) -> Self {
        Self { order: Some(order), login: None, query: None }
    }

    pub(super) fn is_done(&self) -> bool {
        self.order.is_none()
    }
}

impl World {
    pub(super) fn dial_question(&mut self, index: usize) {
        let now = self.scene.now;
        let Some(order) = &mut self.questions[index].order else { return };
        if let Some(link) = order.take_link() {
            let query = AuthQuery::new(order, link, now);
            self.questions[index].query = Some(Box::new(query));
            return self.drive_question(index);
        }
        let plan = order.login().clone();
        let node = plan.server.node.index();
        match self.nodes[node].health {
            Health::Down => {
                self.question_failed(index, ConnectError::Dial("connection refused".into()));
            }
            Health::Hanging => {
                let timeout = plan.connect_timeout.unwrap_or(Duration::from_secs(100));
                let error = ConnectError::Timeout("connecting");
                self.at(now + timeout, Event::QuestionFailed(index, error));
            }
            Health::Up | Health::Starting | Health::Full => {
                let socket = self.open(Peer::Node(node));
                self.nodes[node].accept(socket.conn);
                self.asides.insert(socket.conn);
                let nonce = self.entropy.bytes();
                let login = Login::new(plan, socket, nonce, now);
                self.questions[index].login = Some(Box::new(login));
                self.drive_question(index);
            }
        }
    }

    pub(super) fn question_failed(&mut self, index: usize, error: ConnectError) {
        self.question_ended(index, Err(error.into()));
    }

    fn question_ended(
        &mut self,
        index: usize,
        result: Result<crate::auth_query::Answers<Socket>, AuthQueryError>,
    ) {
        self.scene.note(|| format!("question {index} ends: {:?}", result.as_ref().err()));
        let question = &mut self.questions[index];
        question.login = None;
        question.query = None;
        let order = question.order.take();
        self.net.close_dropped();
        if let Some(order) = order {
            self.hub.authenticated(*order, result, self.scene.now);
        }
        self.obey();
    }

    pub(super) fn drive_question(&mut self, index: usize) {
        let task = Task::Question(index);
        self.net.running = Some(task);
        let now = self.scene.now;
        loop {
            let question = &mut self.questions[index];
            let Some(order) = &question.order else { return };
            if let Some(query) = &mut question.query {
                match query.drive(&mut self.net, &mut self.buffers, now) {
                    AuthQueryTurn::Wait(deadline) => return self.alarm(deadline, task),
                    AuthQueryTurn::Done(result) => return self.question_ended(index, result),
                }
            }
            let Some(login) = &mut question.login else { return };
            match login.drive(&mut self.net, &mut self.buffers, now) {
                LoginTurn::Derive(job) => {
                    if let Err(error) = login.resume(job.run()) {
                        return self.question_ended(index, Err(error.into()));
                    }
                }
                LoginTurn::Wait(deadline) => return self.alarm(deadline, task),
                LoginTurn::Done(link) => {
                    question.login = None;
                    question.query = Some(Box::new(AuthQuery::new(order, link, now)));
                }
                LoginTurn::Failed(error) => return self.question_ended(index, Err(error.into())),
            }
        }
    }
}
