//! Requests and replies in any order, also in those that no sane peer uses.
//!
//! Each byte below 128 sends a request, each byte above takes a reply.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pgwire_core::pipeline::{Disposition, FakeReply, Pipeline, Request, Token, Verdict};
use pgwire_core::tag::BackendTag;
use pgwire_core::txn::TransactionStatus;

/// The least bound that a pipeline takes.
const LIMIT: usize = 16;

const REQUESTS: [Request; 12] = [
    Request::Parse,
    Request::Bind,
    Request::Describe,
    Request::Execute,
    Request::Close,
    Request::Flush,
    Request::Sync,
    Request::Query,
    Request::FunctionCall,
    Request::CopyData,
    Request::CopyDone,
    Request::CopyFail,
];

const REPLIES: [BackendTag; 18] = [
    BackendTag::READY,
    BackendTag::ERROR,
    BackendTag::COMMAND_COMPLETE,
    BackendTag::PARSE_COMPLETE,
    BackendTag::BIND_COMPLETE,
    BackendTag::CLOSE_COMPLETE,
    BackendTag::ROW_DESCRIPTION,
    BackendTag::NO_DATA,
    BackendTag::DATA_ROW,
    BackendTag::EMPTY_QUERY,
    BackendTag::PORTAL_SUSPENDED,
    BackendTag::COPY_IN,
    BackendTag::COPY_BOTH,
    BackendTag::NOTICE,
    BackendTag::NOTIFICATION,
    BackendTag::PARAMETER_STATUS,
    BackendTag::AUTHENTICATION,
    BackendTag::BACKEND_KEY_DATA,
];

const STATUSES: [TransactionStatus; 3] =
    [TransactionStatus::Idle, TransactionStatus::InTransaction, TransactionStatus::Failed];

fuzz_target!(|data: &[u8]| {
    let mut pipeline = Pipeline::new(LIMIT);
    for (at, byte) in data.iter().enumerate() {
        let choice = usize::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            let room = pipeline.has_room(1);
            let disposition =
                if choice & 0x40 == 0 { Disposition::Forward } else { Disposition::Swallow };
            let token = Token(u32::try_from(at).expect("inputs are short"));
            let outcome = match REQUESTS.get(choice & 0x0f) {
                Some(request) => pipeline.sent(*request, disposition, token),
                None if choice & 1 == 0 => {
                    pipeline.fake(FakeReply::ParseComplete, Token::default())
                }
                None => pipeline.fake(FakeReply::CloseComplete, Token::default()),
            };
            assert!(outcome.is_ok() || !room, "refused only when it is full");
        } else {
            let tag = REPLIES[choice % REPLIES.len()];
            let status = STATUSES[choice / 32 % 3];
            let answer = pipeline.received(tag, (tag == BackendTag::READY).then_some(status));
            match answer {
                // The connection is dropped.
                Err(_) => return,
                Ok(Verdict::Ready(_, reported)) => {
                    assert_eq!((reported, tag), (status, BackendTag::READY));
                    assert_eq!(pipeline.status(), status);
                }
                Ok(Verdict::CopyIn(_)) => assert_eq!(tag, BackendTag::COPY_IN),
                Ok(Verdict::Failed(..)) => assert_eq!(tag, BackendTag::ERROR),
                Ok(_) => {}
            }
        }
        while pipeline.poll_fake().is_some() {}

        // A Sync within copy-in is taken at any bound, so that the client can end its COPY.
        assert!(pipeline.in_flight() <= LIMIT + 1, "{} in flight", pipeline.in_flight());
        assert!(pipeline.stop_set().contains(BackendTag::READY), "its end is always seen");
        assert!(pipeline.stop_set().contains(BackendTag::ERROR), "errors are always seen");
        if pipeline.is_releasable() {
            assert!(pipeline.is_settled());
            assert!(!pipeline.is_copying_in() && !pipeline.is_unpredictable());
            assert_eq!(pipeline.status(), TransactionStatus::Idle);
            assert_eq!(pipeline.in_flight(), 0, "nothing is under way");
        }
    }
});
