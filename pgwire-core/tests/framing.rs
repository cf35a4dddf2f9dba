//! The framer against a naive model, for any stream cut in any way.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use pgwire_core::error::DecodeError;
use pgwire_core::frame::{BackendFramer, FrameLimits, Framer, FrontendFramer, HEADER_LEN, Seen};
use pgwire_core::tag::{
    BackendTag, FrontendTag, MAX_LARGE_FRONTEND_LEN, MAX_SMALL_FRONTEND_LEN, Tag, TagSet,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select, subsequence};

/// What came out of a stream, with neighbouring runs joined.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Event {
    Bytes(Vec<u8>),
    Message(u8, Vec<u8>),
    Opening(u8, u32, Vec<u8>),
    Error(DecodeError),
}

#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    events: Vec<Event>,
    /// Bytes about which nothing could be decided.
    undecided: Vec<u8>,
}

impl Outcome {
    fn forward(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        match self.events.last_mut() {
            Some(Event::Bytes(run)) => run.extend_from_slice(bytes),
            _ => self.events.push(Event::Bytes(bytes.to_vec())),
        }
    }
}

/// Whether the caller asks only when it has what the last answer said it must have.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Caller {
    Patient,
    Eager,
}

/// Feeds `pieces` to a framer as reads from a socket would.
fn drive<T: Tag>(
    pieces: &[&[u8]],
    stop_at: TagSet<T>,
    limits: FrameLimits,
    caller: Caller,
) -> Outcome {
    let mut framer = Framer::<T>::new(limits);
    let mut buf: Vec<u8> = Vec::new();
    let mut outcome = Outcome::default();
    let mut needed = 0;
    for piece in pieces {
        buf.extend_from_slice(piece);
        if caller == Caller::Patient && buf.len() < needed {
            continue;
        }
        loop {
            let before = framer.left();
            let consumed = match framer.scan(&buf, stop_at) {
                Ok(Seen::Run { bytes }) => {
                    assert!(bytes > 0 && bytes <= buf.len());
                    outcome.forward(&buf[..bytes]);
                    bytes
                }
                Ok(Seen::Message { tag, frame }) => {
                    assert!(stop_at.contains(tag) && framer.at_boundary());
                    assert!(buf.starts_with(frame));
                    outcome.events.push(Event::Message(tag.byte(), frame.to_vec()));
                    frame.len()
                }
                Ok(Seen::Opening { tag, body_len, have }) => {
                    assert!(stop_at.contains(tag) && !framer.at_boundary());
                    assert!(buf.starts_with(have));
                    outcome.events.push(Event::Opening(tag.byte(), body_len, have.to_vec()));
                    have.len()
                }
                Ok(Seen::Need { at_least }) => {
                    assert!(at_least > buf.len(), "Need asks for what is there");
                    assert!(at_least <= limits.look_whole.max(HEADER_LEN));
                    assert_eq!(framer.left(), before, "Need consumes nothing");
                    needed = at_least;
                    break;
                }
                Err(error) => {
                    outcome.events.push(Event::Error(error));
                    return outcome;
                }
            };
            buf.drain(..consumed);
        }
    }
    outcome.undecided = buf;
    outcome
}

/// The same by the letter of the documentation, on the whole stream at once, with copies.
fn model<T: Tag>(stream: &[u8], stop_at: TagSet<T>, limits: FrameLimits) -> Outcome {
    let look_whole = limits.look_whole.max(HEADER_LEN);
    let mut outcome = Outcome::default();
    let mut rest = stream.to_vec();
    while rest.len() >= 5 {
        let tag = T::from_byte(rest[0]);
        let len = u32::from_be_bytes([rest[1], rest[2], rest[3], rest[4]]);
        let Some(max) = tag.max_len() else {
            outcome.events.push(Event::Error(DecodeError::UnknownTag { tag: rest[0] }));
            return outcome;
        };
        if len < 4 || len > max {
            outcome.events.push(Event::Error(DecodeError::BadLength { tag: rest[0], len }));
            return outcome;
        }
        let total = len as usize + 1;
        let there = total.min(rest.len());
        if !stop_at.contains(tag) {
            outcome.forward(&rest[..there]);
        } else if total <= look_whole {
            if there < total {
                break;
            }
            outcome.events.push(Event::Message(rest[0], rest[..total].to_vec()));
        } else {
            if there < look_whole {
                break;
            }
            outcome.events.push(Event::Opening(rest[0], len - 4, rest[..look_whole].to_vec()));
            outcome.forward(&rest[look_whole..there]);
        }
        rest.drain(..there);
    }
    outcome.undecided = rest;
    outcome
}

fn cut<'a>(stream: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    at.extend([0, stream.len()]);
    at.sort_unstable();
    at.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect()
}

fn check<T: Tag>(
    stream: &[u8],
    cuts: &[Index],
    stop_at: TagSet<T>,
    look_whole: usize,
) -> Result<(), TestCaseError> {
    let limits = FrameLimits { look_whole };
    let expected = model(stream, stop_at, limits);
    let bytewise: Vec<&[u8]> = stream.chunks(1).collect();
    for caller in [Caller::Patient, Caller::Eager] {
        prop_assert_eq!(&drive(&[stream], stop_at, limits, caller), &expected);
        prop_assert_eq!(&drive(&cut(stream, cuts), stop_at, limits, caller), &expected);
        prop_assert_eq!(&drive(&bytewise, stop_at, limits, caller), &expected);
    }
    Ok(())
}

/// A sound message: its body is noise, since framing must not depend on it.
fn message<T: Tag + 'static>(all: &'static [T]) -> impl Strategy<Value = Vec<u8>> {
    (select(all), vec(any::<u8>(), 0..40)).prop_map(|(tag, mut body)| {
        let max = tag.max_len().unwrap() as usize - 4;
        body.truncate(max);
        let mut frame = vec![tag.byte()];
        frame.extend_from_slice(&(u32::try_from(body.len()).unwrap() + 4).to_be_bytes());
        frame.extend_from_slice(&body);
        frame
    })
}

/// Sound messages, then perhaps the beginning of one, or noise.
fn stream<T: Tag + 'static>(all: &'static [T]) -> impl Strategy<Value = Vec<u8>> {
    let tail = prop_oneof![
        3 => Just(Vec::new()),
        2 => (message(all), any::<Index>()).prop_map(|(mut frame, keep)| {
            frame.truncate(keep.index(frame.len()));
            frame
        }),
        2 => vec(any::<u8>(), 0..12),
        1 => (select(all), any::<u32>()).prop_map(|(tag, len)| {
            [&[tag.byte()][..], &len.to_be_bytes(), b"tail"].concat()
        }),
    ];
    (vec(message(all), 0..12), tail).prop_map(|(messages, tail)| {
        let mut stream = messages.concat();
        stream.extend_from_slice(&tail);
        stream
    })
}

proptest! {
    #[test]
    fn backend_stream_is_cut_invariant(
        stream in stream(BackendTag::ALL),
        cuts in vec(any::<Index>(), 0..8),
        interesting in subsequence(BackendTag::ALL, 0..=BackendTag::ALL.len()),
        look_whole in 0_usize..60,
    ) {
        check(&stream, &cuts, TagSet::of(&interesting), look_whole)?;
    }

    #[test]
    fn frontend_stream_is_cut_invariant(
        stream in stream(FrontendTag::ALL),
        cuts in vec(any::<Index>(), 0..8),
        interesting in subsequence(FrontendTag::ALL, 0..=FrontendTag::ALL.len()),
        look_whole in 0_usize..60,
    ) {
        check(&stream, &cuts, TagSet::of(&interesting), look_whole)?;
    }

    #[test]
    fn noise_is_cut_invariant(
        stream in vec(any::<u8>(), 0..64),
        cuts in vec(any::<Index>(), 0..8),
        bits in vec(any::<bool>(), 256),
        look_whole in 0_usize..60,
    ) {
        let interesting: Vec<BackendTag> =
            (0..=255).zip(bits).filter(|(_, on)| *on).map(|(byte, _)| BackendTag::new(byte)).collect();
        check(&stream, &cuts, TagSet::of(&interesting), look_whole)?;
    }
}

fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).unwrap() + 4;
    [&[tag][..], &len.to_be_bytes(), body].concat()
}

/// What comes of a header, with nothing behind it, whose length is refused or not.
fn header_of<T: Tag>(tag: T, len: u32, stop_at: TagSet<T>) -> Result<(), DecodeError> {
    let header = [&[tag.byte()][..], &len.to_be_bytes()].concat();
    Framer::<T>::default().scan(&header, stop_at).map(|_| ())
}

fn check_lengths<T: Tag>() {
    for byte in 0..=255 {
        let tag = T::from_byte(byte);
        for len in [
            0,
            1,
            2,
            3,
            4,
            5,
            9_999,
            10_000,
            10_001,
            0x3fff_ffff,
            0x7fff_ffff,
            0x8000_0000,
            u32::MAX,
        ] {
            let expected = match tag.max_len() {
                None => Err(DecodeError::UnknownTag { tag: byte }),
                Some(max) if len < 4 || len > max => Err(DecodeError::BadLength { tag: byte, len }),
                Some(_) => Ok(()),
            };
            for stop_at in [TagSet::EMPTY, TagSet::ALL] {
                assert_eq!(header_of(tag, len, stop_at), expected, "{tag:?} {len}");
            }
        }
        if let Some(max) = tag.max_len() {
            assert!((4..=0x4000_0002).contains(&max));
            assert_eq!(header_of(tag, max, TagSet::EMPTY), Ok(()));
            assert!(header_of(tag, max + 1, TagSet::EMPTY).is_err());
        }
    }
}

#[test]
fn every_length_is_checked_before_its_use() {
    check_lengths::<FrontendTag>();
    check_lengths::<BackendTag>();
}

#[test]
fn limits_are_those_of_the_server() {
    assert_eq!(FrontendTag::QUERY.max_len(), Some(MAX_LARGE_FRONTEND_LEN));
    assert_eq!(FrontendTag::DESCRIBE.max_len(), Some(MAX_SMALL_FRONTEND_LEN));
    assert_eq!(FrontendTag::SYNC.max_len(), Some(4));
    assert_eq!(BackendTag::READY.max_len(), Some(5));
    assert_eq!(BackendTag::PARSE_COMPLETE.max_len(), Some(4));
    assert_eq!(BackendTag::BACKEND_KEY_DATA.max_len(), Some(4 + 4 + 256));
    assert_eq!(BackendTag::new(b'B').max_len(), None);
    assert_eq!(FrontendTag::new(b'Z').max_len(), None);
}

#[test]
fn a_result_set_is_one_run() {
    let row = frame(b'D', b"\0\x01\0\0\0\x04data");
    let complete = frame(b'C', b"SELECT 5000\0");
    let ready = frame(b'Z', b"I");
    let stream = [row.repeat(5_000), complete, ready.clone()].concat();
    let stop_at = TagSet::of(&[BackendTag::ERROR, BackendTag::READY]);
    let mut framer = BackendFramer::default();

    let before_ready = stream.len() - ready.len();
    assert_eq!(framer.scan(&stream, stop_at), Ok(Seen::Run { bytes: before_ready }));
    assert_eq!(
        framer.scan(&stream[before_ready..], stop_at),
        Ok(Seen::Message { tag: BackendTag::READY, frame: &ready })
    );
    assert_eq!(framer.scan(&[], stop_at), Ok(Seen::Need { at_least: HEADER_LEN }));
}

#[test]
fn a_row_of_a_gigabyte_is_streamed() {
    let mut framer = BackendFramer::default();
    let header = [&b"D"[..], &0x3fff_0000_u32.to_be_bytes()].concat();
    assert_eq!(framer.scan(&header, TagSet::EMPTY), Ok(Seen::Run { bytes: 5 }));
    assert_eq!(framer.left(), 0x3fff_0000 - 4);
    assert!(!framer.at_boundary());
    // Whatever is inside is data, even if it looks like a message that is waited for.
    let inside = frame(b'Z', b"I").repeat(100);
    assert_eq!(framer.scan(&inside, TagSet::ALL), Ok(Seen::Run { bytes: inside.len() }));
    assert_eq!(framer.left(), 0x3fff_0000 - 4 - 600);
    assert_eq!(framer.scan(&[], TagSet::ALL), Ok(Seen::Need { at_least: 1 }));
}

#[test]
fn a_message_beyond_the_limit_opens_and_then_runs() {
    let mut framer = FrontendFramer::new(FrameLimits { look_whole: 16 });
    let stop_at = TagSet::of(&[FrontendTag::QUERY]);
    let exact = frame(b'Q', b"0123456789\0");
    assert_eq!(exact.len(), 16);
    assert!(matches!(framer.scan(&exact, stop_at), Ok(Seen::Message { .. })));

    let longer = frame(b'Q', b"0123456789a\0");
    assert_eq!(framer.scan(&longer[..15], stop_at), Ok(Seen::Need { at_least: 16 }));
    assert_eq!(
        framer.scan(&longer, stop_at),
        Ok(Seen::Opening { tag: FrontendTag::QUERY, body_len: 12, have: &longer[..16] })
    );
    assert_eq!(framer.left(), 1);
    // The rest of it and what follows up to the next interesting message are one run.
    let behind = [&longer[16..], &frame(b'S', b""), &exact].concat();
    assert_eq!(framer.scan(&behind, stop_at), Ok(Seen::Run { bytes: 1 + 5 }));
    assert!(framer.at_boundary());
}

#[test]
fn what_is_interesting_may_change_between_calls() {
    let mut framer = FrontendFramer::default();
    let sync = frame(b'S', b"");
    let stream = sync.repeat(2);
    assert!(matches!(
        framer.scan(&stream, TagSet::of(&[FrontendTag::SYNC])),
        Ok(Seen::Message { tag: FrontendTag::SYNC, .. })
    ));
    assert_eq!(framer.scan(&stream[5..], TagSet::EMPTY), Ok(Seen::Run { bytes: 5 }));
}

#[test]
fn sound_messages_in_front_of_a_bad_one_are_delivered() {
    let mut framer = FrontendFramer::default();
    let stream = [frame(b'S', b""), vec![b'S', 0, 0, 0, 5, 0]].concat();
    assert_eq!(framer.scan(&stream, TagSet::EMPTY), Ok(Seen::Run { bytes: 5 }));
    assert_eq!(
        framer.scan(&stream[5..], TagSet::EMPTY),
        Err(DecodeError::BadLength { tag: b'S', len: 5 })
    );
}

#[test]
fn tag_sets() {
    const A: TagSet<BackendTag> = TagSet::of(&[BackendTag::ERROR]);
    const B: TagSet<BackendTag> = TagSet::of(&[BackendTag::READY, BackendTag::new(200)]);
    let both = A.union(B);
    assert!(both.contains(BackendTag::ERROR) && both.contains(BackendTag::READY));
    assert!(!both.contains(BackendTag::DATA_ROW) && !both.contains(BackendTag::new(200)));
    assert_eq!(both.without(A), B);
    assert_eq!(format!("{A:?}"), "{BackendTag::ERROR}");
    assert_eq!(TagSet::<BackendTag>::default(), TagSet::EMPTY);
}

/// Guards against a type that was forgotten, or given the byte of another.
#[test]
fn types_are_distinct_and_complete() {
    let letters = |mut bytes: Vec<u8>| {
        bytes.sort_unstable();
        String::from_utf8(bytes).unwrap()
    };
    let frontend = FrontendTag::ALL.iter().map(|tag| tag.byte()).collect();
    assert_eq!(letters(frontend), "BCDEFHPQSXcdfp");
    let backend = BackendTag::ALL.iter().map(|tag| tag.byte()).collect();
    assert_eq!(letters(backend), "123ACDEGHIKNRSTVWZcdnstv");
}
