//! The parameter map against a `BTreeMap`, its bounds, and what clones share.
#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::collections::BTreeMap;

use pgwire_core::params::{MAX_PARAMS, MAX_PARAMS_BYTES, Params, TooMany};
use proptest::collection::vec;
use proptest::prelude::*;

/// Few names in both cases, so that they meet.
fn name() -> impl Strategy<Value = String> {
    "[abAB]{1,2}"
}

proptest! {
    #[test]
    fn behaves_like_a_map(
        steps in vec((name(), proptest::option::weighted(0.8, "[xy]{0,2}")), 0..60),
    ) {
        let mut params = Params::new();
        let mut model: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in steps {
            let key = name.to_ascii_lowercase();
            let snapshot = (params.clone(), model.clone());
            match value {
                Some(value) => {
                    let changed = params.set(name.as_bytes(), value.as_bytes());
                    let before = model.insert(key, value.clone());
                    prop_assert_eq!(changed, Ok(before != Some(value)));
                    prop_assert_eq!(params.ptr_eq(&snapshot.0), changed == Ok(false));
                }
                None => {
                    prop_assert_eq!(params.remove(name.as_bytes()), model.remove(&key).is_some());
                }
            }
            for (params, model) in [(&params, &model), (&snapshot.0, &snapshot.1)] {
                prop_assert_eq!(params.len(), model.len());
                let found: Vec<(String, &[u8])> = params
                    .iter()
                    .map(|(name, value)| {
                        (String::from_utf8(name.to_ascii_lowercase()).unwrap(), value)
                    })
                    .collect();
                let expected: Vec<(String, &[u8])> =
                    model.iter().map(|(name, value)| (name.clone(), value.as_bytes())).collect();
                prop_assert_eq!(found, expected, "in order, and clones keep what they had");
            }
        }
    }

    #[test]
    fn diff_makes_the_tracked_ones_equal(
        want in vec((name(), "[xy]{0,1}"), 0..8),
        have in vec((name(), "[xy]{0,1}"), 0..8),
        tracked in vec(name(), 0..6),
    ) {
        let build = |pairs: Vec<(String, String)>| {
            let mut params = Params::new();
            for (name, value) in pairs {
                params.set(name.as_bytes(), value.as_bytes()).unwrap();
            }
            params
        };
        let (want, mut have) = (build(want), build(have));
        let tracked: Vec<&str> = tracked.iter().map(String::as_str).collect();
        let changes: Vec<(String, Vec<u8>)> = Params::diff(&want, &have, &tracked)
            .map(|(name, value)| (name.to_owned(), value.to_vec()))
            .collect();
        for (name, value) in &changes {
            prop_assert!(tracked.contains(&name.as_str()));
            prop_assert_ne!(have.get(name.as_bytes()), Some(&value[..]), "no idle change");
        }
        for (name, value) in &changes {
            have.set(name.as_bytes(), value).unwrap();
        }
        for name in &tracked {
            if let Some(value) = want.get(name.as_bytes()) {
                prop_assert_eq!(have.get(name.as_bytes()), Some(value));
            }
        }
        prop_assert_eq!(Params::diff(&want, &want.clone(), &tracked).count(), 0);
    }
}

#[test]
fn a_name_keeps_its_first_spelling() {
    let mut params = Params::new();
    assert_eq!(params.set(b"TimeZone", b"UTC"), Ok(true));
    assert_eq!(params.set(b"timezone", b"CET"), Ok(true));
    assert_eq!(params.set(b"TIMEZONE", b"CET"), Ok(false));
    assert_eq!(params.iter().collect::<Vec<_>>(), [(&b"TimeZone"[..], &b"CET"[..])]);
    assert_eq!(params.get(b"tImEzOnE"), Some(&b"CET"[..]));
}

#[test]
fn the_number_is_bounded() {
    let mut params = Params::new();
    for n in 0..MAX_PARAMS {
        assert_eq!(params.set(format!("p{n}").as_bytes(), b"v"), Ok(true));
    }
    let full = params.clone();
    assert_eq!(params.set(b"one_more", b"v"), Err(TooMany));
    assert!(params.ptr_eq(&full), "a refusal changes nothing");
    assert_eq!(params.set(b"P0", b"w"), Ok(true), "what is there may still change");
    assert!(params.remove(b"p1"));
    assert_eq!(params.set(b"one_more", b"v"), Ok(true));
}

#[test]
fn the_size_is_bounded() {
    let mut params = Params::new();
    let most = vec![b'x'; MAX_PARAMS_BYTES - 1];
    assert_eq!(params.set(b"a", &most), Ok(true));
    assert_eq!(params.total_bytes(), MAX_PARAMS_BYTES);
    assert_eq!(params.set(b"b", b""), Err(TooMany));
    assert_eq!(params.set(b"a", &[b'x'; MAX_PARAMS_BYTES]), Err(TooMany));
    assert_eq!(params.set(b"a", &most), Ok(false));
    assert_eq!(params.set(b"a", b"short"), Ok(true));
    assert_eq!(params.set(b"b", b""), Ok(true));
}
