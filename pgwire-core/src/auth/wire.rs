//! The few messages of the authentication phase, written and taken apart.

use alloc::vec::Vec;

use super::ProtocolViolation;

pub(super) const AUTH_OK: i32 = 0;
pub(super) const AUTH_CLEARTEXT: i32 = 3;
pub(super) const AUTH_MD5: i32 = 5;
pub(super) const AUTH_SASL: i32 = 10;
pub(super) const AUTH_SASL_CONTINUE: i32 = 11;
pub(super) const AUTH_SASL_FINAL: i32 = 12;

/// Appends a message. The parts are bounded by [`super::MAX_PASSWORD_LEN`] and friends, so that
/// the length always fits.
fn message(out: &mut Vec<u8>, tag: u8, parts: &[&[u8]]) {
    let len = parts.iter().fold(4usize, |sum, part| sum.saturating_add(part.len()));
    out.reserve(len.saturating_add(1));
    out.push(tag);
    out.extend_from_slice(&u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes());
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// Appends an authentication request ('R').
pub(super) fn request(out: &mut Vec<u8>, code: i32, data: &[u8]) {
    message(out, b'R', &[&code.to_be_bytes(), data]);
}

/// Appends a PasswordMessage ('p').
pub(super) fn password(out: &mut Vec<u8>, text: &[u8]) {
    message(out, b'p', &[text, b"\0"]);
}

/// Appends a SASLInitialResponse ('p').
pub(super) fn sasl_initial(out: &mut Vec<u8>, mechanism: &[u8], data: &[u8]) {
    let len = u32::try_from(data.len()).unwrap_or(u32::MAX).to_be_bytes();
    message(out, b'p', &[mechanism, b"\0", &len, data]);
}

/// Appends a SASLResponse ('p').
pub(super) fn sasl_response(out: &mut Vec<u8>, data: &[u8]) {
    message(out, b'p', &[data]);
}

/// The bytes before the first NUL, and those after it.
pub(super) fn cstr(body: &[u8]) -> Result<(&[u8], &[u8]), ProtocolViolation> {
    let end = memchr::memchr(0, body);
    let split = end.and_then(|at| Some((body.get(..at)?, body.get(at.checked_add(1)?..)?)));
    split.ok_or(ProtocolViolation::Malformed("string without terminator"))
}

/// The text of a PasswordMessage, which is one string and nothing else.
pub(super) fn password_text(body: &[u8]) -> Result<&[u8], ProtocolViolation> {
    if body.len() > super::MAX_PASSWORD_LEN + 1 {
        return Err(ProtocolViolation::TooLong("password"));
    }
    match cstr(body)? {
        (text, []) => Ok(text),
        _ => Err(ProtocolViolation::Malformed("password with bytes after its terminator")),
    }
}

/// The code of an authentication request, and its data.
pub(super) fn split_request(body: &[u8]) -> Result<(i32, &[u8]), ProtocolViolation> {
    let (code, data) =
        body.split_first_chunk::<4>().ok_or(ProtocolViolation::Malformed("request too short"))?;
    Ok((i32::from_be_bytes(*code), data))
}

/// The mechanism of a SASLInitialResponse, and its data (None when it has none).
pub(super) fn split_sasl_initial(body: &[u8]) -> Result<(&[u8], Option<&[u8]>), ProtocolViolation> {
    if body.len() > super::MAX_SCRAM_MESSAGE {
        return Err(ProtocolViolation::TooLong("SASL response"));
    }
    let (mechanism, rest) = cstr(body)?;
    let (len, data) = rest
        .split_first_chunk::<4>()
        .ok_or(ProtocolViolation::Malformed("SASL response without length"))?;
    match i32::from_be_bytes(*len) {
        -1 if data.is_empty() => Ok((mechanism, None)),
        len if usize::try_from(len) == Ok(data.len()) => Ok((mechanism, Some(data))),
        _ => Err(ProtocolViolation::Malformed("SASL response of wrong length")),
    }
}
