//! Writers of frontend messages, one function per message (PostgreSQL documentation, chapter
//! "Frontend/Backend Protocol", section "Message Formats").
//!
//! Each returns the bytes of one whole message, so that a scenario can concatenate, cut and
//! misorder them. None checks its arguments: scenarios write wrong messages on purpose.

/// `140 << 16`-style codes that take the place of a protocol version in the first packet.
pub const SSL_REQUEST: u32 = 80_877_103;
/// See [`SSL_REQUEST`].
pub const GSSENC_REQUEST: u32 = 80_877_104;
const CANCEL_REQUEST: u32 = 80_877_102;
/// Protocol 3.0 as it stands in a startup packet.
pub const PROTOCOL_3_0: u32 = 3 << 16;

fn length(bytes: usize) -> [u8; 4] {
    u32::try_from(bytes).expect("a test message is shorter than 4 GiB").to_be_bytes()
}

fn count(items: usize) -> [u8; 2] {
    u16::try_from(items).expect("a test message has fewer than 65536 items").to_be_bytes()
}

/// A message with this tag and body.
pub fn message(tag: u8, body: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    out.extend(length(body.len() + 4));
    out.extend(body);
    out
}

/// A packet without a tag, as they come before the login: length, code, body.
pub fn untagged(code: u32, body: &[u8]) -> Vec<u8> {
    let mut out = length(body.len() + 8).to_vec();
    out.extend(code.to_be_bytes());
    out.extend(body);
    out
}

/// StartupMessage.
pub fn startup(version: u32, parameters: &[(&str, &str)]) -> Vec<u8> {
    let mut body = Vec::new();
    for (name, value) in parameters {
        body.extend(name.as_bytes());
        body.push(0);
        body.extend(value.as_bytes());
        body.push(0);
    }
    body.push(0);
    untagged(version, &body)
}

/// CancelRequest.
pub fn cancel(pid: u32, key: &[u8]) -> Vec<u8> {
    let mut body = pid.to_be_bytes().to_vec();
    body.extend(key);
    untagged(CANCEL_REQUEST, &body)
}

/// Query.
pub fn query(sql: &str) -> Vec<u8> {
    query_bytes(sql.as_bytes())
}

/// Query in any encoding.
pub fn query_bytes(sql: &[u8]) -> Vec<u8> {
    let mut body = sql.to_vec();
    body.push(0);
    message(b'Q', &body)
}

/// Parse without parameter types.
pub fn parse(statement: &str, sql: &str) -> Vec<u8> {
    parse_typed(statement, sql, &[])
}

/// Parse with the type of each parameter.
pub fn parse_typed(statement: &str, sql: &str, types: &[u32]) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(statement.as_bytes());
    body.push(0);
    body.extend(sql.as_bytes());
    body.push(0);
    body.extend(count(types.len()));
    for oid in types {
        body.extend(oid.to_be_bytes());
    }
    message(b'P', &body)
}

/// Bind with parameters and results in text.
pub fn bind(portal: &str, statement: &str, parameters: &[Option<&str>]) -> Vec<u8> {
    let mut body = Vec::new();
    body.extend(portal.as_bytes());
    body.push(0);
    body.extend(statement.as_bytes());
    body.push(0);
    body.extend(count(0));
    body.extend(count(parameters.len()));
    for parameter in parameters {
        match parameter {
            None => body.extend((-1_i32).to_be_bytes()),
            Some(text) => {
                body.extend(length(text.len()));
                body.extend(text.as_bytes());
            }
        }
    }
    body.extend(count(0));
    message(b'B', &body)
}

fn named(tag: u8, kind: u8, name: &str) -> Vec<u8> {
    let mut body = vec![kind];
    body.extend(name.as_bytes());
    body.push(0);
    message(tag, &body)
}

/// Describe of a statement.
pub fn describe_statement(name: &str) -> Vec<u8> {
    named(b'D', b'S', name)
}

/// Describe of a portal.
pub fn describe_portal(name: &str) -> Vec<u8> {
    named(b'D', b'P', name)
}

/// Close of a statement.
pub fn close_statement(name: &str) -> Vec<u8> {
    named(b'C', b'S', name)
}

/// Execute; `max_rows` 0 means all.
pub fn execute(portal: &str, max_rows: u32) -> Vec<u8> {
    let mut body = portal.as_bytes().to_vec();
    body.push(0);
    body.extend(max_rows.to_be_bytes());
    message(b'E', &body)
}

/// Parse, Bind and Execute of the unnamed statement and portal.
pub fn unnamed(sql: &str, parameters: &[Option<&str>]) -> Vec<u8> {
    [parse("", sql), bind("", "", parameters), execute("", 0)].concat()
}

/// Sync.
pub fn sync() -> Vec<u8> {
    message(b'S', &[])
}

/// Flush.
pub fn flush() -> Vec<u8> {
    message(b'H', &[])
}

/// Terminate.
pub fn terminate() -> Vec<u8> {
    message(b'X', &[])
}

/// CopyData.
pub fn copy_data(data: &str) -> Vec<u8> {
    message(b'd', data.as_bytes())
}

/// CopyDone.
pub fn copy_done() -> Vec<u8> {
    message(b'c', &[])
}

/// CopyFail.
pub fn copy_fail(reason: &str) -> Vec<u8> {
    let mut body = reason.as_bytes().to_vec();
    body.push(0);
    message(b'f', &body)
}
