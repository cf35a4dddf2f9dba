//! The first bytes of a connection.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pgwire_core::encode;
use pgwire_core::startup::{
    Initial, MAX_STARTUP_LEN, Negotiated, ProtocolVersion, StartupPacket, negotiate, parse_initial,
};

fuzz_target!(|data: &[u8]| {
    let whole = parse_initial(data);
    // What is decided about a prefix must not be taken back when more arrives.
    for len in 0..data.len().min(64) {
        match parse_initial(&data[..len]) {
            Ok(Initial::Need { at_least }) => {
                assert!(at_least > len && at_least <= MAX_STARTUP_LEN as usize);
            }
            Ok(Initial::DirectTls) => assert!(matches!(whole, Ok(Initial::DirectTls))),
            Ok(Initial::Packet { consumed, .. }) => {
                assert!(consumed <= len);
                assert!(
                    matches!(whole, Ok(Initial::Packet { consumed: same, .. }) if same == consumed)
                );
            }
            Err(error) => assert_eq!(whole.as_ref().err(), Some(&error)),
        }
    }
    let Ok(Initial::Packet { packet: StartupPacket::Startup(message), consumed }) = whole else {
        return;
    };
    for newest in [ProtocolVersion::V3_0, ProtocolVersion::V3_2] {
        match negotiate(&message, newest) {
            Err(error) => {
                assert_ne!(message.version().major, 3);
                assert!(!error.to_string().is_empty());
            }
            Ok(Negotiated::Accept(version)) => {
                assert!(version == message.version() && version <= newest);
                assert_eq!(message.protocol_options().count(), 0);
            }
            Ok(Negotiated::Downgrade { use_version, unknown_options }) => {
                assert!(use_version <= newest && use_version <= message.version());
                assert!(use_version < message.version() || !unknown_options.is_empty());
            }
        }
    }
    if message.version().major == 3 {
        let mut again = Vec::new();
        encode::startup(&mut again, message.version(), message.params());
        assert_eq!(Some(&again[..]), data.get(..consumed));
        for (name, _) in message.params() {
            assert!(message.get(name).is_some());
        }
    }
});
