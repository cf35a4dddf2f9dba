//! What a server may send after its answer to an encryption request.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pgwire_core::backend::{
    Authentication, BackendKeyData, CommandComplete, ErrorOrNotice, NegotiateProtocolVersion,
    Notification, ParameterStatus, ReadyForQuery,
};
use pgwire_core::encode;
use pgwire_core::tag::Backend;

fuzz_target!(|data: &[u8]| {
    pgweir_fuzz::frames::<Backend>(data, |frame| {
        let mut again = Vec::new();
        if let Ok(Authentication::Sasl { mechanisms }) = Authentication::parse(frame) {
            let mechanisms: Vec<&[u8]> = mechanisms.collect();
            encode::auth_sasl(&mut again, &mechanisms);
            assert_eq!(again, frame);
        }
        if let Ok(error) = ErrorOrNotice::parse(frame) {
            let bytes: usize = error.fields().map(|(_, text)| text.len() + 2).sum();
            assert_eq!(bytes + 6, frame.len(), "each byte belongs to a field");
            let _ = (error.severity(), error.code(), error.message(), error.is_fatal());
        }
        if let Ok(error) = ErrorOrNotice::parse_prefix(frame) {
            let _ = (error.code(), error.fields().count());
        }
        if let Ok(status) = ParameterStatus::parse(frame) {
            again.clear();
            encode::parameter_status(&mut again, status.name, status.value);
            assert_eq!(again, frame);
        }
        if let Ok(negotiate) = NegotiateProtocolVersion::parse(frame) {
            let (_, options) = (negotiate.version(), negotiate.options);
            let bytes: usize = options.map(|option| option.len() + 1).sum();
            assert_eq!(bytes + 13, frame.len(), "each byte belongs to an option");
        }
        if let Ok(ready) = ReadyForQuery::parse(frame) {
            again.clear();
            encode::ready_for_query(&mut again, ready.status);
            assert_eq!(again, frame);
        }
        if let Ok(key) = BackendKeyData::parse(frame) {
            assert!((4..=256).contains(&key.key.len()));
        }
        let _ = (CommandComplete::parse(frame), Notification::parse(frame));
    });
});
