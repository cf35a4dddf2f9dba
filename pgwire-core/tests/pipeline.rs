//! The expected-replies queue: its rules one by one.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use pgwire_core::pipeline::Disposition::{Forward, Swallow};
use pgwire_core::pipeline::{FakeReply, Pipeline, PipelineFull, Request, Token, Verdict};
use pgwire_core::tag::BackendTag;
use pgwire_core::txn::TransactionStatus;

use Request::{
    Bind, Close, CopyData, CopyDone, CopyFail, Describe, Execute, Flush, FunctionCall, Parse,
    Query, Sync,
};

const IDLE: TransactionStatus = TransactionStatus::Idle;

/// Sends requests of the client; the token of each is its place, from 1.
fn send(pipeline: &mut Pipeline, requests: &[Request]) {
    for (request, token) in requests.iter().zip(1..) {
        pipeline.sent(*request, Forward, Token(token)).unwrap();
    }
}

fn get(pipeline: &mut Pipeline, tag: BackendTag) -> Verdict {
    let status = (tag == BackendTag::READY).then_some(IDLE);
    pipeline.received(tag, status).unwrap()
}

/// The verdicts on a server's messages, given by their first bytes.
fn verdicts(pipeline: &mut Pipeline, tags: &str) -> Vec<Verdict> {
    tags.bytes().map(|byte| get(pipeline, BackendTag::new(byte))).collect()
}

fn completed(token: u32) -> Verdict {
    Verdict::Completed(Forward, Token(token))
}

fn failed(token: u32) -> Verdict {
    Verdict::Failed(Forward, Token(token))
}

const READY: Verdict = Verdict::Ready(Forward, IDLE);
const REPLY: Verdict = Verdict::Reply(Forward);

/// Sends all, receives all, and says whether the pipeline is settled after each message.
fn settled_after(requests: &[Request], tags: &str) -> Vec<bool> {
    let mut pipeline = Pipeline::default();
    send(&mut pipeline, requests);
    tags.bytes()
        .map(|byte| {
            get(&mut pipeline, BackendTag::new(byte));
            pipeline.is_settled()
        })
        .collect()
}

#[test]
fn a_new_pipeline_is_free() {
    let pipeline = Pipeline::default();
    assert!(pipeline.is_settled() && pipeline.is_releasable());
    assert_eq!(pipeline.in_flight(), 0);
}

#[test]
fn one_of_each() {
    let mut pipeline = Pipeline::default();
    send(&mut pipeline, &[Parse, Bind, Describe, Execute, Close, Sync]);
    let expected =
        [completed(1), completed(2), REPLY, completed(3), REPLY, completed(4), completed(5), READY];
    assert_eq!(verdicts(&mut pipeline, "12tTDC3Z"), expected);
    assert!(pipeline.is_releasable());
}

#[test]
fn an_error_at_each_position_of_a_batch_discards_up_to_the_sync() {
    let batch = [Parse, Bind, Describe, Execute, Close];
    let good = ["1", "2", "T", "C", "3"];
    for at in 0..batch.len() {
        // The Sync is there when the error comes, and what follows it is not discarded.
        let mut pipeline = Pipeline::default();
        let mut requests = batch.to_vec();
        requests.extend([Sync, Parse, Sync]);
        send(&mut pipeline, &requests);
        for (reply, token) in good.iter().take(at).zip(1..) {
            assert_eq!(verdicts(&mut pipeline, reply), [completed(token)]);
        }
        let token = u32::try_from(at).unwrap() + 1;
        let expected = [failed(token), READY, completed(7), READY];
        assert_eq!(verdicts(&mut pipeline, "EZ1Z"), expected, "{at}");
        assert!(pipeline.is_settled(), "{at}");

        // The Sync comes after the error, with more in between.
        let mut pipeline = Pipeline::default();
        send(&mut pipeline, &batch);
        for reply in good.iter().take(at) {
            verdicts(&mut pipeline, reply);
        }
        assert_eq!(verdicts(&mut pipeline, "E"), [failed(token)]);
        assert!(!pipeline.is_settled());
        send(&mut pipeline, &[Bind, Query, FunctionCall, CopyData, Flush]);
        assert_eq!(pipeline.in_flight(), 0, "all of that is discarded");
        assert!(!pipeline.is_settled());
        send(&mut pipeline, &[Sync]);
        assert_eq!(verdicts(&mut pipeline, "Z"), [READY]);
        assert!(pipeline.is_settled(), "{at}");
    }
}

#[test]
fn a_sync_may_fail_itself() {
    let mut pipeline = Pipeline::default();
    send(&mut pipeline, &[Execute, Sync]);
    assert_eq!(verdicts(&mut pipeline, "CEZ"), [completed(1), failed(2), READY]);
    assert!(pipeline.is_settled());
}

#[test]
fn flush_leaves_the_batch_open() {
    assert_eq!(settled_after(&[Parse, Flush], "1"), [false]);
    assert_eq!(settled_after(&[Parse, Flush, Sync], "1Z"), [false, true]);
    let mut pipeline = Pipeline::default();
    send(&mut pipeline, &[Flush]);
    assert!(pipeline.is_settled(), "a Flush alone opens nothing");
}

#[test]
fn query_and_function_call_close_an_open_batch() {
    assert_eq!(settled_after(&[Execute, Query], "CTDCZ"), [false, false, false, false, true]);
    assert_eq!(settled_after(&[Execute, FunctionCall], "CVZ"), [false, false, true]);
    // ... but not when they are discarded.
    assert_eq!(settled_after(&[Execute, Query], "E"), [false]);
    assert_eq!(settled_after(&[Execute, FunctionCall, Sync], "EZ"), [false, true]);
}

#[test]
fn simple_queries() {
    for (replies, what) in [
        ("IZ", "empty"),
        ("CZ", "no rows"),
        ("TDDCCTCZ", "several"),
        ("TDEZ", "an error amid rows"),
        ("HddcCZ", "COPY TO"),
        ("HdEZ", "COPY TO that fails"),
        ("NSTASDNCZ", "with notices"),
    ] {
        let settled = settled_after(&[Query], replies);
        let end = settled.len() - 1;
        assert!(settled.iter().take(end).all(|s| !s), "{what}: {settled:?}");
        assert_eq!(settled.last(), Some(&true), "{what}");
    }
}

#[test]
fn execute_ends_in_three_ways() {
    for end in ["DDC", "I", "DDs", "HddcC"] {
        let mut pipeline = Pipeline::default();
        send(&mut pipeline, &[Execute, Execute, Sync]);
        let got = verdicts(&mut pipeline, end);
        assert_eq!(got.last(), Some(&completed(1)), "{end}");
        assert_eq!(verdicts(&mut pipeline, "CZ"), [completed(2), READY]);
    }
}

#[test]
fn function_call() {
    let mut pipeline = Pipeline::default();
    send(&mut pipeline, &[FunctionCall, FunctionCall]);
    assert_eq!(verdicts(&mut pipeline, "VZEZ"), [REPLY, READY, failed(2), READY]);
    assert!(pipeline.is_settled());
}

#[test]
fn a_transaction_block_is_settled_but_not_releasable() {
    for status in [TransactionStatus::InTransaction, TransactionStatus::Failed] {
        let mut pipeline = Pipeline::default();
        send(&mut pipeline, &[Query]);
        get(&mut pipeline, BackendTag::COMMAND_COMPLETE);
        pipeline.received(BackendTag::READY, Some(status)).unwrap();
        assert!(pipeline.is_settled() && !pipeline.is_releasable());
        assert_eq!(pipeline.status(), status);
    }
}

#[test]
fn dispositions_follow_the_requests() {
    let mut pipeline = Pipeline::default();
    pipeline.sent(Parse, Swallow, Token(1)).unwrap();
    pipeline.sent(Bind, Forward, Token(2)).unwrap();
    pipeline.sent(Sync, Forward, Token(3)).unwrap();
    pipeline.sent(Query, Swallow, Token(4)).unwrap();
    assert_eq!(
        verdicts(&mut pipeline, "1N2ZCZ"),
        [
            Verdict::Completed(Swallow, Token(1)),
            Verdict::Asynchronous { during: Some(Forward) },
            completed(2),
            READY,
            Verdict::Reply(Swallow),
            Verdict::Ready(Swallow, IDLE),
        ]
    );
}

#[test]
fn made_up_replies_come_in_their_turn() {
    let mut pipeline = Pipeline::default();
    pipeline.fake(FakeReply::ParseComplete, Token(9)).unwrap();
    assert_eq!(pipeline.poll_fake(), Some((FakeReply::ParseComplete, Token(9))));
    send(&mut pipeline, &[Bind]);
    pipeline.fake(FakeReply::CloseComplete, Token(9)).unwrap();
    pipeline.fake(FakeReply::ParseComplete, Token(9)).unwrap();
    send(&mut pipeline, &[Sync]);
    assert_eq!(pipeline.poll_fake(), None);
    verdicts(&mut pipeline, "2");
    assert!(!pipeline.is_settled());
    assert_eq!(pipeline.poll_fake(), Some((FakeReply::CloseComplete, Token(9))));
    assert_eq!(pipeline.poll_fake(), Some((FakeReply::ParseComplete, Token(9))));
    assert_eq!(pipeline.poll_fake(), None);
    assert_eq!(verdicts(&mut pipeline, "Z"), [READY]);
    assert!(pipeline.is_settled());
}

#[test]
fn made_up_replies_are_discarded_with_their_batch() {
    let mut pipeline = Pipeline::default();
    send(&mut pipeline, &[Bind]);
    pipeline.fake(FakeReply::CloseComplete, Token(9)).unwrap();
    verdicts(&mut pipeline, "E");
    assert_eq!(pipeline.poll_fake(), None);
    pipeline.fake(FakeReply::ParseComplete, Token(9)).unwrap();
    assert_eq!(pipeline.poll_fake(), None, "the server would skip the Parse");
    send(&mut pipeline, &[Sync]);
    pipeline.fake(FakeReply::ParseComplete, Token(9)).unwrap();
    assert_eq!(pipeline.poll_fake(), None);
    verdicts(&mut pipeline, "Z");
    assert_eq!(pipeline.poll_fake(), Some((FakeReply::ParseComplete, Token(9))));
}

#[test]
fn what_nobody_asked_for_is_an_error() {
    let asynchronous = [BackendTag::NOTICE, BackendTag::NOTIFICATION, BackendTag::PARAMETER_STATUS];
    for tag in BackendTag::ALL.iter().copied() {
        let mut pipeline = Pipeline::default();
        let result = pipeline.received(tag, (tag == BackendTag::READY).then_some(IDLE));
        if asynchronous.contains(&tag) || tag == BackendTag::ERROR {
            assert_eq!(result, Ok(Verdict::Asynchronous { during: None }), "{tag:?}");
            assert!(pipeline.is_settled());
        } else {
            assert!(result.is_err(), "{tag:?}");
        }
    }
}

#[test]
fn the_wrong_reply_is_an_error() {
    let right = [
        (Parse, "1E"),
        (Bind, "2E"),
        (Describe, "tTnE"),
        (Execute, "CIsDHdcGE"),
        (Close, "3E"),
        (Sync, "ZE"),
    ];
    for (request, allowed) in right {
        for tag in BackendTag::ALL.iter().copied() {
            let mut pipeline = Pipeline::default();
            send(&mut pipeline, &[request]);
            let result = pipeline.received(tag, (tag == BackendTag::READY).then_some(IDLE));
            let fine = allowed.bytes().chain(*b"NAS").any(|byte| byte == tag.as_byte());
            assert_eq!(result.is_ok(), fine, "{request:?} {tag:?}");
        }
    }
    let mut pipeline = Pipeline::default();
    send(&mut pipeline, &[Query]);
    assert!(pipeline.received(BackendTag::READY, None).is_err(), "without its status");
}

#[test]
fn the_bound_holds_and_copies_can_end_at_it() {
    let mut pipeline = Pipeline::new(16);
    send(&mut pipeline, &[Query; 16]);
    assert!(!pipeline.has_room(1));
    assert_eq!(pipeline.sent(Query, Forward, Token(0)), Err(PipelineFull));
    assert_eq!(pipeline.fake(FakeReply::CloseComplete, Token(9)), Err(PipelineFull));
    verdicts(&mut pipeline, "CZ");
    assert!(pipeline.has_room(1) && !pipeline.has_room(2));

    let mut pipeline = Pipeline::new(16);
    send(&mut pipeline, &[Query]);
    verdicts(&mut pipeline, "G");
    for _ in 0..100 {
        send(&mut pipeline, &[CopyData, Sync, Flush]);
    }
    assert!(pipeline.in_flight() <= 2, "{}", pipeline.in_flight());
    send(&mut pipeline, &[CopyDone]);
    assert_eq!(verdicts(&mut pipeline, "CZ"), [REPLY, READY]);
    assert!(pipeline.is_settled());
}

// --- COPY FROM STDIN ---------------------------------------------------------------------------

#[test]
fn copy_in_by_simple_query() {
    for (data, end) in [
        (&[CopyData, CopyData, CopyDone][..], "CZ"),
        (&[CopyDone], "CZ"),
        (&[CopyFail], "EZ"),
        (&[CopyData, Flush, CopyData, CopyFail], "EZ"),
        (&[CopyData, Sync, CopyData, CopyDone], "CZ"),
    ] {
        // The data waits for the server's word.
        let mut pipeline = Pipeline::default();
        send(&mut pipeline, &[Query]);
        assert_eq!(verdicts(&mut pipeline, "G"), [Verdict::CopyIn(Forward)]);
        assert!(pipeline.is_copying_in());
        send(&mut pipeline, data);
        assert!(!pipeline.is_copying_in() && !pipeline.is_settled());
        verdicts(&mut pipeline, end);
        assert!(pipeline.is_settled(), "{data:?}");

        // The data is sent at once.
        let mut pipeline = Pipeline::default();
        send(&mut pipeline, &[Query]);
        send(&mut pipeline, data);
        send(&mut pipeline, &[Query]);
        verdicts(&mut pipeline, "G");
        assert!(!pipeline.is_copying_in());
        verdicts(&mut pipeline, end);
        assert!(!pipeline.is_settled());
        verdicts(&mut pipeline, "CZ");
        assert!(pipeline.is_settled(), "{data:?}");

        // The COPY fails before it begins, so that all of that is strewn about.
        let answers = if data.contains(&Sync) { "EZZCZ" } else { "EZCZ" };
        let mut pipeline = Pipeline::default();
        send(&mut pipeline, &[Query]);
        send(&mut pipeline, data);
        send(&mut pipeline, &[Query]);
        verdicts(&mut pipeline, answers);
        assert!(pipeline.is_settled(), "{data:?}");
    }
}

#[test]
fn late_copy_data_is_dropped() {
    let mut pipeline = Pipeline::default();
    send(&mut pipeline, &[Query]);
    verdicts(&mut pipeline, "G");
    send(&mut pipeline, &[CopyData]);
    verdicts(&mut pipeline, "E");
    assert!(!pipeline.is_copying_in());
    send(&mut pipeline, &[CopyData, CopyData]);
    verdicts(&mut pipeline, "Z");
    assert!(pipeline.is_settled());
    send(&mut pipeline, &[CopyData, CopyDone]);
    assert!(pipeline.is_settled());
    send(&mut pipeline, &[Query]);
    verdicts(&mut pipeline, "CZ");
    assert!(pipeline.is_settled());
}

#[test]
fn several_copies_in_one_query() {
    let mut pipeline = Pipeline::default();
    send(&mut pipeline, &[Query]);
    verdicts(&mut pipeline, "G");
    send(&mut pipeline, &[CopyData, Sync, CopyDone, CopyData, CopyDone]);
    verdicts(&mut pipeline, "CG");
    assert!(!pipeline.is_copying_in(), "the second was fed ahead");
    verdicts(&mut pipeline, "CZ");
    assert!(pipeline.is_settled());
}

#[test]
fn a_sync_behind_execute_of_a_copy_leaves_the_batch_open() {
    let early = [Bind, Execute, Sync];
    for late in [false, true] {
        let mut pipeline = Pipeline::default();
        send(&mut pipeline, &early[..2]);
        if late {
            verdicts(&mut pipeline, "2G");
            send(&mut pipeline, &early[2..]);
        } else {
            send(&mut pipeline, &early[2..]);
            verdicts(&mut pipeline, "2G");
        }
        assert!(pipeline.is_copying_in());
        send(&mut pipeline, &[CopyData, CopyDone]);
        assert_eq!(verdicts(&mut pipeline, "C"), [completed(2)]);
        assert!(!pipeline.is_settled(), "the transaction is not committed before the next Sync");
        send(&mut pipeline, &[Sync]);
        assert_eq!(verdicts(&mut pipeline, "Z"), [READY]);
        assert!(pipeline.is_releasable());
    }
}

#[test]
fn a_copy_that_fails_may_or_may_not_have_ignored_the_sync_behind_it() {
    for answered in [false, true] {
        for early in [false, true] {
            let mut pipeline = Pipeline::default();
            send(&mut pipeline, &[Bind, Execute]);
            if early {
                send(&mut pipeline, &[Sync]);
                verdicts(&mut pipeline, "2G");
            } else {
                verdicts(&mut pipeline, "2G");
                send(&mut pipeline, &[Sync]);
            }
            send(&mut pipeline, &[CopyData, CopyDone, Sync]);
            assert_eq!(verdicts(&mut pipeline, "EZ"), [failed(2), READY]);
            assert!(!pipeline.is_settled(), "one more ReadyForQuery may come");
            if answered {
                assert_eq!(verdicts(&mut pipeline, "Z"), [READY]);
                assert!(pipeline.is_releasable());
            }
            send(&mut pipeline, &[Query]);
            assert_eq!(verdicts(&mut pipeline, "CZ"), [REPLY, READY]);
            assert!(pipeline.is_releasable());
        }
    }
}

#[test]
fn a_copy_that_fails_at_once_gets_its_sync_answered() {
    let mut pipeline = Pipeline::default();
    send(&mut pipeline, &[Parse, Bind, Execute, Sync]);
    assert_eq!(
        verdicts(&mut pipeline, "12GEZ"),
        [completed(1), completed(2), Verdict::CopyIn(Forward), failed(3), READY]
    );
    assert!(pipeline.is_releasable());
}

#[test]
fn the_answer_to_a_request_of_the_proxy_ends_the_doubt() {
    let mut pipeline = Pipeline::default();
    send(&mut pipeline, &[Execute, Sync]);
    verdicts(&mut pipeline, "G");
    send(&mut pipeline, &[CopyData, CopyFail, Sync]);
    verdicts(&mut pipeline, "EZ");
    pipeline.sent(Parse, Swallow, Token(9)).unwrap();
    send(&mut pipeline, &[Sync]);
    assert_eq!(verdicts(&mut pipeline, "1Z"), [Verdict::Completed(Swallow, Token(9)), READY]);
    assert!(pipeline.is_settled());
}

#[test]
fn another_request_within_copy_in() {
    // Of the extended protocol: discarded either way.
    let mut pipeline = Pipeline::default();
    send(&mut pipeline, &[Execute]);
    verdicts(&mut pipeline, "G");
    send(&mut pipeline, &[CopyData, Bind, Execute, Sync]);
    assert_eq!(verdicts(&mut pipeline, "EZ"), [failed(1), READY]);
    assert!(pipeline.is_settled());
    // Of the simple one: answered if the COPY had failed before, else not.
    for ahead in [false, true] {
        let mut pipeline = Pipeline::default();
        send(&mut pipeline, &[Query]);
        if ahead {
            send(&mut pipeline, &[Query]);
            verdicts(&mut pipeline, "G");
        } else {
            verdicts(&mut pipeline, "G");
            send(&mut pipeline, &[Query]);
        }
        assert!(pipeline.is_unpredictable());
        assert_eq!(verdicts(&mut pipeline, "EZ"), [REPLY, READY]);
        assert!(!pipeline.is_settled());
        send(&mut pipeline, &[Query, Sync]);
        assert!(!pipeline.is_settled());
    }
}

#[test]
fn a_batch_between_a_doubtful_sync_and_the_next_is_unpredictable() {
    let mut pipeline = Pipeline::default();
    send(&mut pipeline, &[Execute, Sync, CopyData, CopyDone, Parse, Sync]);
    verdicts(&mut pipeline, "G");
    assert!(!pipeline.is_unpredictable());
    verdicts(&mut pipeline, "E");
    assert!(pipeline.is_unpredictable());
}

#[test]
fn replication_is_unpredictable() {
    let mut pipeline = Pipeline::default();
    send(&mut pipeline, &[Query]);
    assert_eq!(verdicts(&mut pipeline, "WdC"), [REPLY; 3]);
    assert!(pipeline.is_unpredictable() && !pipeline.is_settled());
    let mut pipeline = Pipeline::default();
    send(&mut pipeline, &[Execute]);
    assert!(pipeline.received(BackendTag::COPY_BOTH, None).is_err());
}

#[test]
fn the_stop_set_shows_all_that_the_proxy_asked_for() {
    let shows = |pipeline: &Pipeline, byte| pipeline.stop_set().contains(BackendTag::new(byte));
    let mut pipeline = Pipeline::default();
    send(&mut pipeline, &[Execute, CopyData, CopyDone]);
    pipeline.sent(Parse, Swallow, Token(9)).unwrap();
    assert!(!shows(&pipeline, b'D') && !shows(&pipeline, b'N') && shows(&pipeline, b'C'));
    verdicts(&mut pipeline, "C");
    assert!(shows(&pipeline, b'N'), "the Parse is in front, not what needs no answer");
    verdicts(&mut pipeline, "1");
    assert!(shows(&pipeline, b'N'), "nothing is asked");

    let mut pipeline = Pipeline::default();
    send(&mut pipeline, &[Query]);
    for byte in *b"DTCdIN" {
        assert!(!shows(&pipeline, byte), "{byte}");
    }
    for byte in *b"ZESGWRK" {
        assert!(shows(&pipeline, byte), "{byte}");
    }
}
