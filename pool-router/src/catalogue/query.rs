//! The query by which a database's catalogue is looked up.

use std::time::Duration;

use crate::classify::functions::primary_only;

/// The query for any server; names in braces are filled in.
const TEMPLATE: &str = include_str!("facts.sql");

/// Built-in functions that `pg_proc` calls volatile and that write nothing.
const HARMLESS_VOLATILE: [&str; 14] = [
    "random",
    "random_normal",
    "clock_timestamp",
    "timeofday",
    "gen_random_uuid",
    "uuidv4",
    "uuidv7",
    "array_sample",
    "array_shuffle",
    "pg_sleep",
    "pg_sleep_for",
    "pg_sleep_until",
    "pg_partition_ancestors",
    "pg_partition_tree",
];

/// The release since which functions may have a parsed body (PostgreSQL docs, "CREATE FUNCTION").
const PARSED_BODIES: u32 = 14;

/// The query for a server of this major version. It answers with `most` rows at the most, and is
/// given up by the server after `timeout`.
#[must_use]
pub fn text(major: u32, most: u32, timeout: Duration) -> String {
    let (writing, server) = primary_only();
    let (tree, body) = if major >= PARSED_BODIES {
        ("p.prosqlbody::text", "pg_get_function_sqlbody(r.oid)")
    } else {
        ("NULL::text", "NULL::text")
    };
    TEMPLATE
        .replace("{writing}", &writing.join(","))
        .replace("{server}", &server.join(","))
        .replace("{harmless}", &HARMLESS_VOLATILE.join(","))
        .replace("{body_tree}", tree)
        .replace("{body_text}", body)
        .replace("{most}", &most.to_string())
        .replace("{timeout}", &timeout.as_millis().max(1).to_string())
}

/// The major version in a reported `server_version`, such as `15.4 (Debian 15.4-1)`, `9.6.2` or
/// `18beta1`. 0 if there is none.
#[must_use]
pub fn major(server_version: &[u8]) -> u32 {
    let digits = server_version.iter().take_while(|byte| byte.is_ascii_digit());
    digits.fold(0, |number: u32, digit| {
        number.saturating_mul(10).saturating_add(u32::from(digit - b'0'))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::classify::functions::is_known_harmless;

    #[test]
    fn everything_is_filled_in() {
        for major in [11, 13, 14, 18] {
            let sql = text(major, 77, Duration::from_secs(3));
            for name in
                ["writing", "server", "harmless", "body_tree", "body_text", "most", "timeout"]
            {
                assert!(!sql.contains(&format!("{{{name}}}")), "{name}");
            }
            assert!(sql.contains("LIMIT 77") && sql.contains("statement_timeout TO 3000"));
            assert_eq!(sql.contains("prosqlbody"), major >= 14);
            assert!(sql.contains("nextval,") && sql.contains("pg_backend_pid,"));
        }
    }

    #[test]
    fn harmless_volatile_functions_are_harmless() {
        for name in HARMLESS_VOLATILE {
            assert!(is_known_harmless(name.as_bytes()), "{name}");
        }
    }

    #[test]
    fn versions() {
        for (text, expected) in
            [("15.4 (Debian 15.4-1)", 15), ("18beta1", 18), ("9.6.2", 9), ("", 0), ("x", 0)]
        {
            assert_eq!(major(text.as_bytes()), expected);
        }
        assert_eq!(major(b"99999999999999"), u32::MAX);
    }
}
