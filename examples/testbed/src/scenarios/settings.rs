//! What a session sets holds on both of its servers, and nowhere else.
//!
//! Each session is led twice, directly and through the proxy. A function that reads a setting by
//! its name, in a way that nobody can see in its text, shows the value on the standby, and together
//! with a row lock that on the primary.

use super::comparison::{At, Comparison, Step, e, q, raw};
use crate::{Cluster, Node, RawClient, Scenario, wire};

const SCHEMA: &str = "
    CREATE TABLE one (a int);
    INSERT INTO one VALUES (1);
    CREATE SCHEMA x;
    CREATE SCHEMA y;
    CREATE TABLE place (v text);
    CREATE TABLE x.place (v text);
    CREATE TABLE y.place (v text);
    INSERT INTO place VALUES ('public');
    INSERT INTO x.place VALUES ('x');
    INSERT INTO y.place VALUES ('y');
    CREATE TABLE guarded (tenant text, a int);
    INSERT INTO guarded VALUES ('red', 1), ('blue', 2);
    ALTER TABLE guarded ENABLE ROW LEVEL SECURITY;
    ALTER TABLE guarded FORCE ROW LEVEL SECURITY;
    CREATE POLICY p ON guarded USING (tenant = current_setting('app.tenant', true));
    CREATE TABLE w (a int);
    GRANT USAGE ON SCHEMA x, y TO PUBLIC;
    GRANT ALL ON ALL TABLES IN SCHEMA public, x, y TO PUBLIC;
    CREATE FUNCTION setting_of(name text) RETURNS text LANGUAGE plpgsql STABLE AS
        $$ DECLARE v text; BEGIN
            EXECUTE 'SELECT current_' || 'setting($1, true)' INTO v USING name;
            -- A parameter that was known once is empty afterwards, not unknown, in every session.
            RETURN coalesce(v, '');
        END $$;
    CREATE FUNCTION who() RETURNS text LANGUAGE plpgsql STABLE AS
        $$ DECLARE v text; BEGIN
            EXECUTE 'SELECT current_' || 'user::text' INTO v; RETURN v;
        END $$;
";
const TABLES: [&str; 2] = ["TRUNCATE w", "SELECT a FROM w ORDER BY a"];

fn comparison<'a>(cluster: &'a Cluster, scenario: &Scenario) -> Comparison<'a> {
    // One server of each node, so that the next session finds what the last one has left.
    let config = scenario.config().weights(0, 1).pool_size(1);
    let it = Comparison::new(cluster, scenario, &config, SCHEMA, TABLES);
    // Roles belong to the whole cluster: each scenario has its own.
    let [direct, _] = it.databases();
    let sql = format!("GRANT {} TO {}", role(direct), crate::cluster::APP);
    cluster.sql(Node::Primary, direct, &format!("CREATE ROLE {}; {sql}", role(direct)));
    cluster.wait_replayed();
    it
}

fn role(database: &str) -> String {
    format!("role_{database}")
}

const NAMES: [&str; 10] = [
    "search_path",
    "app.tenant",
    "app.x",
    "work_mem",
    "statement_timeout",
    "TimeZone",
    "default_transaction_isolation",
    "default_transaction_read_only",
    "application_name",
    "bytea_output",
];

/// Looks at everything, on both nodes.
fn look(steps: &mut Vec<Step<'_>>, ask: fn(&str) -> Step<'static>) {
    let list: Vec<_> = NAMES.iter().map(|name| format!("public.setting_of('{name}')")).collect();
    let list = list.join(", ");
    let reads = [
        format!("{list}, public.who() FROM public.one"),
        "v FROM place".into(),
        "a FROM public.guarded".into(),
    ];
    for read in reads {
        steps.push(ask(&format!("SELECT {read}")));
        steps.push(ask(&format!("SELECT {read} FOR UPDATE")));
    }
}

/// Sets, looks, leaves; and the next client finds nothing of it.
fn sets(it: &mut Comparison<'_>, texts: &[&str]) {
    for ask in [q as fn(&str) -> Step<'static>, e] {
        let mut steps = Vec::new();
        look(&mut steps, ask);
        for text in texts {
            steps.push(if text.contains("; ") { q(text) } else { ask(text) });
            look(&mut steps, ask);
        }
        it.session(&format!("{texts:?}"), steps);
        let mut steps = Vec::new();
        look(&mut steps, ask);
        it.session(&format!("after {texts:?}"), steps);
    }
}

/// One parameter or several, set and reset in every way.
pub fn settings_hold_everywhere(scenario: &Scenario) {
    let mut it = comparison(Cluster::shared(), scenario);
    let role = role(it.databases()[0]);
    for texts in [
        &["SET search_path = x", "SET search_path TO y, public", "SET SCHEMA 'x'"][..],
        &["SET search_path = x", "RESET search_path"],
        &["SET search_path = x", "SET search_path TO DEFAULT"],
        &["SET app.tenant = 'red'", "SET app.tenant TO 'blue'", "RESET app.tenant"],
        &["set App.Tenant = 'red'", "SET app.x = 'it''s; -- x'", "SET app.x = E'a\\'b'"],
        &["SET work_mem = '1MB'", "SET statement_timeout = '30s'", "RESET ALL"],
        &["SET work_mem = '1MB'", "SET work_mem = '2GB GB'", "SET nothing = 1"],
        &["SET SESSION work_mem = '1MB'", "SET LOCAL work_mem = '2MB'", "RESET work_mem"],
        &[&format!("SET ROLE {role}"), "RESET ROLE"],
        &[&format!("SET ROLE {role}"), "SET ROLE NONE"],
        &["SET ROLE nobody"],
        &[&format!("SET ROLE '{role}'"), "SET search_path = x", "RESET ALL", "RESET ROLE"],
        &["SET SESSION AUTHORIZATION app", "SET SESSION AUTHORIZATION DEFAULT"],
        &["SET SESSION AUTHORIZATION postgres"],
        &["SET TIME ZONE 'Asia/Tokyo'", "SET TIME ZONE LOCAL", "SET TIME ZONE -3"],
        &["SET TimeZone = 'Asia/Tokyo'", "SET app.x = 1", "RESET ALL"],
        &["SET application_name = 'a b'", "SET bytea_output = escape", "RESET application_name"],
        &["SET NAMES 'LATIN1'", "SET NAMES 'UTF8'"],
        &[
            "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
            "INSERT INTO public.w VALUES (1)",
        ],
        &[
            "SET SESSION CHARACTERISTICS AS TRANSACTION ISOLATION LEVEL REPEATABLE READ",
            "BEGIN; INSERT INTO public.w VALUES (1); COMMIT",
            "RESET default_transaction_isolation",
        ],
        &["SET default_transaction_read_only = on", "SET default_transaction_read_only = off"],
        &["SET default_transaction_isolation = serializable", "RESET ALL"],
        &["SET app.x = 1; SET app.tenant = 'red'", "SELECT 1 / 0", "RESET app.x; SELECT 1 / 0"],
        &[
            "SET app.x = 1; SELECT 1 / 0",
            "SET app.x = 2; SET app.tenant = 'blue'; SELECT a FROM one",
        ],
        &["SELECT set_config('app.tenant', 'red', false)", "SET app.x = 1"],
        &["SELECT set_config('app.tenant', 'red', true)", "SET app.x = 1"],
        &[
            "SET app.x = 1",
            "DISCARD ALL",
            "SET app.tenant = 'red'",
            "DISCARD PLANS",
            "DISCARD TEMP",
        ],
        &["SET enable_seqscan = off", "SET datestyle = german", "SET IntervalStyle = iso_8601"],
        &["SET standard_conforming_strings = off", "SET app.x = 'a\\'b'", "RESET ALL"],
        &["SET XML OPTION DOCUMENT", "SET SEED TO 0.5", "SET app.x = 1"],
        &["ALTER ROLE app SET nothing.x = 1", "SET app.x = DEFAULT"],
        &["DO $$ BEGIN SET app.tenant = 'red'; END $$", "SET app.x = 1"],
    ] {
        sets(&mut it, texts);
    }
    it.finish();
}

/// What is set in a transaction holds if that commits.
pub fn settings_in_transactions(scenario: &Scenario) {
    let mut it = comparison(Cluster::shared(), scenario);
    let mut number = 0;
    for set in ["SET app.tenant = 'red'", "SET search_path = x", "SET TimeZone = 'Asia/Tokyo'"] {
        for end in ["COMMIT", "ROLLBACK", "COMMIT AND CHAIN", "ROLLBACK AND CHAIN"] {
            for middle in [
                &[][..],
                &["SELECT a FROM public.one"],
                &["SELECT a FROM public.one", "INSERT INTO public.w VALUES (1)"],
                &["INSERT INTO public.w VALUES (1)"],
                &["SELECT 1 / 0"],
                &["SELECT a / 0 FROM public.one"],
                &["SAVEPOINT s", "SET app.x = 1", "ROLLBACK TO s"],
                &["SAVEPOINT s", "SET app.x = 1", "RELEASE s", "SELECT a FROM public.one"],
                &["SAVEPOINT s", "SET app.x = 1", "SELECT a / 0 FROM public.one", "ROLLBACK TO s"],
                &["SET LOCAL app.x = 2", "SET app.x = 3"],
                &["RESET app.tenant", "SELECT v FROM place"],
                &["RESET ALL", "SELECT v FROM place"],
            ] {
                number += 1;
                let ask = if number % 2 == 0 { q as fn(&str) -> Step<'static> } else { e };
                let mut steps = vec![ask("SET app.x = 0"), ask("SELECT a FROM public.one")];
                steps.push(ask("BEGIN"));
                steps.push(ask(set));
                steps.extend(middle.iter().map(|sql| ask(sql)));
                steps.push(ask(end));
                steps.push(ask("SELECT a FROM public.one"));
                steps.push(ask("SELECT public.setting_of('app.x') FROM public.one FOR UPDATE"));
                steps.push(ask("COMMIT"));
                look(&mut steps, ask);
                it.session(&format!("{set}, {middle:?}, {end}"), steps);
            }
        }
    }
    let mut steps = Vec::new();
    look(&mut steps, q);
    it.session("afterwards", steps);
    it.finish();
}

/// More settings than are kept, and many of the same.
pub fn many_settings(scenario: &Scenario) {
    let mut it = comparison(Cluster::shared(), scenario);
    let mut steps = Vec::new();
    for number in 0..50 {
        steps.push(q(&format!("SET app.tenant = '{number}'")));
        steps.push(q(&format!("SET app.x{number} = '{number}'")));
        if number % 7 == 0 {
            steps.push(q(&format!("SELECT public.setting_of('app.x{number}'), a FROM public.one")));
        }
    }
    look(&mut steps, q);
    steps.push(q("SELECT public.setting_of('app.x17'), public.setting_of('app.x49')"));
    it.session("many", steps);
    let long = format!("SET app.x = '{}'", "y".repeat(12_000));
    let mut steps = vec![q(&long), q("SELECT length(public.setting_of('app.x'))")];
    steps.push(q(&long.replace("app.x", "app.tenant")));
    steps.push(q(
        "SELECT length(public.setting_of('app.x')), length(public.setting_of('app.tenant'))",
    ));
    look(&mut steps, q);
    it.session("long", steps);
    let mut steps = Vec::new();
    look(&mut steps, q);
    it.session("after many", steps);
    it.finish();
}

/// Settings in pipelines, prepared, and together with what depends on them.
pub fn settings_in_pipelines(scenario: &Scenario) {
    let mut it = comparison(Cluster::shared(), scenario);
    let one = |sql: &str| [wire::unnamed(sql, &[]), wire::sync()].concat();
    let place = "SELECT v FROM place";
    for node in ["SELECT v FROM place", "SELECT v FROM place FOR UPDATE"] {
        let mut steps = vec![
            q(node),
            raw(&[one("SET search_path = x"), one(place), one(node)], 3),
            q(node),
            raw(
                &[
                    wire::unnamed("SET search_path = y", &[]),
                    wire::unnamed(place, &[]),
                    wire::unnamed(node, &[]),
                    wire::sync(),
                ],
                1,
            ),
            q(place),
            raw(&[wire::query("SET search_path = x"), wire::query(node), wire::query(place)], 3),
            raw(&[wire::query(node), wire::query("RESET ALL"), wire::query(place)], 3),
            raw(
                &[
                    wire::unnamed("SET search_path = y", &[]),
                    wire::unnamed("SELECT 1 / 0", &[]),
                    wire::sync(),
                    one(place),
                ],
                2,
            ),
            q(place),
            raw(&[wire::parse("s", "SET search_path = x"), wire::sync()], 1),
            q(place),
            raw(&[wire::bind("", "s", &[]), wire::sync()], 1),
            q(place),
            raw(&[wire::bind("", "s", &[]), wire::execute("", 0), wire::sync()], 1),
            q(place),
        ];
        look(&mut steps, q);
        it.session(node, steps);
        let mut steps = Vec::new();
        look(&mut steps, e);
        it.session("afterwards", steps);
    }
    it.finish();
}

/// DISCARD ALL takes everything away, on both nodes.
pub fn discard_all(scenario: &Scenario) {
    let mut it = comparison(Cluster::shared(), scenario);
    let mut steps = vec![
        q("SET search_path = x"),
        q("SET app.tenant = 'red'"),
        q("SELECT v FROM place"),
        q("SELECT v FROM place FOR UPDATE"),
        raw(&[wire::parse("named", "SELECT v FROM place"), wire::sync()], 1),
        q("DISCARD ALL"),
    ];
    look(&mut steps, q);
    let missing = [wire::bind("", "named", &[]), wire::execute("", 0), wire::sync()];
    steps.push(raw(&missing, 1));
    steps.push(raw(&[wire::parse("named", "SELECT v FROM place"), wire::sync()], 1));
    steps.push(raw(&missing, 1));
    steps.extend([q("BEGIN"), q("SET search_path = y"), q("DISCARD ALL"), q("ROLLBACK")]);
    look(&mut steps, q);
    steps.extend([q("SET search_path = y"), e("DISCARD ALL"), q("SET app.x = '5'")]);
    look(&mut steps, e);
    it.session("DISCARD ALL", steps);
    let mut steps = Vec::new();
    look(&mut steps, e);
    it.session("afterwards", steps);
    it.finish();
}

/// What is reset goes back to what the session began with.
pub fn resets_go_to_the_beginning(scenario: &Scenario) {
    let mut it = comparison(Cluster::shared(), scenario);
    let startup = [("TimeZone", "Asia/Tokyo"), ("DateStyle", "German"), ("application_name", "me")];
    for reset in ["RESET TimeZone", "SET TIME ZONE DEFAULT", "RESET ALL", "DISCARD ALL"] {
        for other in ["Europe/Oslo", "Etc/UTC"] {
            let set = format!("SET TimeZone = '{other}'");
            for step in [q, e] {
                let shown = || ["SHOW TimeZone", "SELECT current_setting('DateStyle')"].map(step);
                let mut steps = vec![step(&set), step("SET DateStyle = 'SQL'")];
                steps.extend(shown());
                steps.push(step(reset));
                steps.extend(shown());
                steps.extend([q("BEGIN"), q("INSERT INTO w VALUES (1)")]);
                steps.extend(shown());
                steps.push(q("COMMIT"));
                it.session_with(&format!("{set}, {reset}"), &startup, steps);
            }
        }
    }
    it.finish();
}

/// Reads stay on the standby although the session has set something.
pub fn settings_do_not_pin(scenario: &Scenario) {
    let mut it = comparison(Cluster::shared(), scenario);
    let [at, set_at] = [At::Standby, At::Any];
    it.session(
        "the node after SET",
        vec![
            q("SELECT v FROM place").at(At::Standby),
            q("SET search_path = x").at(set_at),
            q("SELECT v FROM place").at(at),
            q("SELECT v FROM place FOR UPDATE").at(At::Primary),
            q("SELECT v FROM place").at(at),
            q("BEGIN"),
            q("SELECT v FROM place").at(at),
            q("SELECT v FROM place FOR UPDATE").at(At::Primary),
            q("COMMIT"),
            q("SELECT v FROM place").at(at),
        ],
    );
    it.finish();
}

/// Clients that take turns on one server of each node see only their own settings.
pub fn settings_are_their_clients_own(scenario: &Scenario) {
    let cluster = Cluster::shared();
    let database = cluster.create_database_with(SCHEMA);
    let config = scenario.config().weights(0, 1).pool_size(1).wait_timeout(30);
    let proxy = scenario.start(cluster, &config);
    let read = |client: &mut RawClient| client.query("SELECT v FROM place").value();
    for _ in 0..5 {
        let mut setting = proxy.connect(&database);
        setting.query("SET search_path = x").ok();
        assert_eq!(read(&mut setting), "x");
        setting.query("BEGIN").ok();
        setting.query("SET search_path = y").ok();
        assert_eq!(read(&mut setting), "y");
        setting.close();
        let mut plain = proxy.connect(&database);
        assert_eq!(read(&mut plain), "public");
        assert_eq!(plain.query("SELECT v FROM place FOR UPDATE").value(), "public");
        plain.query("BEGIN").ok();
        plain.query("SET LOCAL search_path = y").ok();
        assert_eq!(read(&mut plain), "y");
        plain.query("COMMIT").ok();
        assert_eq!(read(&mut plain), "public");
        plain.close();
    }
}
