//! Statements of a grammar, chosen by bytes.

/// A source of choices. When the bytes are used up it always chooses the first, which is the end.
pub(crate) struct Choices<'a> {
    bytes: std::slice::Iter<'a, u8>,
    /// How deep the present rule is nested.
    depth: usize,
}

const MAX_DEPTH: usize = 4;

/// Names that PostgreSQL takes anywhere.
const PLAIN: &[&str] = &["a", "b", "t", "u", "c9", "\"Q\"", "\"from\"", "pgbench_accounts"];

/// Names of columns and labels: also keywords that may be some, and names that may not.
const NAMES: &[&str] = &[
    "a",
    "b",
    "_x",
    "data",
    "key",
    "no",
    "share",
    "name",
    "\"A\"",
    "\"for\"",
    "\"x y\"",
    "\"se\"\"t\"",
    "gr\u{f6}sse",
    "temp",
    "first",
    "materialized",
    "nothing",
    "system",
    "zone",
    "value",
    "session",
    "of",
];

const LABELS: &[&str] = &[
    "",
    "",
    "",
    "",
    " AS x",
    " x",
    " AS distinct",
    " AS from",
    " AS select",
    " AS table",
    " AS is",
    " AS only",
    " AS join",
    " AS union",
    " AS extract",
    " AS for",
];

const FUNCTIONS: &[&str] = &[
    "count",
    "lower",
    "nextval",
    "f",
    "s.f",
    "\"F\"",
    "pg_catalog.now",
    "coalesce",
    "left",
    "filter",
    "over",
    "by",
    "cube",
    "rollup",
    "sets",
    "materialized",
    "ilike",
    "zone",
    "data",
    "is",
    "trim",
];

const LITERALS: &[&str] = &[
    "1",
    "2.5",
    "1e3",
    "'x'",
    "'it''s'",
    "E'a\\'b'",
    "$1",
    "$$d; DELETE$$",
    "NULL",
    "TRUE",
    "'FOR UPDATE'",
    "B'01'",
    "DATE '2020-01-01'",
    "INTERVAL '1 day'",
    "''",
    "-1",
    "$q$ ' $q$",
    "CURRENT_TIMESTAMP",
    "count(*)",
];

const OPERATORS: &[&str] = &[
    "=",
    "+",
    "<>",
    "||",
    "AND",
    "OR",
    "->>",
    "LIKE",
    "ILIKE",
    "IS DISTINCT FROM",
    "IS NOT DISTINCT FROM",
    "NOT LIKE",
    "~",
    "@>",
    "SIMILAR TO",
];

const TYPES: &[&str] =
    &["int", "numeric(10,2)", "text[]", "s.f", "timestamp(3) with time zone", "varchar(10)"];

const LOCKS: &[&str] =
    &[" FOR UPDATE", " FOR SHARE OF t SKIP LOCKED", " FOR NO KEY UPDATE", " FOR KEY SHARE NOWAIT"];

impl<'a> Choices<'a> {
    /// Choices by these bytes.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self { bytes: bytes.iter(), depth: 0 }
    }

    fn number(&mut self, below: usize) -> usize {
        self.bytes.next().map_or(0, |byte| usize::from(*byte) % below)
    }

    fn pick<'b>(&mut self, list: &[&'b str]) -> &'b str {
        list[self.number(list.len())]
    }

    fn list(&mut self, separator: &str, mut item: impl FnMut(&mut Self) -> String) -> String {
        let mut list = item(self);
        for _ in 0..self.number(3) {
            list.push_str(separator);
            list.push_str(&item(self));
        }
        list
    }

    fn nested(&mut self, rule: impl FnOnce(&mut Self) -> String) -> String {
        self.depth += 1;
        let text = rule(self);
        self.depth -= 1;
        text
    }

    fn column(&mut self) -> &'static str {
        match self.number(64) {
            63 => "update",
            62 => "delete",
            _ => self.pick(NAMES),
        }
    }

    fn relation(&mut self) -> String {
        match self.number(4) {
            0 => self.pick(NAMES).to_owned(),
            1 => format!("{}.{}", self.pick(PLAIN), self.pick(NAMES)),
            _ => self.pick(PLAIN).to_owned(),
        }
    }

    fn expr(&mut self) -> String {
        self.nested(|choices| {
            let kinds = if choices.depth > MAX_DEPTH { 3 } else { 22 };
            choices.expr_of(kinds)
        })
    }

    fn expr_of(&mut self, kinds: usize) -> String {
        match self.number(kinds) {
            0 => self.pick(LITERALS).to_owned(),
            1 => self.column().to_owned(),
            2 => format!("{}.{}", self.pick(PLAIN), self.column()),
            3 | 4 => {
                let function = self.pick(FUNCTIONS);
                format!("{function}({})", self.list(", ", Self::expr))
            }
            5 | 6 => format!("{} {} {}", self.expr(), self.pick(OPERATORS), self.expr()),
            7 => format!("({})", self.expr()),
            8 => format!("NOT {}", self.expr()),
            9 => format!("{} IS NULL", self.expr()),
            10 => format!("{} IN ({})", self.expr(), self.list(", ", Self::expr)),
            11 => format!("{}::{}", self.expr(), self.pick(TYPES)),
            12 => format!("CAST({} AS {})", self.expr(), self.pick(TYPES)),
            13 => {
                format!("CASE WHEN {} THEN {} ELSE {} END", self.expr(), self.expr(), self.expr())
            }
            14 => format!("extract(epoch FROM {})", self.expr()),
            15 => format!("substring({} FROM 1 FOR 2)", self.expr()),
            16 => format!("trim(BOTH 'x' FROM {})", self.expr()),
            17 => format!(
                "{}({}) FILTER (WHERE {}) OVER (PARTITION BY {} ORDER BY a)",
                self.pick(FUNCTIONS),
                self.expr(),
                self.expr(),
                self.expr()
            ),
            18 => format!("ARRAY[{}]", self.list(", ", Self::expr)),
            19 => format!("({})", self.query()),
            20 => format!("EXISTS ({})", self.query()),
            _ => format!("a = ANY ({})", self.query()),
        }
    }

    fn factor(&mut self) -> String {
        let kinds = if self.depth > MAX_DEPTH { 8 } else { 16 };
        match self.number(kinds) {
            7 => format!("ONLY {}", self.relation()),
            8 => format!("{}({})", self.pick(FUNCTIONS), self.expr()),
            9 => format!("LATERAL {}({})", self.pick(FUNCTIONS), self.expr()),
            10 => format!("({})", self.query()),
            11 => format!("({} CROSS JOIN {})", self.relation(), self.relation()),
            12 => format!("LATERAL ({})", self.query()),
            13 => format!("(VALUES ({}))", self.expr()),
            _ => self.relation(),
        }
    }

    fn aliased(&mut self) -> String {
        let factor = self.factor();
        match self.number(4) {
            0 => factor,
            1 => format!("{factor} {}", self.pick(PLAIN)),
            2 => format!("{factor} AS {}", self.pick(NAMES)),
            _ => format!("{factor} AS {}(a, b)", self.pick(PLAIN)),
        }
    }

    fn item_of_from(&mut self) -> String {
        let mut item = self.aliased();
        for _ in 0..self.number(3) {
            let join = self.pick(&["JOIN", "LEFT JOIN", "INNER JOIN", "FULL OUTER JOIN"]);
            let other = self.aliased();
            let on = match self.number(2) {
                0 => String::from("USING (a, b)"),
                _ => format!("ON {}", self.expr()),
            };
            item = format!("{item} {join} {other} {on}");
        }
        item
    }

    fn select(&mut self) -> String {
        let distinct = self.pick(&["", "ALL ", "DISTINCT ", "DISTINCT ON (a) "]);
        let items =
            self.list(", ", |choices| format!("{}{}", choices.expr(), choices.pick(LABELS)));
        let mut text = format!("SELECT {distinct}{items}");
        if self.number(4) > 0 {
            text = format!("{text} FROM {}", self.list(", ", Self::item_of_from));
        }
        if self.number(3) > 1 {
            text = format!("{text} WHERE {}", self.expr());
        }
        match self.number(8) {
            1 => format!("{text} GROUP BY {}, b", self.expr()),
            2 => format!("{text} GROUP BY ROLLUP (a, b), CUBE (a)"),
            3 => format!("{text} GROUP BY a HAVING {}", self.expr()),
            _ => text,
        }
    }

    fn query(&mut self) -> String {
        self.nested(|choices| {
            let body = match choices.number(10) {
                7 => format!("TABLE {}", choices.relation()),
                8 => format!("VALUES ({}), (1)", choices.expr()),
                9 => format!(
                    "{} {} {}",
                    choices.select(),
                    choices.pick(&["UNION", "UNION ALL", "INTERSECT", "EXCEPT"]),
                    choices.select()
                ),
                _ => choices.select(),
            };
            let order = match choices.number(4) {
                3 => format!(" ORDER BY {} DESC, a", choices.expr()),
                _ => String::new(),
            };
            let limit =
                choices.pick(&["", "", "", " LIMIT 10", " OFFSET 1", " FETCH FIRST 1 ROWS ONLY"]);
            let lock = if choices.number(64) == 63 { choices.pick(LOCKS) } else { "" };
            format!("{body}{order}{limit}{lock}")
        })
    }

    fn change(&mut self) -> String {
        let change = match self.number(4) {
            0 => format!("INSERT INTO {} (a) VALUES ({})", self.relation(), self.expr()),
            1 => format!("INSERT INTO {} {}", self.relation(), self.query()),
            2 => format!("UPDATE {} SET a = {}", self.relation(), self.expr()),
            _ => format!("DELETE FROM {} WHERE {}", self.relation(), self.expr()),
        };
        format!("{change}{}", self.pick(&["", " RETURNING *", " RETURNING a"]))
    }

    fn with(&mut self) -> String {
        let with = self.pick(&["WITH ", "WITH RECURSIVE "]);
        let tables = self.list(", ", |choices| {
            let body = if choices.number(16) == 15 { choices.change() } else { choices.query() };
            format!(
                "{}{} AS {}({body})",
                choices.pick(PLAIN),
                choices.pick(&["", "(a)", "(a, b)"]),
                choices.pick(&["", "MATERIALIZED ", "NOT MATERIALIZED "]),
            )
        });
        format!("{with}{tables} ")
    }

    /// A statement, or two.
    pub(crate) fn statement(&mut self) -> String {
        match self.number(16) {
            8..=10 => format!("{}{}", self.with(), self.query()),
            11 => format!("{}{}", self.with(), self.change()),
            12 => self.change(),
            13 => match self.number(4) {
                0 => format!("EXPLAIN ANALYZE {}", self.query()),
                1 => format!("EXPLAIN {}{}", self.with(), self.change()),
                2 => format!("EXPLAIN {}", self.change()),
                _ => format!("EXPLAIN {}", self.query()),
            },
            14 => format!("COPY ({}) TO STDOUT", self.query()),
            15 => match self.number(3) {
                0 => format!("({})", self.query()),
                1 => format!("{}; {}", self.query(), self.change()),
                _ => format!("SELECT a INTO {} FROM b", self.relation()),
            },
            _ => self.query(),
        }
    }

    /// The same statement with other blanks, comments, and case where that is no part of a name.
    pub(crate) fn retold(&mut self, sql: &str) -> String {
        let gaps =
            [" ", "\n", "\t", " /* x */ ", " -- ' \n", "/* /* nested */ ; */", "  ", "/**/--'\n"];
        let mut quote = None;
        let mut out = String::new();
        for character in sql.chars() {
            match quote {
                Some(open) if character == open => quote = None,
                Some(_) => {}
                None if matches!(character, '\'' | '"' | '$') => quote = Some(character),
                None if character == ' ' => {
                    out.push_str(self.pick(&gaps));
                    continue;
                }
                None => {}
            }
            out.push(character);
        }
        out
    }
}
