//! Writers: each appends one message to a caller's buffer.
//!
//! A NUL byte in a string would end it early and let the rest be taken for another field, so it is
//! replaced by `?`. A message of 4 GiB or more cannot be expressed; its length field is then written
//! as the largest possible, which every receiver refuses.
//!
//! Source: PostgreSQL documentation, "Message Formats".

use alloc::vec::Vec;

use crate::cancel::BackendKey;
use crate::frontend::Target;
use crate::sqlstate::SqlState;
use crate::startup::{CANCEL_REQUEST_CODE, GSSENC_REQUEST_CODE, ProtocolVersion, SSL_REQUEST_CODE};
use crate::tag::{BackendTag, FrontendTag};
use crate::txn::TransactionStatus;

/// What replaces a NUL byte in a string.
const INSTEAD_OF_NUL: u8 = b'?';

/// Appends what `body` writes, behind a length field that counts both.
fn with_length(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; 4]);
    body(out);
    let len = u32::try_from(out.len() - start).unwrap_or(u32::MAX);
    if let Some(field) = out.get_mut(start..).and_then(<[u8]>::first_chunk_mut) {
        *field = len.to_be_bytes();
    }
}

fn message(out: &mut Vec<u8>, tag: u8, body: impl FnOnce(&mut Vec<u8>)) {
    out.push(tag);
    with_length(out, body);
}

fn to_backend(out: &mut Vec<u8>, tag: FrontendTag, body: impl FnOnce(&mut Vec<u8>)) {
    message(out, tag.as_byte(), body);
}

fn to_frontend(out: &mut Vec<u8>, tag: BackendTag, body: impl FnOnce(&mut Vec<u8>)) {
    message(out, tag.as_byte(), body);
}

fn text(out: &mut Vec<u8>, text: &[u8]) {
    let start = out.len();
    out.extend_from_slice(text);
    if memchr::memchr(0, text).is_some() {
        for byte in out.iter_mut().skip(start).filter(|byte| **byte == 0) {
            *byte = INSTEAD_OF_NUL;
        }
    }
}

fn cstr(out: &mut Vec<u8>, string: &[u8]) {
    text(out, string);
    out.push(0);
}

/// A count of things that are in memory: below 2^31 for all that the writers are given.
fn count32(out: &mut Vec<u8>, count: usize) {
    out.extend_from_slice(&i32::try_from(count).unwrap_or(i32::MAX).to_be_bytes());
}

// ---- what a frontend sends ----

/// StartupMessage. A pair with an empty name is left out, since it would end the list.
pub fn startup<'a>(
    out: &mut Vec<u8>,
    version: ProtocolVersion,
    params: impl IntoIterator<Item = (&'a [u8], &'a [u8])>,
) {
    with_length(out, |out| {
        out.extend_from_slice(&version.code().to_be_bytes());
        for (name, value) in params {
            if !name.is_empty() {
                cstr(out, name);
                cstr(out, value);
            }
        }
        out.push(0);
    });
}

/// SSLRequest.
pub fn ssl_request(out: &mut Vec<u8>) {
    with_length(out, |out| out.extend_from_slice(&SSL_REQUEST_CODE.to_be_bytes()));
}

/// GSSENCRequest.
pub fn gssenc_request(out: &mut Vec<u8>) {
    with_length(out, |out| out.extend_from_slice(&GSSENC_REQUEST_CODE.to_be_bytes()));
}

/// CancelRequest, the only message on its connection.
pub fn cancel_request(out: &mut Vec<u8>, target: &BackendKey) {
    with_length(out, |out| {
        out.extend_from_slice(&CANCEL_REQUEST_CODE.to_be_bytes());
        out.extend_from_slice(&target.pid.to_be_bytes());
        out.extend_from_slice(target.key.as_bytes());
    });
}

/// Query.
pub fn query(out: &mut Vec<u8>, sql: &[u8]) {
    to_backend(out, FrontendTag::QUERY, |out| cstr(out, sql));
}

/// PasswordMessage: a password in clear text or as an MD5 digest.
pub fn password(out: &mut Vec<u8>, password: &[u8]) {
    to_backend(out, FrontendTag::PASSWORD, |out| cstr(out, password));
}

/// SASLInitialResponse with a first message.
pub fn sasl_initial(out: &mut Vec<u8>, mechanism: &[u8], data: &[u8]) {
    to_backend(out, FrontendTag::PASSWORD, |out| {
        cstr(out, mechanism);
        count32(out, data.len());
        out.extend_from_slice(data);
    });
}

/// SASLResponse.
pub fn sasl_response(out: &mut Vec<u8>, data: &[u8]) {
    to_backend(out, FrontendTag::PASSWORD, |out| out.extend_from_slice(data));
}

/// Parse. `types` are OIDs; those behind the 65535th, which the message cannot count, are left out.
pub fn parse(out: &mut Vec<u8>, name: &[u8], sql: &[u8], types: &[u32]) {
    to_backend(out, FrontendTag::PARSE, |out| {
        cstr(out, name);
        cstr(out, sql);
        let count = u16::try_from(types.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&count.to_be_bytes());
        for oid in types.iter().take(usize::from(count)) {
            out.extend_from_slice(&oid.to_be_bytes());
        }
    });
}

/// Describe.
pub fn describe(out: &mut Vec<u8>, target: Target, name: &[u8]) {
    to_backend(out, FrontendTag::DESCRIBE, |out| {
        out.push(target.byte());
        cstr(out, name);
    });
}

/// Execute. A `max_rows` of 0 asks for all rows.
pub fn execute(out: &mut Vec<u8>, portal: &[u8], max_rows: i32) {
    to_backend(out, FrontendTag::EXECUTE, |out| {
        cstr(out, portal);
        out.extend_from_slice(&max_rows.to_be_bytes());
    });
}

/// Close of a prepared statement.
pub fn close_statement(out: &mut Vec<u8>, name: &[u8]) {
    to_backend(out, FrontendTag::CLOSE, |out| {
        out.push(Target::Statement.byte());
        cstr(out, name);
    });
}

/// CopyFail.
pub fn copy_fail(out: &mut Vec<u8>, message: &[u8]) {
    to_backend(out, FrontendTag::COPY_FAIL, |out| cstr(out, message));
}

/// Flush.
pub fn flush(out: &mut Vec<u8>) {
    to_backend(out, FrontendTag::FLUSH, |_| {});
}

/// Sync.
pub fn sync(out: &mut Vec<u8>) {
    to_backend(out, FrontendTag::SYNC, |_| {});
}

/// Terminate.
pub fn terminate(out: &mut Vec<u8>) {
    to_backend(out, FrontendTag::TERMINATE, |_| {});
}

// ---- what a backend sends ----

fn authentication(out: &mut Vec<u8>, code: i32, body: impl FnOnce(&mut Vec<u8>)) {
    to_frontend(out, BackendTag::AUTHENTICATION, |out| {
        out.extend_from_slice(&code.to_be_bytes());
        body(out);
    });
}

/// AuthenticationOk.
pub fn authentication_ok(out: &mut Vec<u8>) {
    authentication(out, 0, |_| {});
}

/// AuthenticationCleartextPassword.
pub fn auth_cleartext(out: &mut Vec<u8>) {
    authentication(out, 3, |_| {});
}

/// AuthenticationMD5Password.
pub fn auth_md5(out: &mut Vec<u8>, salt: [u8; 4]) {
    authentication(out, 5, |out| out.extend_from_slice(&salt));
}

/// AuthenticationSASL. An empty name is left out, since it would end the list.
pub fn auth_sasl(out: &mut Vec<u8>, mechanisms: &[&[u8]]) {
    authentication(out, 10, |out| {
        for mechanism in mechanisms.iter().filter(|mechanism| !mechanism.is_empty()) {
            cstr(out, mechanism);
        }
        out.push(0);
    });
}

/// AuthenticationSASLContinue.
pub fn auth_sasl_continue(out: &mut Vec<u8>, data: &[u8]) {
    authentication(out, 11, |out| out.extend_from_slice(data));
}

/// AuthenticationSASLFinal.
pub fn auth_sasl_final(out: &mut Vec<u8>, data: &[u8]) {
    authentication(out, 12, |out| out.extend_from_slice(data));
}

/// ParameterStatus.
pub fn parameter_status(out: &mut Vec<u8>, name: &[u8], value: &[u8]) {
    to_frontend(out, BackendTag::PARAMETER_STATUS, |out| {
        cstr(out, name);
        cstr(out, value);
    });
}

/// BackendKeyData. A session of a protocol before 3.2 must be given a key of 4 bytes.
pub fn backend_key_data(out: &mut Vec<u8>, key: &BackendKey) {
    to_frontend(out, BackendTag::BACKEND_KEY_DATA, |out| {
        out.extend_from_slice(&key.pid.to_be_bytes());
        out.extend_from_slice(key.key.as_bytes());
    });
}

/// ReadyForQuery.
pub fn ready_for_query(out: &mut Vec<u8>, status: TransactionStatus) {
    to_frontend(out, BackendTag::READY, |out| out.push(status.byte()));
}

/// NegotiateProtocolVersion, with the whole version as servers send it.
pub fn negotiate_version(out: &mut Vec<u8>, newest: ProtocolVersion, options: &[impl AsRef<[u8]>]) {
    to_frontend(out, BackendTag::NEGOTIATE_VERSION, |out| {
        out.extend_from_slice(&newest.code().to_be_bytes());
        count32(out, options.len());
        for option in options {
            cstr(out, option.as_ref());
        }
    });
}

/// How bad something is, in a field that is never translated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// The statement failed.
    Error,
    /// The session ends.
    Fatal,
    /// All sessions end.
    Panic,
    /// In a notice.
    Warning,
    /// In a notice.
    Notice,
    /// In a notice.
    Info,
    /// In a notice.
    Log,
    /// In a notice.
    Debug,
}

impl Severity {
    /// The word in fields `S` and `V`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "ERROR",
            Self::Fatal => "FATAL",
            Self::Panic => "PANIC",
            Self::Warning => "WARNING",
            Self::Notice => "NOTICE",
            Self::Info => "INFO",
            Self::Log => "LOG",
            Self::Debug => "DEBUG",
        }
    }
}

/// The content of an ErrorResponse or NoticeResponse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErrorResponse<'a> {
    /// How bad it is.
    pub severity: Severity,
    /// What programs act upon.
    pub code: SqlState,
    /// One line for people.
    pub message: &'a str,
    /// More about it.
    pub detail: Option<&'a str>,
    /// What to do about it.
    pub hint: Option<&'a str>,
}

/// ErrorResponse.
pub fn error_response(out: &mut Vec<u8>, error: &ErrorResponse<'_>) {
    error_or_notice(out, BackendTag::ERROR, error);
}

/// NoticeResponse.
pub fn notice_response(out: &mut Vec<u8>, notice: &ErrorResponse<'_>) {
    error_or_notice(out, BackendTag::NOTICE, notice);
}

fn error_or_notice(out: &mut Vec<u8>, tag: BackendTag, error: &ErrorResponse<'_>) {
    let fields = [
        (b'S', Some(error.severity.as_str())),
        (b'V', Some(error.severity.as_str())),
        (b'C', Some(error.code.as_str())),
        (b'M', Some(error.message)),
        (b'D', error.detail),
        (b'H', error.hint),
    ];
    to_frontend(out, tag, |out| {
        for (code, field) in fields {
            if let Some(field) = field {
                out.push(code);
                cstr(out, field.as_bytes());
            }
        }
        out.push(0);
    });
}

/// CommandComplete.
pub fn command_complete(out: &mut Vec<u8>, tag: &[u8]) {
    to_frontend(out, BackendTag::COMMAND_COMPLETE, |out| cstr(out, tag));
}

/// ParseComplete.
pub fn parse_complete(out: &mut Vec<u8>) {
    to_frontend(out, BackendTag::PARSE_COMPLETE, |_| {});
}

/// BindComplete.
pub fn bind_complete(out: &mut Vec<u8>) {
    to_frontend(out, BackendTag::BIND_COMPLETE, |_| {});
}

/// CloseComplete.
pub fn close_complete(out: &mut Vec<u8>) {
    to_frontend(out, BackendTag::CLOSE_COMPLETE, |_| {});
}

/// NoData.
pub fn no_data(out: &mut Vec<u8>) {
    to_frontend(out, BackendTag::NO_DATA, |_| {});
}

/// EmptyQueryResponse.
pub fn empty_query(out: &mut Vec<u8>) {
    to_frontend(out, BackendTag::EMPTY_QUERY, |_| {});
}

// ---- pieces of SQL ----

/// A string constant with this value, whatever `standard_conforming_strings` is: with a backslash in
/// it, in the escape form and behind a space, so that no word in front of it can swallow the `E`.
///
/// The value must be in an encoding whose multi-byte characters have no ASCII bytes (UTF-8, EUC,
/// LATIN; not SJIS, BIG5, GBK, GB18030, UHC or JOHAB).
pub fn quote_literal(out: &mut Vec<u8>, value: &[u8]) {
    if memchr::memchr(b'\\', value).is_some() {
        out.extend_from_slice(b" E");
    }
    quoted(out, b'\'', value, |byte| byte == b'\'' || byte == b'\\');
}

/// An identifier with this name, always in double quotes. The encoding is as for [`quote_literal`].
pub fn quote_ident(out: &mut Vec<u8>, name: &[u8]) {
    quoted(out, b'"', name, |byte| byte == b'"');
}

fn quoted(out: &mut Vec<u8>, quote: u8, value: &[u8], doubled: impl Fn(u8) -> bool) {
    out.push(quote);
    for &byte in value {
        let byte = if byte == 0 { INSTEAD_OF_NUL } else { byte };
        if doubled(byte) {
            out.push(byte);
        }
        out.push(byte);
    }
    out.push(quote);
}
