//! What the classifier answers: where a statement may run, why, and what it leaves behind.

use core::fmt;

use super::facts::RelationKind;

/// How the text of a statement is to be read. Both facts belong to the session that sent it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lexing {
    /// The session's `standard_conforming_strings`: when off, a backslash escapes in `'…'` too
    /// (PostgreSQL docs, 4.1.2.1 and 20.13.1).
    pub standard_conforming_strings: bool,
    /// What the session's `client_encoding` does with bytes that look like ASCII.
    pub encoding: ClientEncoding,
}

impl Default for Lexing {
    /// A session as PostgreSQL starts it: standard strings, an ASCII-safe encoding.
    fn default() -> Self {
        Self { standard_conforming_strings: true, encoding: ClientEncoding::AsciiSafe }
    }
}

/// Whether a byte below 0x80 always is the ASCII character it looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientEncoding {
    /// It is: UTF8, the LATIN, ISO, WIN and KOI8 families, EUC_*, SQL_ASCII, MULE_INTERNAL.
    AsciiSafe,
    /// It may be the second byte of a character: SJIS, SHIFT_JIS_2004, BIG5, GBK, GB18030, UHC,
    /// JOHAB (PostgreSQL docs, table 24.3, the client-only encodings). A quote or a backslash can
    /// hide there, so a text with any byte above 0x7f is not read at all.
    BytesLikeAscii,
}

impl ClientEncoding {
    /// The class of the encoding with this name, as `client_encoding` reports it. Case and
    /// punctuation do not count; a name that is not known is treated as the dangerous kind.
    #[must_use]
    pub fn of_name(name: &[u8]) -> Self {
        const SAFE: [&str; 58] = [
            "abc",
            "alt",
            "euccn",
            "eucjis2004",
            "eucjp",
            "euckr",
            "euctw",
            "iso88591",
            "iso885910",
            "iso885913",
            "iso885914",
            "iso885915",
            "iso885916",
            "iso88592",
            "iso88593",
            "iso88594",
            "iso88595",
            "iso88596",
            "iso88597",
            "iso88598",
            "iso88599",
            "koi8",
            "koi8r",
            "koi8u",
            "latin1",
            "latin10",
            "latin2",
            "latin3",
            "latin4",
            "latin5",
            "latin6",
            "latin7",
            "latin8",
            "latin9",
            "muleinternal",
            "sqlascii",
            "tcvn",
            "tcvn5712",
            "unicode",
            "utf8",
            "vscii",
            "win",
            "win1250",
            "win1251",
            "win1252",
            "win1253",
            "win1254",
            "win1255",
            "win1256",
            "win1257",
            "win1258",
            "win866",
            "win874",
            "windows1250",
            "windows1251",
            "windows1252",
            "windows866",
            "windows874",
        ];
        let mut folded = [0_u8; 16];
        let mut length = 0;
        for byte in name.iter().filter(|byte| byte.is_ascii_alphanumeric()) {
            let Some(slot) = folded.get_mut(length) else { return Self::BytesLikeAscii };
            *slot = byte.to_ascii_lowercase();
            length += 1;
        }
        let folded = folded.get(..length).unwrap_or_default();
        if SAFE.iter().any(|safe| safe.as_bytes() == folded) {
            Self::AsciiSafe
        } else {
            Self::BytesLikeAscii
        }
    }
}

/// What a query string begins with, before its first word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Leading {
    /// Its first byte is a blank.
    pub white_space: bool,
    /// A comment stands before the first word.
    pub comment: bool,
}

/// What a query string is: where it may run, what it does to its session, how much is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub struct Verdict {
    /// Where it may run.
    pub target: Target,
    /// What it does to transaction and session: of all its statements together.
    pub effects: Effects,
    /// How many statements are in it; empty ones (`;;`) do not count.
    pub statements: StatementCount,
}

/// Where a query string may run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target {
    /// On any node: it reads, and a hot standby answers it as the primary does.
    Read,
    /// On the primary alone, and why.
    Primary(Reason),
}

/// How many statements a query string holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StatementCount {
    /// None: blanks, comments, semicolons.
    Zero,
    /// One, as the extended protocol demands.
    One,
    /// Several: in the simple protocol they are one implicit transaction.
    Many,
}

/// A piece of the text that was classified, in bytes from its start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// The byte behind the last.
    pub end: usize,
}

impl Span {
    /// The piece itself. Empty if `sql` is not the text that was classified.
    #[must_use]
    pub fn of(self, sql: &[u8]) -> &[u8] {
        sql.get(self.start..self.end).unwrap_or_default()
    }
}

/// Why a query string goes to the primary. Keywords are in capitals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It changes data or the schema: the keyword that says so.
    Writes(&'static str),
    /// It calls a built-in function that writes, locks, or changes session or server.
    WritingFunction(&'static str),
    /// It calls a built-in function whose answer is about one server or one session.
    ServerFunction(&'static str),
    /// It calls a function of which catalogue, configuration or experience say that it writes:
    /// where its name stands.
    WritingName(Span),
    /// It calls a function about which nothing is known: where its name stands.
    UnknownFunction(Span),
    /// It locks rows: `FOR UPDATE` and its kin.
    RowLock(&'static str),
    /// `SELECT … INTO`.
    SelectInto,
    /// It names a `pg_` relation or schema whose contents are one server's or one session's own,
    /// or that is not known: where the name stands.
    SystemName(Span),
    /// It names a relation of which the catalogue says that a standby cannot answer for it: where
    /// the name stands.
    Relation(RelationKind, Span),
    /// It uses an operator whose function may write: where it stands.
    Operator(Span),
    /// A name is written with Unicode escapes (`U&"…"`), which are not decoded here.
    EscapedName(Span),
    /// `SHOW` of a parameter that may differ from server to server: where its name stands.
    ShowParameter(Span),
    /// A command of its own kind, such as `VACUUM`, or an `EXPLAIN` of what is no read.
    Utility(&'static str),
    /// `BEGIN`, `COMMIT`, `SAVEPOINT` …
    TransactionControl(&'static str),
    /// It changes or uses what lives in one server session: `SET`, `LISTEN`, `FETCH` …
    SessionState(&'static str),
    /// Several statements in one string.
    MultipleStatements,
    /// A leading `/*NO LOAD BALANCE*/`.
    Hint,
    /// The setting of this name sends it there.
    Setting(&'static str),
    /// A standby has refused it before.
    Learned,
    /// It does not begin like any statement that is known.
    UnknownStatement,
    /// It cannot be read as SQL.
    NotParsable(Unreadable),
}

/// What makes a text unreadable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    /// A string, quoted identifier, dollar quote or block comment has no end.
    Unterminated,
    /// A byte 0.
    NulByte,
    /// A byte that begins no token, such as `\` or a control character.
    StrayByte(u8),
    /// A number or parameter runs into a word (`1and`): an error since PostgreSQL 15, two tokens
    /// before.
    TrailingJunk,
    /// A `U&` string while `standard_conforming_strings` is off, or an empty quoted identifier.
    BadQuote,
    /// Parentheses that do not pair, or a semicolon within them.
    Unbalanced,
    /// Bytes above 0x7f in an encoding where ASCII bytes may be parts of characters.
    Encoding,
}

impl Reason {
    /// Where in the text the name stands that raised the doubt, where there is one.
    #[must_use]
    pub const fn name(&self) -> Option<Span> {
        match self {
            Self::WritingName(span)
            | Self::UnknownFunction(span)
            | Self::SystemName(span)
            | Self::Relation(_, span)
            | Self::Operator(span)
            | Self::EscapedName(span)
            | Self::ShowParameter(span) => Some(*span),
            _ => None,
        }
    }
}

impl Reason {
    /// Whether what it names changes the database or takes locks, or may.
    pub(super) const fn writes(&self) -> bool {
        match self {
            Self::Writes(_)
            | Self::WritingFunction(_)
            | Self::WritingName(_)
            | Self::UnknownFunction(_)
            | Self::RowLock(_)
            | Self::SelectInto
            | Self::Relation(..)
            | Self::Operator(_)
            | Self::Learned
            | Self::EscapedName(_)
            | Self::UnknownStatement
            | Self::NotParsable(_) => true,
            Self::ServerFunction(_)
            | Self::SystemName(_)
            | Self::ShowParameter(_)
            | Self::Utility(_)
            | Self::TransactionControl(_)
            | Self::SessionState(_)
            | Self::MultipleStatements
            | Self::Setting(_)
            | Self::Hint => false,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Writes(keyword) => write!(f, "{keyword} writes"),
            Self::WritingFunction(name) => write!(f, "function {name} writes"),
            Self::ServerFunction(name) => write!(f, "function {name} answers for one server"),
            Self::WritingName(_) => f.write_str("function that writes"),
            Self::UnknownFunction(_) => f.write_str("unknown function"),
            Self::RowLock(keyword) | Self::Utility(keyword) => f.write_str(keyword),
            Self::SelectInto => f.write_str("SELECT INTO"),
            Self::SystemName(_) => f.write_str("system relation of one server"),
            Self::Relation(kind, _) => write!(f, "{kind}"),
            Self::Operator(_) => f.write_str("operator whose function may write"),
            Self::EscapedName(_) => f.write_str("name with Unicode escapes"),
            Self::ShowParameter(_) => f.write_str("SHOW of a parameter of one server"),
            Self::TransactionControl(keyword) => write!(f, "transaction control: {keyword}"),
            Self::SessionState(keyword) => write!(f, "session state: {keyword}"),
            Self::MultipleStatements => f.write_str("several statements"),
            Self::Hint => f.write_str("NO LOAD BALANCE comment"),
            Self::Setting(name) => write!(f, "setting {name}"),
            Self::Learned => f.write_str("refused by a standby before"),
            Self::UnknownStatement => f.write_str("unknown statement"),
            Self::NotParsable(why) => write!(f, "not readable: {why}"),
        }
    }
}

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unterminated => f.write_str("a quote or comment has no end"),
            Self::NulByte => f.write_str("zero byte"),
            Self::StrayByte(byte) => write!(f, "stray byte 0x{byte:02x}"),
            Self::TrailingJunk => f.write_str("a number runs into a word"),
            Self::BadQuote => f.write_str("misused quote"),
            Self::Unbalanced => f.write_str("parentheses do not pair"),
            Self::Encoding => f.write_str("encoding that can hide quotes"),
        }
    }
}

/// What a query string does to its transaction and session, besides answering.
///
/// It is what happens if the statements succeed. For several statements this is the union, without
/// their order: take [`Effects::unpins`] before [`Effects::pins_session`], and the transaction's
/// true state from ReadyForQuery. Effects hidden in functions, `DO` blocks and triggers are not
/// seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Effects {
    /// It opens a transaction, in this mode.
    pub begin: Option<BeginMode>,
    /// It ends a transaction.
    pub end: Option<TransactionEnd>,
    /// It sets, releases or goes back to a savepoint.
    pub savepoint: Option<SavepointAction>,
    /// It changes the modes of the open transaction: `SET TRANSACTION …`,
    /// `SET transaction_read_only = …`.
    pub transaction_modes: Option<BeginMode>,
    /// The parameters it sets or resets.
    pub sets: Sets,
    /// It leaves something in the server session that later statements of the client need: the
    /// session must stay with this client.
    pub pins_session: Option<Pin>,
    /// What it takes away of that.
    pub unpins: Unpins,
    /// The client will send COPY data.
    pub copy_in: bool,
    /// The server will send COPY data.
    pub copy_out: bool,
    /// It changes the database, takes locks, or may do so.
    pub writes: bool,
    /// It fails as long as another session is connected to this database.
    pub vacates: Option<Vacated>,
    /// It is one statement of transaction control (`BEGIN` and its kin, the ends of a transaction,
    /// savepoints, `SET TRANSACTION`) and was understood word by word: a server in the right state
    /// takes it without a syntax error.
    pub exact: bool,
    /// It may run again on another server to bring that into the same state, and neither reads nor
    /// writes data. It is one statement: `SET`, `RESET`, `SET LOCAL`, `SET TRANSACTION`,
    /// `SET CONSTRAINTS`, `SELECT set_config('…', '…', …)` and no more, savepoints, `LOCK` in a
    /// mode that a standby takes. Or it is several, all of them `SET` or `RESET` of a parameter for
    /// the session.
    pub repeatable: bool,
}

/// The modes named by `BEGIN`, `START TRANSACTION` or `SET TRANSACTION`; `None` is "not named".
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct BeginMode {
    /// `READ ONLY` (true) or `READ WRITE` (false).
    pub read_only: Option<bool>,
    /// `ISOLATION LEVEL …`.
    pub isolation: Option<IsolationLevel>,
    /// `DEFERRABLE` (true) or `NOT DEFERRABLE` (false).
    pub deferrable: Option<bool>,
}

/// Transaction isolation levels (PostgreSQL docs, 13.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IsolationLevel {
    /// `READ UNCOMMITTED`, which PostgreSQL treats as read committed.
    ReadUncommitted,
    /// `READ COMMITTED`.
    ReadCommitted,
    /// `REPEATABLE READ`.
    RepeatableRead,
    /// `SERIALIZABLE`: a hot standby refuses it.
    Serializable,
}

/// How a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TransactionEnd {
    /// Which way.
    pub kind: EndKind,
    /// `AND CHAIN`: a new one with the same modes follows at once.
    pub chain: bool,
}

/// Which way a transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndKind {
    /// `COMMIT`, `END`.
    Commit,
    /// `ROLLBACK`, `ABORT`.
    Rollback,
    /// `PREPARE TRANSACTION`: it leaves the session and waits for `COMMIT PREPARED`.
    Prepare,
}

/// What happens to a savepoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SavepointAction {
    /// `SAVEPOINT`.
    Set,
    /// `RELEASE`.
    Release,
    /// `ROLLBACK TO`.
    RollbackTo,
}

/// The parameters that a query string sets or resets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sets {
    /// Parameters for the session, of which the server reports each change (ParameterStatus), so
    /// that a pooler can carry them from server to server.
    pub tracked: TrackedSet,
    /// Something until the end of the transaction: `SET LOCAL`, `SET TRANSACTION`,
    /// `SET CONSTRAINTS`.
    pub local: bool,
    /// Any other parameter for the session.
    pub other: bool,
    /// The one parameter that a `SET`, a `RESET`, or a repeatable call of `set_config` is about,
    /// for session or transaction. `None` if the string holds several statements, and for what is no parameter (`SET CONSTRAINTS`) or
    /// more than one (`RESET ALL`, `SET SESSION CHARACTERISTICS`).
    pub parameter: Option<Parameter>,
    /// What later transactions begin with may change: `default_transaction_*`,
    /// `SET SESSION CHARACTERISTICS`, `RESET ALL`. Calls of `set_config` are looked into only where
    /// they are repeatable.
    pub transaction_defaults: bool,
}

/// The database that a statement wants nobody else to be connected to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vacated {
    /// Where its name stands, without quotes: in lower case it is the database's.
    Word(Span),
    /// Where its name stands between quotes.
    Quoted(Span),
    /// `template1`, of which databases are made where no other template is named.
    Template1,
}

impl Vacated {
    /// Its name, of the text that was classified.
    #[must_use]
    pub fn name(self, sql: &[u8]) -> Vec<u8> {
        match self {
            Self::Word(span) => span.of(sql).to_ascii_lowercase(),
            Self::Quoted(span) => span.of(sql).to_vec(),
            Self::Template1 => b"template1".to_vec(),
        }
    }
}

/// The parameter that a `SET` or `RESET` is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Parameter {
    /// One that has a syntax of its own (`SET TIME ZONE`, `SET NAMES`, `SET ROLE`, `SET SCHEMA`)
    /// or that is tracked: its name, in lower case.
    Known(&'static str),
    /// Any other: where its name stands. A single quoted name is without its quotes; one with
    /// dots is as it was written. The case of names does not count (PostgreSQL docs, 20.1.1).
    Named(Span),
}

impl Parameter {
    /// Its name; that of a [`Parameter::Named`] in the case in which it was written in `sql`.
    #[must_use]
    pub fn name(self, sql: &[u8]) -> &[u8] {
        match self {
            Self::Known(name) => name.as_bytes(),
            Self::Named(span) => span.of(sql),
        }
    }
}

/// A parameter that a pooler tracks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TrackedParameter {
    /// `application_name`
    ApplicationName,
    /// `client_encoding`, `SET NAMES`
    ClientEncoding,
    /// `DateStyle`
    DateStyle,
    /// `IntervalStyle`
    IntervalStyle,
    /// `TimeZone`, `SET TIME ZONE`
    TimeZone,
    /// `standard_conforming_strings`
    StandardConformingStrings,
}

impl TrackedParameter {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::ApplicationName,
        Self::ClientEncoding,
        Self::DateStyle,
        Self::IntervalStyle,
        Self::TimeZone,
        Self::StandardConformingStrings,
    ];

    /// The parameter's name, in lower case.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ApplicationName => "application_name",
            Self::ClientEncoding => "client_encoding",
            Self::DateStyle => "datestyle",
            Self::IntervalStyle => "intervalstyle",
            Self::TimeZone => "timezone",
            Self::StandardConformingStrings => "standard_conforming_strings",
        }
    }

    /// The parameter of this name; case does not count.
    #[must_use]
    pub fn of_name(name: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|tracked| name.eq_ignore_ascii_case(tracked.name().as_bytes()))
    }
}

/// A set of [`TrackedParameter`]s.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct TrackedSet(u8);

impl TrackedSet {
    /// Adds one.
    pub const fn insert(&mut self, parameter: TrackedParameter) {
        self.0 |= 1 << parameter as u8;
    }

    /// Whether it is in.
    #[must_use]
    pub const fn contains(self, parameter: TrackedParameter) -> bool {
        self.0 & (1 << parameter as u8) != 0
    }

    /// Whether none is in.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }
}

/// What ties a client to one server session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pin {
    /// `LISTEN`.
    Listen,
    /// A temporary table, view or sequence that outlives its transaction, or a `search_path` that
    /// names `pg_temp`: with it even `current_schema()` makes that schema, which a standby refuses.
    TemporaryObject,
    /// `DECLARE … WITH HOLD`.
    HeldCursor,
    /// SQL-level `PREPARE`.
    PreparedStatement,
    /// A session-level advisory lock.
    AdvisoryLock,
    /// `LOAD`.
    LoadedLibrary,
    /// A parameter for the session that is not tracked: `SET`, `set_config`,
    /// `SET SESSION CHARACTERISTICS`.
    Setting,
    /// `SET ROLE`, `SET SESSION AUTHORIZATION`.
    Role,
    /// `setseed`, `SET SEED`.
    RandomSeed,
    /// A named connection of `dblink`.
    ForeignConnection,
    /// `pg_replication_origin_session_setup`.
    ReplicationOrigin,
    /// A text that could not be read and yet may run: anything can have happened.
    Unreadable,
}

/// What of a session's state is taken away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Unpins {
    /// `DISCARD ALL`: everything.
    pub discard_all: bool,
    /// `DISCARD TEMP`: temporary objects.
    pub discard_temp: bool,
    /// `RESET ALL`: parameters, but neither role nor session authorization.
    pub reset_all: bool,
    /// `UNLISTEN *`.
    pub unlisten_all: bool,
    /// `DEALLOCATE name`: one SQL-level prepared statement.
    pub deallocate_one: bool,
    /// `DEALLOCATE ALL`: all of them, and those of the protocol too.
    pub deallocate_all: bool,
    /// `CLOSE ALL`: all cursors.
    pub close_all: bool,
}
