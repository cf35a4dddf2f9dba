//! The reference of all settings, and the report on one configuration, from the same table that
//! the loader uses.

use core::fmt::Write as _;
use std::collections::BTreeSet;

use super::error::{Notice, Origin};
use super::settings::Settings;
use super::table::{Change, Kind, Parameter, Scope, Verdict, parameters, sections};
use crate::environment::VARIABLES;

/// The reference for users, in Markdown: a table for each part.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::from(
        "# Settings\n\n\
         All parameters of `pgpool.conf`. *N* stands for a node id; a name that may go without it \
         sets the default of all nodes. What takes effect at a reload does so for clients that are \
         there already when nothing of theirs is under way.\n\n\
         ## Where values come from\n\n\
         Each overrules those before it:\n\n\
         1. the default in the tables below; without any `pgpool.conf` that of Pgpool-II's container \
         image (`listen_addresses` is `*`, `sr_check_period` 0, `failover_on_backend_error` off);\n\
         2. `pgpool.conf`; of several lines for one parameter the last one;\n\
         3. the environment: `PGPOOL_PARAMS_` and the name in capitals (`PGPOOL_PARAMS_PORT`, \
         `PGPOOL_PARAMS_BACKEND_HOSTNAME0`). The value is taken as it is, with `=` and quotes; blanks \
         and one pair of quotes around it are dropped. Unlike in Pgpool-II's image the environment \
         counts beside a file too; a notice at the start names the variables;\n\
         4. a certificate in the configuration folder (`tls/tls.key` and `tls/tls.crt`, or \
         `certs/server.key` and `certs/server.crt`): it turns `ssl` on and is used;\n\
         5. the command line: `--set name=value`, or `-o`; may be repeated.\n\n\
         A value for one node overrules that for all nodes, wherever both come from. A name that \
         neither Pgpool-II nor pgweir knows, and a value that is not accepted, are errors in each of \
         these places. `pgweir --check` prints every parameter with its value, its source and what \
         pgweir does with it:\n\n\
         - *honoured*: does what it says;\n\
         - *mapped*: does it in terms of something else;\n\
         - *no effect*: accepted. At the start one notice names all of these that are set, and a \
         warning each that will be missed;\n\
         - *only …*: other values are refused.\n\n\
         ## Accounts in the environment\n\n\
         `<prefix>_USERNAME` and `<prefix>_PASSWORD` make an entry of pool_passwd, which overrules one \
         of the file. The password is kept as it is in memory, so that it serves every method of \
         clients and servers; nothing is written to a file. Each of both may be a file instead: \
         `<prefix>_PASSWORD_FILE` names it, as do `PGPOOL_PCP_PASSWORD_FILE` and \
         `PGPOOL_PARAMS_SR_CHECK_PASSWORD_FILE`. Newlines at the end of a password are dropped.\n\n\
         | variable | meaning |\n|---|---|\n",
    );
    for (name, about) in VARIABLES {
        let _ = writeln!(out, "| `{name}` | {about} |");
    }
    let _ = writeln!(
        out,
        "\nWhere `enable_pool_hba` is on and there is no `pool_hba.conf` in the configuration folder, it \
         is taken for `local all all trust` and `host all all all <method>`, with `hostssl` where \
         `ssl` is on."
    );
    for (heading, rows) in sections() {
        let _ = write!(
            out,
            "\n## {heading}\n\n| parameter | type | default | takes effect at | in pgweir | \
             meaning |\n|---|---|---|---|---|---|\n"
        );
        for row in rows {
            let _ = writeln!(
                out,
                "| `{}`{} | {} | {} | {} | {} | {} |",
                row.name,
                suffix(row.scope),
                row.kind.name(),
                cell(&default_with_unit(row)),
                match row.change {
                    Change::Restart => "restart",
                    Change::Reload => "reload",
                },
                verdict(row).replace('|', "\\|"),
                about(row).replace('|', "\\|"),
            );
        }
    }
    out
}

/// Every parameter of a configuration on a line: its value, where it is set, and what pgweir does
/// with it. Per-node parameters are listed for the backends, and where they are set. Notices follow.
#[must_use]
pub fn report(settings: &Settings, notices: &[Notice]) -> String {
    let mut out = String::new();
    for row in parameters().filter(|row| !matches!(row.verdict, Verdict::Renamed(_))) {
        if row.scope != Scope::Node {
            line(&mut out, settings, row, row.name);
        }
        if row.scope != Scope::Global {
            let of_backends = settings.backends.iter().map(|node| node.id);
            let set = settings.stored().filter(|stored| stored.row.name == row.name);
            let nodes: BTreeSet<u16> =
                of_backends.chain(set.filter_map(|stored| stored.node)).collect();
            for node in nodes {
                let name = format!("{}{node}", row.name);
                // What holds for all nodes is said once.
                if row.scope == Scope::Node || settings.origin(&name) != settings.origin(row.name) {
                    line(&mut out, settings, row, &name);
                }
            }
        }
    }
    for notice in notices {
        let _ = writeln!(out, "# {notice}");
    }
    out
}

/// How many parameters are set, where, and what comes of them; one line.
#[must_use]
pub fn summary(settings: &Settings) -> String {
    fn count(counts: &mut Vec<(&'static str, usize)>, what: &'static str) {
        match counts.iter_mut().find(|(counted, _)| *counted == what) {
            Some((_, n)) => *n += 1,
            None => counts.push((what, 1)),
        }
    }
    let list = |counts: Vec<(&'static str, usize)>| {
        counts.iter().map(|(what, n)| format!("{n} {what}")).collect::<Vec<_>>().join(", ")
    };
    let (mut places, mut verdicts) = (Vec::new(), Vec::new());
    for stored in settings.stored() {
        let place = match &stored.origin {
            Origin::Image => "by default without pgpool.conf",
            Origin::Line { .. } | Origin::File(_) => "by files",
            Origin::Variable(_) => "by the environment",
            Origin::Flag => "by flags",
        };
        count(&mut places, place);
        let verdict = match stored.row.verdict {
            Verdict::Honoured | Verdict::Refused { .. } => "honoured",
            Verdict::Mapped(_) | Verdict::Renamed(_) => "mapped",
            Verdict::Ignored { .. } => "without effect",
        };
        count(&mut verdicts, verdict);
    }
    if places.is_empty() {
        return "no parameter is set: all have their defaults".to_owned();
    }
    format!("parameters set: {}; of these {} (--check lists all)", list(places), list(verdicts))
}

fn line(out: &mut String, settings: &Settings, row: &Parameter, name: &str) {
    let value = settings.value(name).unwrap_or_default().replace('\'', "''");
    let _ = write!(out, "{name} = '{value}'  # ");
    let _ = match settings.origin(name) {
        Some(origin) => write!(out, "{origin}"),
        None => write!(out, "default"),
    };
    let _ = writeln!(out, "; {}", verdict(row));
}

const fn suffix(scope: Scope) -> &'static str {
    match scope {
        Scope::Global => "",
        Scope::Node => "*N*",
        Scope::NodeOrAll => "[*N*]",
    }
}

/// `300` of a parameter in seconds is shown as `300s`.
fn default_with_unit(row: &Parameter) -> String {
    let bare = row.default != "0" && row.default.bytes().all(|b| b.is_ascii_digit());
    match row.kind {
        Kind::Duration { unit, .. } if bare => format!("{}{}", row.default, unit.suffix()),
        Kind::Size { unit, .. } if bare => format!("{}{}", row.default, unit.suffix()),
        _ => row.default.to_owned(),
    }
}

fn cell(text: &str) -> String {
    if text.is_empty() { "empty".to_owned() } else { format!("`{}`", text.replace('|', "\\|")) }
}

fn verdict(row: &Parameter) -> String {
    match row.verdict {
        Verdict::Honoured => "honoured".to_owned(),
        Verdict::Ignored { reason, .. } => format!("no effect: {reason}"),
        Verdict::Refused { reason, except } => {
            format!("only {}: {reason}", except.join(", "))
        }
        Verdict::Mapped(to) => format!("mapped: {to}"),
        Verdict::Renamed(new) => format!("mapped: taken for {new}, with a warning"),
    }
}

fn about(row: &Parameter) -> String {
    match row.kind {
        Kind::Enum { .. } => format!("{} ({})", row.about, row.kind.accepted()),
        _ => row.about.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::load;
    use super::*;

    #[test]
    fn the_reference_has_a_row_for_every_parameter() {
        let text = markdown();
        for row in parameters() {
            let start = format!("| `{}`{} |", row.name, suffix(row.scope));
            let rows = text.lines().filter(|line| line.starts_with(&start)).count();
            assert_eq!(rows, 1, "{start}");
        }
        let tables = text.split_once("## Only in pgweir").expect("tables").1;
        for line in tables.lines().filter(|line| line.starts_with('|')) {
            assert_eq!(line.replace("\\|", "").matches('|').count(), 7, "{line}");
        }
        assert!(text.contains(
            "| `weir_query_wait_timeout` | duration (s) | `120s` | reload | honoured | How long"
        ));
    }

    #[test]
    fn the_report_says_value_source_and_verdict() {
        let file = "backend_hostname3 = 'it''s'\nbackend_port3 = 5433\nbackend_weight3 = 1\n\
                    connect_timeout3 = 5s\nsr_check_password = 'hunter2'\nuse_watchdog = on\n";
        let loaded = load("pgpool.conf", file, &mut |path| Err(path.to_owned())).unwrap();
        let report = report(&loaded.settings, &loaded.notices);
        for wanted in [
            "backend_hostname3 = 'it''s'  # pgpool.conf:1; honoured\n",
            "backend_flag3 = ''  # default; honoured\n",
            "connect_timeout = '10000'  # default; honoured\n",
            "connect_timeout3 = '5s'  # pgpool.conf:4; honoured\n",
            "port = '9999'  # default; honoured\n",
            "sr_check_password = '********'  # pgpool.conf:5; ",
            "use_watchdog = 'on'  # pgpool.conf:6; no effect: pgweir has no watchdog",
            "# pgpool.conf:6: no effect: `use_watchdog`: pgweir has no watchdog",
        ] {
            assert!(report.contains(wanted), "{wanted} is not in\n{report}");
        }
        for unwanted in ["hunter2", "socket_dir =", "backend_hostname0", "health_check_period3"] {
            let missing = !report.lines().any(|line| line.starts_with(unwanted));
            assert!(missing && !report.contains("hunter2"), "{unwanted} is in\n{report}");
        }
    }

    #[test]
    fn the_report_is_a_configuration_again() {
        let file = "backend_hostname0 = a\nbackend_weight0 = 2\nheartbeat_port3 = 9000\n\
                    log_line_prefix = '%m it''s: '\nreset_query_list = 'ABORT; DISCARD ALL'\n";
        let mut none = |path: &str| Err(path.to_owned());
        let first = load("pgpool.conf", file, &mut none).unwrap();
        let again = load("report", &report(&first.settings, &first.notices), &mut none).unwrap();
        assert_eq!(first.settings.needs_restart(&again.settings), [""; 0]);
        assert_eq!(first.settings.backends, again.settings.backends);
        assert_eq!(first.settings.log_line_prefix, again.settings.log_line_prefix);
    }
}
