//! The tables, in Markdown, and the list of all statements.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::Path;

use pool_router::classify::Target;

use crate::oracle::{Place, Record};

/// Errors of a standby after which the proxy asks the primary.
const HEALED: [&str; 8] = ["25006", "0A000", "42P01", "40001", "58P01", "57P01", "57P02", "57P03"];

/// What became of a statement that was tried on both servers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Truth {
    /// The same answer, and no error.
    Same,
    /// Both answer, differently.
    Different,
    /// Both refuse it with the same SQLSTATE.
    SameError,
    /// The primary answers, or refuses for another reason; the standby refuses.
    Refused { healed: bool },
    /// Only the primary refuses it.
    OnlyThere,
}

impl Record {
    fn truth(&self) -> Option<Truth> {
        let (standby, primary) = self.truth.as_ref()?;
        Some(match (&standby.error, &primary.error) {
            (None, None) if standby == primary => Truth::Same,
            (None, None) => Truth::Different,
            (None, Some(_)) => Truth::OnlyThere,
            (Some((code, _)), Some((other, _))) if code == other => Truth::SameError,
            (Some((code, _)), _) => Truth::Refused {
                healed: HEALED.contains(&code.as_str())
                    && standby.rows == 0
                    && self.place == Place::Outside,
            },
        })
    }

    fn reads(&self) -> bool {
        self.verdict.target == Target::Read
    }
}

type Rule = (&'static str, fn(&Record) -> bool);

const RULES: [Rule; 5] = [
    ("starts with SELECT", |r| r.select),
    ("sqlparser, careful rules", |r| r.parsed == Some(true)),
    ("pgweir's classifier", Record::reads),
    ("the same, temporary objects keep the session", |r| r.reads() && !r.temporary),
    ("the same, session as in the proxy", |r| r.reads() && !r.pinned),
];

/// A choice of statements.
type Scope = (&'static str, fn(&Record) -> bool);

const SCOPES: [Scope; 4] = [
    ("all, outside explicit transactions", |r| r.place == Place::Outside),
    ("… in sessions without temporary objects", |r| r.place == Place::Outside && !r.temporary),
    ("… in sessions that nothing pins", |r| r.place == Place::Outside && !r.pinned),
    ("in explicit transactions, before the first write", |r| r.place == Place::Reading),
];

/// All tables.
pub(crate) fn render(records: &[Record]) -> String {
    let mut out = String::new();
    let tried = records.iter().filter(|record| record.truth.is_some()).count();
    let _ = writeln!(out, "{} statements, {tried} tried on both servers\n", records.len());
    for scope in SCOPES {
        rules(&mut out, records, scope);
    }
    let primary =
        |record: &&Record| record.place == Place::Outside && !record.temporary && !record.reads();
    let _ = writeln!(
        out,
        "### Not offloaded, although the standby answers alike (no temporary objects)\n"
    );
    by(&mut out, records.iter().filter(primary).filter(|r| r.truth() == Some(Truth::Same)));
    let refused = |truth| matches!(truth, Some(Truth::Refused { .. }));
    let ours = |record: &&Record| record.reads() && !record.temporary;
    let _ = writeln!(out, "### Reads that the standby refuses (no temporary objects)\n");
    list(&mut out, records.iter().filter(ours).filter(|r| refused(r.truth())));
    let _ = writeln!(out, "### Reads with different answers (no temporary objects)\n");
    let other = |truth| matches!(truth, Some(Truth::Different | Truth::OnlyThere));
    list(&mut out, records.iter().filter(ours).filter(|r| other(r.truth())));
    out
}

fn rules(out: &mut String, records: &[Record], (name, scope): Scope) {
    let all: Vec<_> = records.iter().filter(|record| scope(record)).collect();
    let same = all.iter().filter(|r| r.truth() == Some(Truth::Same)).count();
    let _ = writeln!(
        out,
        "### Statements {name}: {}; the standby answers {same} like the primary\n\n\
         | rules | false reads | by SQLSTATE | not healed | other answers | offloaded |\n\
         |---|---:|---|---:|---:|---:|",
        all.len()
    );
    for (name, reads) in RULES {
        let reads: Vec<_> = all.iter().filter(|record| reads(record)).collect();
        let mut codes = BTreeMap::<&str, usize>::new();
        let mut unhealed = 0_usize;
        for record in &reads {
            let Some(Truth::Refused { healed }) = record.truth() else { continue };
            let error = record.truth.as_ref().and_then(|(standby, _)| standby.error.as_ref());
            *codes.entry(error.map_or("", |(code, _)| code)).or_default() += 1;
            unhealed += usize::from(!healed);
        }
        let count = |truth| reads.iter().filter(|r| r.truth() == Some(truth)).count();
        let offloaded = count(Truth::Same);
        let different = count(Truth::Different) + count(Truth::OnlyThere);
        let total: usize = codes.values().sum();
        let codes: Vec<_> = codes.iter().map(|(code, n)| format!("{code}: {n}")).collect();
        let permille = (offloaded * 1000).checked_div(same).unwrap_or_default();
        let _ = writeln!(
            out,
            "| {name} | {total} | {} | {unhealed} | {different} | {}.{} % |",
            codes.join(", "),
            permille / 10,
            permille % 10
        );
    }
    out.push('\n');
}

/// The name that raised the doubt, or the reason.
fn cause(record: &Record) -> (String, String) {
    let Target::Primary(reason) = record.verdict.target else {
        return ("Read".to_owned(), String::new());
    };
    let name = reason.name().map(|span| span.of(&record.sql)).unwrap_or_default();
    (reason.to_string(), String::from_utf8_lossy(name).into_owned())
}

fn by<'r>(out: &mut String, records: impl Iterator<Item = &'r Record>) {
    let mut reasons = BTreeMap::<String, (usize, BTreeMap<String, usize>)>::new();
    for record in records {
        let (reason, name) = cause(record);
        let (count, names) = reasons.entry(reason).or_default();
        *count += 1;
        *names.entry(name).or_default() += 1;
    }
    let mut rows: Vec<_> = reasons.into_iter().collect();
    rows.sort_by_key(|(_, (count, _))| std::cmp::Reverse(*count));
    let _ = writeln!(out, "| reason | statements | names |\n|---|---:|---|");
    for (reason, (count, names)) in rows {
        let mut names: Vec<_> = names.into_iter().filter(|(name, _)| !name.is_empty()).collect();
        names.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let names: Vec<_> = names.iter().take(15).map(|(n, c)| format!("{n} {c}")).collect();
        let _ = writeln!(out, "| {reason} | {count} | {} |", names.join(", "));
    }
    out.push('\n');
}

fn line(record: &Record) -> String {
    let show = |outcome: &crate::oracle::Outcome| match &outcome.error {
        Some((code, text)) => format!("{code} {text}"),
        None => format!("{} rows", outcome.rows),
    };
    let truth = record.truth.as_ref();
    let (standby, primary) = truth.map(|(s, p)| (show(s), show(p))).unwrap_or_default();
    let sql = String::from_utf8_lossy(&record.sql).split_whitespace().collect::<Vec<_>>().join(" ");
    let (reason, name) = cause(record);
    format!(
        "{}\t{:?}\t{}{}\t{:?}\t{reason}\t{name}\t{standby}\t{primary}\t{sql}",
        record.test,
        record.place,
        if record.temporary { "temporary" } else { "" },
        if record.pinned { " pinned" } else { "" },
        record.truth(),
    )
    .replace('\0', " ")
}

fn list<'r>(out: &mut String, records: impl Iterator<Item = &'r Record>) {
    for record in records {
        let _ = writeln!(out, "- {}", line(record).replace('\t', " | "));
    }
    out.push('\n');
}

/// Writes a line for each statement: test, place, session, truth, reason, name, answers, text.
pub(crate) fn keep(records: &[Record], path: &Path) -> Result<(), String> {
    let mut text = String::new();
    for record in records {
        let _ = writeln!(text, "{}", line(record));
    }
    std::fs::write(path, text).map_err(|e| format!("{}: {e}", path.display()))
}
