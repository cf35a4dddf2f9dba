//! What a client may send after its startup packet.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pgwire_core::frontend::{
    Bind, Close, CopyFail, Describe, Execute, Parse, Password, Query, SaslInitialResponse,
    SaslResponse,
};
use pgwire_core::tag::Frontend;

fuzz_target!(|data: &[u8]| {
    pgweir_fuzz::frames::<Frontend>(data, |frame| {
        if let Ok(query) = Query::parse(frame) {
            assert_eq!(Query::parse_prefix(frame), Ok(query.sql));
        }
        if let Ok(parse) = Parse::parse(frame) {
            let prefix = Parse::parse_prefix(frame).expect("a whole message has a beginning");
            assert_eq!((prefix.statement, prefix.sql), (parse.statement, parse.sql));
            assert!(prefix.sql_is_complete);
            assert_eq!(parse.type_oids().count() * 4, parse.parameter_types.len());
            let oids: Vec<u32> = parse.type_oids().collect();
            let mut again = Vec::new();
            pgwire_core::encode::parse(&mut again, parse.statement, parse.sql, &oids);
            assert_eq!(again, frame);
        }
        if let Ok(bind) = Bind::parse(frame) {
            let names = Bind::names(frame).expect("a whole message has a beginning");
            assert_eq!((names.portal, names.statement), (bind.portal, bind.statement));
        }
        if let Ok(describe) = Describe::parse(frame) {
            let mut again = Vec::new();
            pgwire_core::encode::describe(&mut again, describe.target, describe.name);
            assert_eq!(again, frame);
        }
        let _ = (Parse::parse_prefix(frame), Bind::names(frame), Query::parse_prefix(frame));
        let _ = (Close::parse(frame), Execute::parse(frame), CopyFail::parse(frame));
        let _ = (Password::parse(frame), SaslResponse::parse(frame));
        let _ = SaslInitialResponse::parse(frame);
    });
});
