//! What the fuzz targets share: a stream of messages, cut in two ways, must give one outcome.
//!
//! An input is a byte for [`FrameLimits::look_whole`], a byte for the size of a read, sixteen bytes
//! that say which types are interesting, and the stream.

use pgwire_core::error::DecodeError;
use pgwire_core::frame::{FrameLimits, Framer, HEADER_LEN, Seen};
use pgwire_core::tag::{MessageTag, Tag, TagSet};

/// Runs one input; `look` sees each frame or beginning of a frame that the framer shows.
pub fn frames<From: Copy>(data: &[u8], mut look: impl FnMut(&[u8]))
where
    MessageTag<From>: Tag,
{
    let Some((&[look_whole, read], rest)) = data.split_first_chunk() else { return };
    let Some((&bits, stream)) = rest.split_first_chunk() else { return };
    let bits = u128::from_be_bytes(bits);
    let interesting: Vec<MessageTag<From>> =
        (0..128).filter(|bit| (bits >> bit) & 1 == 1).map(MessageTag::new).collect();
    let stop_at = TagSet::of(&interesting);
    let limits = FrameLimits { look_whole: usize::from(look_whole) };

    let whole = outcome(stream, stream.len().max(1), stop_at, limits);
    let cut = outcome(stream, usize::from(read).max(1), stop_at, limits);
    assert_eq!(whole, cut, "the outcome depends on the size of a read");
    for (_, frame) in &whole.shown {
        look(frame);
    }
}

/// Everything that came out of a stream.
#[derive(Debug, Default, PartialEq)]
struct Outcome {
    /// What was shown, and how many bytes came before it.
    shown: Vec<(usize, Vec<u8>)>,
    consumed: usize,
    error: Option<DecodeError>,
}

fn outcome<T: Tag>(stream: &[u8], read: usize, stop_at: TagSet<T>, limits: FrameLimits) -> Outcome {
    let mut framer = Framer::<T>::new(limits);
    let mut outcome = Outcome::default();
    let mut there = 0;
    for piece in stream.chunks(read) {
        there += piece.len();
        loop {
            let buf = &stream[outcome.consumed..there];
            match framer.scan(buf, stop_at) {
                Ok(Seen::Run { bytes }) => {
                    assert!(bytes > 0 && bytes <= buf.len());
                    outcome.consumed += bytes;
                }
                Ok(Seen::Message { frame, .. } | Seen::Opening { have: frame, .. }) => {
                    outcome.shown.push((outcome.consumed, frame.to_vec()));
                    outcome.consumed += frame.len();
                }
                Ok(Seen::Need { at_least }) => {
                    assert!(at_least > buf.len());
                    assert!(at_least <= limits.look_whole.max(HEADER_LEN));
                    break;
                }
                Err(error) => {
                    outcome.error = Some(error);
                    return outcome;
                }
            }
        }
    }
    outcome
}
