//! Values and results much larger than any buffer.

use crate::{Cluster, Scenario, drivers};

/// A value of 20 MB goes to the server and comes back, as a parameter and as a literal.
pub fn huge_value(scenario: &Scenario) {
    const SIZE: usize = 20 * 1024 * 1024;
    let cluster = Cluster::shared();
    let database = cluster.create_database_with("CREATE TABLE t (v text)");
    let proxy = scenario.start(cluster, &scenario.config());
    let mut client = proxy.connect(&database);
    let value: String = (0..SIZE / 8).map(|i| format!("{i:07} ")).collect();
    for by_parameter in [true, false] {
        client.query("BEGIN").ok();
        if by_parameter {
            client.extended("INSERT INTO t VALUES ($1)", &[Some(&value)]).ok();
        } else {
            client.query(&format!("INSERT INTO t VALUES ('{value}')")).ok();
        }
        // Compared without assert_eq, which would print both.
        assert!(client.query("SELECT v FROM t").value() == value, "parameter: {by_parameter}");
        client.query("ROLLBACK").ok();
    }
    assert!(client.extended("SELECT $1::text", &[Some(&value)]).value() == value);
    client.close();
}

/// `psql` reads two hundred thousand rows.
pub fn many_rows(scenario: &Scenario) {
    const ROWS: usize = 200_000;
    let cluster = Cluster::shared();
    let database = cluster.create_database();
    let proxy = scenario.start(cluster, &scenario.config());
    let sql = format!("SELECT g, 'row ' || g FROM generate_series(1, {ROWS}) g");
    let out = drivers::psql(&proxy, &database, &sql);
    let wrong =
        out.lines().enumerate().find(|(i, line)| *line != format!("{n}|row {n}", n = i + 1));
    assert_eq!(wrong, None);
    assert_eq!(out.lines().count(), ROWS);
}
