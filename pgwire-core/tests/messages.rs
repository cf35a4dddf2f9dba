//! Writers and views against each other, and views against broken messages.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use pgwire_core::backend::{
    Authentication, BackendKeyData, CommandComplete, ErrorOrNotice, NegotiateProtocolVersion,
    Notification, ParameterStatus, ReadyForQuery,
};
use pgwire_core::cancel::{BackendKey, CancelKey};
use pgwire_core::cursor::Cursor;
use pgwire_core::encode::{self, ErrorResponse, Severity};
use pgwire_core::error::DecodeError;
use pgwire_core::frame::{BackendFramer, FrontendFramer, HEADER_LEN, Seen};
use pgwire_core::frontend::{
    Bind, Close, CopyFail, Describe, Execute, Parse, Password, Query, SaslInitialResponse,
    SaslResponse, Target,
};
use pgwire_core::sqlstate::SqlState;
use pgwire_core::startup::ProtocolVersion;
use pgwire_core::tag::{BackendTag, FrontendTag, TagSet};
use pgwire_core::txn::TransactionStatus;
use proptest::collection::vec;
use proptest::prelude::*;

fn encoded(write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write(&mut out);
    out
}

fn frame(tag: u8, body: &[u8]) -> Vec<u8> {
    let len = u32::try_from(body.len()).unwrap() + 4;
    [&[tag][..], &len.to_be_bytes(), body].concat()
}

/// The one message that the framer finds in what a writer wrote.
fn only_frontend(out: &[u8]) -> FrontendTag {
    match FrontendFramer::default().scan(out, TagSet::ALL) {
        Ok(Seen::Message { tag, frame }) if frame.len() == out.len() => tag,
        other => panic!("{other:?}"),
    }
}

fn only_backend(out: &[u8]) -> BackendTag {
    match BackendFramer::default().scan(out, TagSet::ALL) {
        Ok(Seen::Message { tag, frame }) if frame.len() == out.len() => tag,
        other => panic!("{other:?}"),
    }
}

/// A string as the protocol can carry it.
fn string() -> impl Strategy<Value = Vec<u8>> {
    vec(1_u8..=255, 0..24)
}

proptest! {
    #[test]
    fn frontend_messages_come_back(
        name in string(),
        sql in string(),
        types in vec(any::<u32>(), 0..5),
        data in vec(any::<u8>(), 0..40),
        max_rows in any::<i32>(),
    ) {
        let out = encoded(|out| encode::query(out, &sql));
        prop_assert_eq!(only_frontend(&out), FrontendTag::QUERY);
        prop_assert_eq!(Query::parse(&out), Ok(Query { sql: &sql }));
        prop_assert_eq!(Query::parse_prefix(&out), Ok(&sql[..]));

        let out = encoded(|out| encode::parse(out, &name, &sql, &types));
        prop_assert_eq!(only_frontend(&out), FrontendTag::PARSE);
        let parsed = Parse::parse(&out).unwrap();
        prop_assert_eq!((parsed.statement, parsed.sql), (&name[..], &sql[..]));
        prop_assert!(parsed.type_oids().eq(types));

        let out = encoded(|out| encode::close_statement(out, &name));
        prop_assert_eq!(only_frontend(&out), FrontendTag::CLOSE);
        prop_assert_eq!(Close::parse(&out), Ok(Close { target: Target::Statement, name: &name }));

        for target in [Target::Statement, Target::Portal] {
            let out = encoded(|out| encode::describe(out, target, &name));
            prop_assert_eq!(only_frontend(&out), FrontendTag::DESCRIBE);
            prop_assert_eq!(Describe::parse(&out), Ok(Describe { target, name: &name }));
        }

        let out = encoded(|out| encode::execute(out, &name, max_rows));
        prop_assert_eq!(only_frontend(&out), FrontendTag::EXECUTE);
        prop_assert_eq!(Execute::parse(&out), Ok(Execute { portal: &name, max_rows }));

        let out = encoded(|out| encode::copy_fail(out, &sql));
        prop_assert_eq!(only_frontend(&out), FrontendTag::COPY_FAIL);
        prop_assert_eq!(CopyFail::parse(&out), Ok(CopyFail { message: &sql }));

        let out = encoded(|out| encode::password(out, &sql));
        prop_assert_eq!(only_frontend(&out), FrontendTag::PASSWORD);
        prop_assert_eq!(Password::parse(&out).unwrap().password, &sql);

        let out = encoded(|out| encode::sasl_initial(out, &name, &data));
        prop_assert_eq!(only_frontend(&out), FrontendTag::PASSWORD);
        let initial = SaslInitialResponse::parse(&out).unwrap();
        prop_assert_eq!((initial.mechanism, initial.response), (&name[..], Some(&data[..])));

        let out = encoded(|out| encode::sasl_response(out, &data));
        prop_assert_eq!(SaslResponse::parse(&out).unwrap().data, &data);

        let body = [&name[..], b"\0", &sql, b"\0", &data].concat();
        let bind = frame(b'B', &body);
        prop_assert_eq!(
            Bind::parse(&bind),
            Ok(Bind { portal: &name, statement: &sql, rest: &data })
        );
    }

    #[test]
    fn backend_messages_come_back(
        name in string(),
        value in string(),
        data in vec(any::<u8>(), 0..40),
        pid in any::<u32>(),
        key in vec(any::<u8>(), 4..=256),
        mechanisms in vec(vec(1_u8..=255, 1..16), 0..4),
        salt in any::<[u8; 4]>(),
    ) {
        let out = encoded(|out| encode::parameter_status(out, &name, &value));
        prop_assert_eq!(only_backend(&out), BackendTag::PARAMETER_STATUS);
        prop_assert_eq!(
            ParameterStatus::parse(&out),
            Ok(ParameterStatus { name: &name, value: &value })
        );

        let secret = BackendKey { pid, key: CancelKey::new(&key).unwrap() };
        let out = encoded(|out| encode::backend_key_data(out, &secret));
        prop_assert_eq!(only_backend(&out), BackendTag::BACKEND_KEY_DATA);
        let view = BackendKeyData::parse(&out).unwrap();
        prop_assert_eq!((view.pid, view.key), (pid, &key[..]));

        let out = encoded(|out| encode::command_complete(out, &value));
        prop_assert_eq!(only_backend(&out), BackendTag::COMMAND_COMPLETE);
        prop_assert_eq!(CommandComplete::parse(&out), Ok(CommandComplete { tag: &value }));

        let names: Vec<&[u8]> = mechanisms.iter().map(|name| &name[..]).collect();
        let out = encoded(|out| encode::auth_sasl(out, &names));
        match Authentication::parse(&out) {
            Ok(Authentication::Sasl { mechanisms }) => prop_assert!(mechanisms.eq(names)),
            other => prop_assert!(false, "{:?}", other),
        }
        let out = encoded(|out| encode::auth_md5(out, salt));
        prop_assert!(matches!(
            Authentication::parse(&out),
            Ok(Authentication::Md5Password { salt: found }) if found == salt
), "another message");
        let out = encoded(|out| encode::auth_sasl_continue(out, &data));
        prop_assert!(matches!(
            Authentication::parse(&out),
            Ok(Authentication::SaslContinue { data: found }) if found == data
), "another message");
        let out = encoded(|out| encode::auth_sasl_final(out, &data));
        prop_assert!(matches!(
            Authentication::parse(&out),
            Ok(Authentication::SaslFinal { data: found }) if found == data
), "another message");

        let body = [&pid.to_be_bytes()[..], &name, b"\0", &value, b"\0"].concat();
        let notification = frame(b'A', &body);
        prop_assert_eq!(
            Notification::parse(&notification),
            Ok(Notification { pid, channel: &name, payload: &value })
        );
    }

    #[test]
    fn errors_come_back(
        message in "\\PC{0,20}",
        detail in proptest::option::of("\\PC{0,20}"),
        hint in proptest::option::of("[a-z\0]{0,20}"),
        is_error in any::<bool>(),
    ) {
        let content = ErrorResponse {
            severity: Severity::Fatal,
            code: SqlState::ADMIN_SHUTDOWN,
            message: &message,
            detail: detail.as_deref(),
            hint: hint.as_deref(),
        };
        let out = encoded(|out| {
            if is_error {
                encode::error_response(out, &content);
            } else {
                encode::notice_response(out, &content);
            }
        });
        let tag = if is_error { BackendTag::ERROR } else { BackendTag::NOTICE };
        prop_assert_eq!(only_backend(&out), tag);
        let view = ErrorOrNotice::parse(&out).unwrap();
        prop_assert_eq!(view.is_error(), is_error);
        prop_assert_eq!(view.is_fatal(), is_error);
        prop_assert_eq!(view.severity(), Some(&b"FATAL"[..]));
        prop_assert_eq!(view.code(), Some(SqlState::ADMIN_SHUTDOWN));
        prop_assert_eq!(view.message(), Some(message.as_bytes()));
        prop_assert_eq!(view.field(b'D'), detail.as_deref().map(str::as_bytes));
        let shown_hint = hint.map(|hint| hint.replace('\0', "?"));
        prop_assert_eq!(view.field(b'H'), shown_hint.as_deref().map(str::as_bytes));
        let codes: Vec<u8> = view.fields().map(|(code, _)| code).collect();
        prop_assert!(codes.starts_with(b"SVCM"));
    }

    /// Every view on every type with any body, whole or not, ends in a value or an error.
    #[test]
    fn noise_is_survived(
        tag in any::<u8>(),
        body in vec(prop_oneof![Just(0_u8), any::<u8>()], 0..40),
        shorter in 0_usize..10,
    ) {
        let mut whole = frame(tag, &body);
        look(&whole);
        whole.truncate(whole.len().saturating_sub(shorter));
        look(&whole);
    }

    /// Literals read back to their value under both settings of `standard_conforming_strings`.
    #[test]
    fn literals_and_identifiers_come_back(
        value in vec(prop_oneof![select_hostile(), 1_u8..=255], 0..20),
    ) {
        let literal = encoded(|out| encode::quote_literal(out, &value));
        for backslash_is_special in [false, true] {
            prop_assert_eq!(read_literal(&literal, backslash_is_special), Some(value.clone()));
        }
        let identifier = encoded(|out| encode::quote_ident(out, &value));
        prop_assert_eq!(read_quoted(&identifier, b'"', false), Some(value));
    }
}

fn select_hostile() -> impl Strategy<Value = u8> {
    proptest::sample::select(b"'\\\"E".to_vec())
}

/// Reads a string constant as the server's lexer does; `None` if it ends early or late.
fn read_literal(text: &[u8], backslash_is_special: bool) -> Option<Vec<u8>> {
    match text.strip_prefix(b" E") {
        Some(escaped) => read_quoted(escaped, b'\'', true),
        None => read_quoted(text, b'\'', backslash_is_special),
    }
}

fn read_quoted(text: &[u8], quote: u8, escapes: bool) -> Option<Vec<u8>> {
    let mut value = Vec::new();
    let mut rest = text.strip_prefix(&[quote])?;
    loop {
        match rest {
            [first] if *first == quote => return Some(value),
            [b'\\', escaped, more @ ..] if escapes => {
                // Only the doubled backslash may occur: any other escape would change the value.
                if *escaped != b'\\' {
                    return None;
                }
                value.push(b'\\');
                rest = more;
            }
            [first, second, more @ ..] if *first == quote => {
                if *second != quote {
                    return None;
                }
                value.push(quote);
                rest = more;
            }
            [first, more @ ..] => {
                value.push(*first);
                rest = more;
            }
            [] => return None,
        }
    }
}

/// Looks at a frame through every view; returns which of them accept it, by name.
fn look(frame: &[u8]) -> Vec<&'static str> {
    let mut accepted = Vec::new();
    let mut note = |name, ok: bool| {
        if ok {
            accepted.push(name);
        }
    };
    note("Query", Query::parse(frame).is_ok());
    note("Parse", Parse::parse(frame).is_ok_and(|parse| parse.type_oids().count() < 65_536));
    note("Bind", Bind::parse(frame).is_ok());
    note("Describe", Describe::parse(frame).is_ok());
    note("Close", Close::parse(frame).is_ok());
    note("Execute", Execute::parse(frame).is_ok());
    note("CopyFail", CopyFail::parse(frame).is_ok());
    note("Password", Password::parse(frame).is_ok());
    note("SaslInitialResponse", SaslInitialResponse::parse(frame).is_ok());
    note("SaslResponse", SaslResponse::parse(frame).is_ok());
    note("Authentication", Authentication::parse(frame).is_ok());
    note(
        "ErrorOrNotice",
        ErrorOrNotice::parse(frame).is_ok_and(|error| {
            let bytes: usize = error.fields().map(|(_, text)| text.len() + 2).sum();
            assert_eq!(bytes + HEADER_LEN + 1, frame.len(), "each byte belongs to a field");
            true
        }),
    );
    note("ParameterStatus", ParameterStatus::parse(frame).is_ok());
    note("BackendKeyData", BackendKeyData::parse(frame).is_ok());
    note("ReadyForQuery", ReadyForQuery::parse(frame).is_ok());
    note("NegotiateProtocolVersion", NegotiateProtocolVersion::parse(frame).is_ok());
    note("CommandComplete", CommandComplete::parse(frame).is_ok());
    note("Notification", Notification::parse(frame).is_ok());
    let _ = (Query::parse_prefix(frame), Parse::parse_prefix(frame), Bind::names(frame));
    let _ = ErrorOrNotice::parse_prefix(frame).map(|error| error.fields().count());
    accepted
}

/// One message of each kind whose layout has an end of its own.
fn closed_layouts() -> Vec<(&'static str, Vec<u8>)> {
    let error = ErrorResponse {
        severity: Severity::Error,
        code: SqlState::SYNTAX_ERROR,
        message: "no",
        detail: None,
        hint: Some("go"),
    };
    vec![
        ("Query", encoded(|out| encode::query(out, b"select 1"))),
        ("Parse", encoded(|out| encode::parse(out, b"s", b"select $1", &[23, 0]))),
        ("Describe", encoded(|out| encode::describe(out, Target::Portal, b"p"))),
        ("Close", encoded(|out| encode::close_statement(out, b"s"))),
        ("Execute", encoded(|out| encode::execute(out, b"p", 10))),
        ("CopyFail", encoded(|out| encode::copy_fail(out, b"no"))),
        ("Password", encoded(|out| encode::password(out, b"secret"))),
        ("SaslInitialResponse", encoded(|out| encode::sasl_initial(out, b"SCRAM-SHA-256", b"n,,"))),
        ("Authentication", encoded(encode::authentication_ok)),
        ("Authentication", encoded(encode::auth_cleartext)),
        ("Authentication", encoded(|out| encode::auth_md5(out, *b"salt"))),
        ("Authentication", encoded(|out| encode::auth_sasl(out, &[b"A", b"B"]))),
        ("ErrorOrNotice", encoded(|out| encode::error_response(out, &error))),
        ("ErrorOrNotice", encoded(|out| encode::notice_response(out, &error))),
        ("ParameterStatus", encoded(|out| encode::parameter_status(out, b"a", b"b"))),
        (
            "ReadyForQuery",
            encoded(|out| encode::ready_for_query(out, TransactionStatus::InTransaction)),
        ),
        (
            "NegotiateProtocolVersion",
            encoded(|out| encode::negotiate_version(out, ProtocolVersion::V3_2, &[b"_pq_.a"])),
        ),
        ("CommandComplete", encoded(|out| encode::command_complete(out, b"BEGIN"))),
        ("Notification", frame(b'A', b"\0\0\0\x01channel\0payload\0")),
    ]
}

#[test]
fn a_message_cut_short_or_with_something_behind_it_is_refused() {
    for (view, sound) in closed_layouts() {
        assert!(look(&sound).contains(&view), "{view} refuses {sound:?}");
        let (tag, body) = (sound[0], &sound[HEADER_LEN..]);
        for keep in 0..body.len() {
            let short = frame(tag, &body[..keep]);
            // A shorter SASLInitialResponse may be a password: only the view itself is asked.
            assert!(!look(&short).contains(&view), "{view} accepts {keep} bytes of {sound:?}");
        }
        for behind in [&b"\0"[..], b"x", b"x\0", b"\0\0\0\0\0"] {
            let long = frame(tag, &[body, behind].concat());
            assert!(!look(&long).contains(&view), "{view} accepts {behind:?} behind {sound:?}");
        }
        let mut lying = sound.clone();
        lying[4] ^= 1;
        assert!(look(&lying).is_empty(), "{view} accepts a wrong length");
        for keep in 0..sound.len() {
            assert!(look(&sound[..keep]).is_empty(), "{view} accepts a piece of a frame");
        }
    }
}

#[test]
fn errors_say_what_is_wrong() {
    assert_eq!(Query::parse(&frame(b'Q', b"a\0b")), Err(DecodeError::TrailingBytes { count: 1 }));
    assert_eq!(Query::parse(&frame(b'Q', b"a")), Err(DecodeError::MissingTerminator));
    assert_eq!(
        Query::parse(&frame(b'P', b"a\0")),
        Err(DecodeError::WrongTag { expected: b'Q', found: b'P' })
    );
    assert_eq!(Query::parse(b"Q\0\0\0"), Err(DecodeError::Truncated));
    assert_eq!(Query::parse(b"Q\0\0\0\x09a\0"), Err(DecodeError::BadLength { tag: b'Q', len: 9 }));
    assert_eq!(
        Describe::parse(&frame(b'D', b"Xs\0")),
        Err(DecodeError::BadValue { field: "statement or portal" })
    );
    assert_eq!(
        ReadyForQuery::parse(&frame(b'Z', b"X")),
        Err(DecodeError::BadValue { field: "transaction status" })
    );
    assert_eq!(
        BackendKeyData::parse(&frame(b'K', b"\0\0\0\x01abc")).map(|_| ()),
        Err(DecodeError::BadCancelKeyLength { len: 3 })
    );
    assert_eq!(DecodeError::Truncated.sqlstate(), SqlState::PROTOCOL_VIOLATION);
}

#[test]
fn names_are_read_from_the_beginning_of_a_long_message() {
    let sql = [&b"select '"[..], &vec![b'x'; 100_000], b"'"].concat();
    let out = encoded(|out| encode::parse(out, b"s1", &sql, &[23]));
    let prefix = Parse::parse_prefix(&out[..1_000]).unwrap();
    assert_eq!((prefix.statement, prefix.sql_is_complete), (&b"s1"[..], false));
    assert_eq!(prefix.sql, &sql[..1_000 - HEADER_LEN - 3]);
    let prefix = Parse::parse_prefix(&out[..out.len() - 4]).unwrap();
    assert!(prefix.sql_is_complete && prefix.sql == sql);
    assert_eq!(Parse::parse_prefix(&out[..7]), Err(DecodeError::MissingTerminator));

    let bind = frame(b'B', &[&b"p1\0s1\0"[..], &vec![0xff; 50_000]].concat());
    let names = Bind::names(&bind[..100]).unwrap();
    assert_eq!((names.portal, names.statement), (&b"p1"[..], &b"s1"[..]));
    assert_eq!(Bind::names(&bind[..10]), Err(DecodeError::MissingTerminator));

    let query = encoded(|out| encode::query(out, &sql));
    assert_eq!(Query::parse_prefix(&query[..105]), Ok(&sql[..100]));

    let error = encoded(|out| {
        encode::error_response(
            out,
            &ErrorResponse {
                severity: Severity::Error,
                code: SqlState::READ_ONLY_SQL_TRANSACTION,
                message: &"m".repeat(50_000),
                detail: None,
                hint: None,
            },
        );
    });
    let seen = ErrorOrNotice::parse_prefix(&error[..200]).unwrap();
    assert_eq!(seen.code(), Some(SqlState::READ_ONLY_SQL_TRANSACTION));
    assert_eq!(seen.message(), None);
}

#[test]
fn sixty_five_thousand_parameter_types() {
    let types = vec![23; 70_000];
    let out = encoded(|out| encode::parse(out, b"", b"", &types));
    assert_eq!(Parse::parse(&out).unwrap().type_oids().count(), 65_535);
}

#[test]
fn a_sasl_response_may_be_absent_or_lie_about_its_length() {
    let initial = |len: i32, data: &[u8]| {
        let frame = frame(b'p', &[&b"M\0"[..], &len.to_be_bytes(), data].concat());
        SaslInitialResponse::parse(&frame).map(|initial| initial.response.map(<[u8]>::to_vec))
    };
    assert_eq!(initial(-1, b""), Ok(None));
    assert_eq!(initial(0, b""), Ok(Some(vec![])));
    assert_eq!(initial(2, b"ab"), Ok(Some(b"ab".to_vec())));
    assert_eq!(initial(-1, b"x"), Err(DecodeError::TrailingBytes { count: 1 }));
    assert_eq!(initial(1, b"ab"), Err(DecodeError::TrailingBytes { count: 1 }));
    for len in [-2, i32::MIN, 3, i32::MAX] {
        assert_eq!(initial(len, b"ab"), Err(DecodeError::Truncated));
    }
}

#[test]
fn unknown_authentication_is_reported_by_its_code() {
    for code in [2, 7, 8, 9, 13, -1, i32::MAX] {
        let frame = frame(b'R', &[&code.to_be_bytes()[..], b"data"].concat());
        assert!(matches!(
            Authentication::parse(&frame),
            Ok(Authentication::Unsupported(found)) if found == code
        ));
    }
}

#[test]
fn errors_of_old_servers_have_a_severity_too() {
    let old = frame(b'E', b"SFATAL\0C57P01\0Mbye\0\0");
    let old = ErrorOrNotice::parse(&old).unwrap();
    assert!(old.is_fatal());
    // What is translated must not decide if the other is there.
    let translated = frame(b'E', "SVERHÄNGNISVOLL\0VPANIC\0Cxx000\0\0".as_bytes());
    let translated = ErrorOrNotice::parse(&translated).unwrap();
    assert!(translated.is_fatal());
    assert_eq!(translated.code(), None);
    assert_eq!(translated.message(), None);
}

#[test]
fn secrets_are_not_shown() {
    let secret = b"hunter2";
    let shown = [
        format!("{:?}", Password { password: secret }),
        format!("{:?}", SaslResponse { data: secret }),
        format!("{:?}", SaslInitialResponse { mechanism: b"M", response: Some(secret) }),
        format!("{:?}", Authentication::SaslContinue { data: secret }),
        format!("{:?}", Authentication::SaslFinal { data: secret }),
        format!("{:?}", BackendKeyData { pid: 1, key: secret }),
        format!("{:?}", Bind { portal: b"", statement: b"", rest: secret }),
    ];
    for shown in shown {
        // A slice is shown in decimal: `h` is 104, `u` is 117.
        assert!(!shown.contains("hunter") && !shown.contains("104, 117"), "{shown}");
    }
}

#[test]
fn replies_without_a_body() {
    for (tag, write) in [
        (BackendTag::PARSE_COMPLETE, encode::parse_complete as fn(&mut Vec<u8>)),
        (BackendTag::BIND_COMPLETE, encode::bind_complete),
        (BackendTag::CLOSE_COMPLETE, encode::close_complete),
        (BackendTag::NO_DATA, encode::no_data),
        (BackendTag::EMPTY_QUERY, encode::empty_query),
    ] {
        assert_eq!(encoded(write), [tag.as_byte(), 0, 0, 0, 4]);
    }
    assert_eq!(encoded(encode::sync), b"S\0\0\0\x04");
    assert_eq!(encoded(encode::flush), b"H\0\0\0\x04");
    assert_eq!(encoded(encode::terminate), b"X\0\0\0\x04");
    for status in
        [TransactionStatus::Idle, TransactionStatus::InTransaction, TransactionStatus::Failed]
    {
        let out = encoded(|out| encode::ready_for_query(out, status));
        assert_eq!(ReadyForQuery::parse(&out), Ok(ReadyForQuery { status }));
        assert_eq!(TransactionStatus::from_byte(status.byte()), Some(status));
        assert_eq!(status.in_block(), status != TransactionStatus::Idle);
    }
}

#[test]
fn a_nul_byte_ends_no_string_early() {
    let out = encoded(|out| encode::query(out, b"select 1\0; drop"));
    assert_eq!(Query::parse(&out).unwrap().sql, b"select 1?; drop");
    let out = encoded(|out| encode::quote_literal(out, b"a\0'b"));
    assert_eq!(out, b"'a?''b'");
}

#[test]
fn literals_with_a_backslash_take_the_escape_form() {
    let literal = |value: &[u8]| encoded(|out| encode::quote_literal(out, value));
    assert_eq!(literal(b"plain"), b"'plain'");
    assert_eq!(literal(br"'; drop table t; --"), b"'''; drop table t; --'");
    assert_eq!(literal(br"\'; drop"), br" E'\\''; drop'");
    assert_eq!(encoded(|out| encode::quote_ident(out, br#"a"b\"#)), br#""a""b\""#);
}

#[test]
fn sqlstates() {
    assert_eq!(SqlState::from_bytes(b"25006"), Some(SqlState::READ_ONLY_SQL_TRANSACTION));
    for bad in [&b""[..], b"2500", b"250066", b"2500a", b"2500\0", b"25-06"] {
        assert_eq!(SqlState::from_bytes(bad), None);
    }
    assert_eq!(SqlState::PROTOCOL_VIOLATION.to_string(), "08P01");
    assert_eq!(SqlState::PROTOCOL_VIOLATION.class(), *b"08");
    assert_eq!(format!("{:?}", SqlState::INTERNAL_ERROR), "SqlState(XX000)");
}

#[test]
fn a_cursor_never_leaves_its_message() {
    let mut cursor = Cursor::new(b"\x01\xff\xfe\0\0\0\x07ab\0rest");
    assert_eq!(cursor.u8(), Ok(1));
    assert_eq!(cursor.i16(), Ok(-2));
    assert_eq!(cursor.u32(), Ok(7));
    assert_eq!(cursor.cstr(), Ok(&b"ab"[..]));
    assert_eq!(cursor.cstr(), Err(DecodeError::MissingTerminator));
    assert_eq!(cursor.bytes(5), Err(DecodeError::Truncated));
    assert_eq!(cursor.bytes(usize::MAX), Err(DecodeError::Truncated));
    assert_eq!(cursor.finish(), Err(DecodeError::TrailingBytes { count: 4 }));
    assert_eq!(cursor.rest(), b"rest");
    assert!(cursor.is_empty());
    assert_eq!(cursor.u8(), Err(DecodeError::Truncated));
    assert_eq!(cursor.finish(), Ok(()));
}
