//! `SETTINGS.md` is what the table of parameters says.

#![expect(clippy::disallowed_methods, reason = "a test may read and write a file")]

use pool_router::config::reference;

const FILE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/SETTINGS.md");

#[test]
fn the_file_is_up_to_date() {
    let wanted = format!(
        "<!-- Generated from src/config/table: BLESS=1 cargo test -p pool-router --test \
         settings_reference -->\n\n{}",
        reference::markdown()
    );
    if std::env::var_os("BLESS").is_some() {
        std::fs::write(FILE, &wanted).expect(FILE);
        return;
    }
    let present = std::fs::read_to_string(FILE).expect(FILE);
    let differing = present.lines().zip(wanted.lines()).find(|(old, new)| old != new);
    assert!(
        present == wanted,
        "{FILE} is out of date (first difference: {differing:?}); run BLESS=1 cargo test -p \
         pool-router --test settings_reference"
    );
}
