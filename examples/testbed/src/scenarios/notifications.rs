//! LISTEN and NOTIFY.

use crate::raw_client::{Message, RawClient};
use crate::{Cluster, Scenario, wire};

/// A client recognizes its own notifications by the process id that it was told at login, and hears
/// those of others while it is idle.
pub fn own_and_others(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let proxy = scenario.start(cluster, &scenario.config());
    let mut listener = proxy.connect(&database);
    let mut other = proxy.connect(&database);
    listener.query("LISTEN news").ok();

    listener.send(&wire::query("NOTIFY news, 'mine'"));
    listener.expect(b'C');
    let own = listener.expect(b'A');
    assert_eq!(note(&own), (listener.pid, "mine".to_owned()));
    listener.expect(b'Z');
    // In between come rows, of which the relay looks at none.
    listener.send(&wire::query("NOTIFY news, 'again'; SELECT generate_series(1, 1000)"));
    assert_eq!(note(&until_note(&mut listener)), (listener.pid, "again".to_owned()));
    listener.expect(b'Z');

    let long = "x".repeat(7_999);
    for payload in ["theirs", &long] {
        other.query(&format!("NOTIFY news, '{payload}'")).ok();
        let (pid, text) = note(&listener.expect(b'A'));
        assert_eq!(text, payload);
        assert_ne!(pid, listener.pid);
    }
    listener.query("UNLISTEN *").ok();
    assert_eq!(listener.query("SELECT 'on'").value(), "on");
}

fn until_note(client: &mut RawClient) -> Message {
    loop {
        let message = client.next().unwrap_or_else(|| panic!("the connection has ended"));
        if message.tag == b'A' {
            return message;
        }
    }
}

/// The process id and the payload of a NotificationResponse.
fn note(message: &Message) -> (u32, String) {
    let (pid, names) = message.body.split_first_chunk::<4>().unwrap_or_else(|| panic!("too short"));
    let payload = names.split(|byte| *byte == 0).nth(1).unwrap_or_default();
    (u32::from_be_bytes(*pid), String::from_utf8_lossy(payload).into_owned())
}
