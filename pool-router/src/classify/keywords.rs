//! PostgreSQL's keywords (docs, appendix C), found without allocating.

/// What else a keyword may be, unquoted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Category {
    /// Any name.
    Unreserved,
    /// A column or table, but neither a function nor a type.
    ColumnName,
    /// A function or type.
    TypeOrFunction,
    /// Nothing.
    Reserved,
}

macro_rules! keywords {
    ($($name:ident = $text:literal, $category:ident;)*) => {
        /// A keyword.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        #[repr(u16)]
        pub(super) enum Keyword { $($name,)* }

        const ALL: &[(Keyword, &str, Category)] =
            &[$((Keyword::$name, $text, Category::$category),)*];
    };
}

// `pg_get_keywords()` of PostgreSQL 15. The words that 16 to 18 added stand here as unreserved,
// which is how older servers read them: as names.
keywords! {
    Abort = "ABORT", Unreserved;
    Absent = "ABSENT", Unreserved;
    Absolute = "ABSOLUTE", Unreserved;
    Access = "ACCESS", Unreserved;
    Action = "ACTION", Unreserved;
    Add = "ADD", Unreserved;
    Admin = "ADMIN", Unreserved;
    After = "AFTER", Unreserved;
    Aggregate = "AGGREGATE", Unreserved;
    All = "ALL", Reserved;
    Also = "ALSO", Unreserved;
    Alter = "ALTER", Unreserved;
    Always = "ALWAYS", Unreserved;
    Analyse = "ANALYSE", Reserved;
    Analyze = "ANALYZE", Reserved;
    And = "AND", Reserved;
    Any = "ANY", Reserved;
    Array = "ARRAY", Reserved;
    As = "AS", Reserved;
    Asc = "ASC", Reserved;
    Asensitive = "ASENSITIVE", Unreserved;
    Assertion = "ASSERTION", Unreserved;
    Assignment = "ASSIGNMENT", Unreserved;
    Asymmetric = "ASYMMETRIC", Reserved;
    At = "AT", Unreserved;
    Atomic = "ATOMIC", Unreserved;
    Attach = "ATTACH", Unreserved;
    Attribute = "ATTRIBUTE", Unreserved;
    Authorization = "AUTHORIZATION", TypeOrFunction;
    Backward = "BACKWARD", Unreserved;
    Before = "BEFORE", Unreserved;
    Begin = "BEGIN", Unreserved;
    Between = "BETWEEN", ColumnName;
    Bigint = "BIGINT", ColumnName;
    Binary = "BINARY", TypeOrFunction;
    Bit = "BIT", ColumnName;
    Boolean = "BOOLEAN", ColumnName;
    Both = "BOTH", Reserved;
    Breadth = "BREADTH", Unreserved;
    By = "BY", Unreserved;
    Cache = "CACHE", Unreserved;
    Call = "CALL", Unreserved;
    Called = "CALLED", Unreserved;
    Cascade = "CASCADE", Unreserved;
    Cascaded = "CASCADED", Unreserved;
    Case = "CASE", Reserved;
    Cast = "CAST", Reserved;
    Catalog = "CATALOG", Unreserved;
    Chain = "CHAIN", Unreserved;
    Char = "CHAR", ColumnName;
    Character = "CHARACTER", ColumnName;
    Characteristics = "CHARACTERISTICS", Unreserved;
    Check = "CHECK", Reserved;
    Checkpoint = "CHECKPOINT", Unreserved;
    Class = "CLASS", Unreserved;
    Close = "CLOSE", Unreserved;
    Cluster = "CLUSTER", Unreserved;
    Coalesce = "COALESCE", ColumnName;
    Collate = "COLLATE", Reserved;
    Collation = "COLLATION", TypeOrFunction;
    Column = "COLUMN", Reserved;
    Columns = "COLUMNS", Unreserved;
    Comment = "COMMENT", Unreserved;
    Comments = "COMMENTS", Unreserved;
    Commit = "COMMIT", Unreserved;
    Committed = "COMMITTED", Unreserved;
    Compression = "COMPRESSION", Unreserved;
    Concurrently = "CONCURRENTLY", TypeOrFunction;
    Conditional = "CONDITIONAL", Unreserved;
    Configuration = "CONFIGURATION", Unreserved;
    Conflict = "CONFLICT", Unreserved;
    Connection = "CONNECTION", Unreserved;
    Constraint = "CONSTRAINT", Reserved;
    Constraints = "CONSTRAINTS", Unreserved;
    Content = "CONTENT", Unreserved;
    Continue = "CONTINUE", Unreserved;
    Conversion = "CONVERSION", Unreserved;
    Copy = "COPY", Unreserved;
    Cost = "COST", Unreserved;
    Create = "CREATE", Reserved;
    Cross = "CROSS", TypeOrFunction;
    Csv = "CSV", Unreserved;
    Cube = "CUBE", Unreserved;
    Current = "CURRENT", Unreserved;
    CurrentCatalog = "CURRENT_CATALOG", Reserved;
    CurrentDate = "CURRENT_DATE", Reserved;
    CurrentRole = "CURRENT_ROLE", Reserved;
    CurrentSchema = "CURRENT_SCHEMA", TypeOrFunction;
    CurrentTime = "CURRENT_TIME", Reserved;
    CurrentTimestamp = "CURRENT_TIMESTAMP", Reserved;
    CurrentUser = "CURRENT_USER", Reserved;
    Cursor = "CURSOR", Unreserved;
    Cycle = "CYCLE", Unreserved;
    Data = "DATA", Unreserved;
    Database = "DATABASE", Unreserved;
    Day = "DAY", Unreserved;
    Deallocate = "DEALLOCATE", Unreserved;
    Dec = "DEC", ColumnName;
    Decimal = "DECIMAL", ColumnName;
    Declare = "DECLARE", Unreserved;
    Default = "DEFAULT", Reserved;
    Defaults = "DEFAULTS", Unreserved;
    Deferrable = "DEFERRABLE", Reserved;
    Deferred = "DEFERRED", Unreserved;
    Definer = "DEFINER", Unreserved;
    Delete = "DELETE", Unreserved;
    Delimiter = "DELIMITER", Unreserved;
    Delimiters = "DELIMITERS", Unreserved;
    Depends = "DEPENDS", Unreserved;
    Depth = "DEPTH", Unreserved;
    Desc = "DESC", Reserved;
    Detach = "DETACH", Unreserved;
    Dictionary = "DICTIONARY", Unreserved;
    Disable = "DISABLE", Unreserved;
    Discard = "DISCARD", Unreserved;
    Distinct = "DISTINCT", Reserved;
    Do = "DO", Reserved;
    Document = "DOCUMENT", Unreserved;
    Domain = "DOMAIN", Unreserved;
    Double = "DOUBLE", Unreserved;
    Drop = "DROP", Unreserved;
    Each = "EACH", Unreserved;
    Else = "ELSE", Reserved;
    Empty = "EMPTY", Unreserved;
    Enable = "ENABLE", Unreserved;
    Encoding = "ENCODING", Unreserved;
    Encrypted = "ENCRYPTED", Unreserved;
    End = "END", Reserved;
    Enforced = "ENFORCED", Unreserved;
    Enum = "ENUM", Unreserved;
    Error = "ERROR", Unreserved;
    Escape = "ESCAPE", Unreserved;
    Event = "EVENT", Unreserved;
    Except = "EXCEPT", Reserved;
    Exclude = "EXCLUDE", Unreserved;
    Excluding = "EXCLUDING", Unreserved;
    Exclusive = "EXCLUSIVE", Unreserved;
    Execute = "EXECUTE", Unreserved;
    Exists = "EXISTS", ColumnName;
    Explain = "EXPLAIN", Unreserved;
    Expression = "EXPRESSION", Unreserved;
    Extension = "EXTENSION", Unreserved;
    External = "EXTERNAL", Unreserved;
    Extract = "EXTRACT", ColumnName;
    False = "FALSE", Reserved;
    Family = "FAMILY", Unreserved;
    Fetch = "FETCH", Reserved;
    Filter = "FILTER", Unreserved;
    Finalize = "FINALIZE", Unreserved;
    First = "FIRST", Unreserved;
    Float = "FLOAT", ColumnName;
    Following = "FOLLOWING", Unreserved;
    For = "FOR", Reserved;
    Force = "FORCE", Unreserved;
    Foreign = "FOREIGN", Reserved;
    Format = "FORMAT", Unreserved;
    Forward = "FORWARD", Unreserved;
    Freeze = "FREEZE", TypeOrFunction;
    From = "FROM", Reserved;
    Full = "FULL", TypeOrFunction;
    Function = "FUNCTION", Unreserved;
    Functions = "FUNCTIONS", Unreserved;
    Generated = "GENERATED", Unreserved;
    Global = "GLOBAL", Unreserved;
    Grant = "GRANT", Reserved;
    Granted = "GRANTED", Unreserved;
    Greatest = "GREATEST", ColumnName;
    Group = "GROUP", Reserved;
    Grouping = "GROUPING", ColumnName;
    Groups = "GROUPS", Unreserved;
    Handler = "HANDLER", Unreserved;
    Having = "HAVING", Reserved;
    Header = "HEADER", Unreserved;
    Hold = "HOLD", Unreserved;
    Hour = "HOUR", Unreserved;
    Identity = "IDENTITY", Unreserved;
    If = "IF", Unreserved;
    Ilike = "ILIKE", TypeOrFunction;
    Immediate = "IMMEDIATE", Unreserved;
    Immutable = "IMMUTABLE", Unreserved;
    Implicit = "IMPLICIT", Unreserved;
    Import = "IMPORT", Unreserved;
    In = "IN", Reserved;
    Include = "INCLUDE", Unreserved;
    Including = "INCLUDING", Unreserved;
    Increment = "INCREMENT", Unreserved;
    Indent = "INDENT", Unreserved;
    Index = "INDEX", Unreserved;
    Indexes = "INDEXES", Unreserved;
    Inherit = "INHERIT", Unreserved;
    Inherits = "INHERITS", Unreserved;
    Initially = "INITIALLY", Reserved;
    Inline = "INLINE", Unreserved;
    Inner = "INNER", TypeOrFunction;
    Inout = "INOUT", ColumnName;
    Input = "INPUT", Unreserved;
    Insensitive = "INSENSITIVE", Unreserved;
    Insert = "INSERT", Unreserved;
    Instead = "INSTEAD", Unreserved;
    Int = "INT", ColumnName;
    Integer = "INTEGER", ColumnName;
    Intersect = "INTERSECT", Reserved;
    Interval = "INTERVAL", ColumnName;
    Into = "INTO", Reserved;
    Invoker = "INVOKER", Unreserved;
    Is = "IS", TypeOrFunction;
    Isnull = "ISNULL", TypeOrFunction;
    Isolation = "ISOLATION", Unreserved;
    Join = "JOIN", TypeOrFunction;
    Json = "JSON", Unreserved;
    JsonArray = "JSON_ARRAY", Unreserved;
    JsonArrayagg = "JSON_ARRAYAGG", Unreserved;
    JsonExists = "JSON_EXISTS", Unreserved;
    JsonObject = "JSON_OBJECT", Unreserved;
    JsonObjectagg = "JSON_OBJECTAGG", Unreserved;
    JsonQuery = "JSON_QUERY", Unreserved;
    JsonScalar = "JSON_SCALAR", Unreserved;
    JsonSerialize = "JSON_SERIALIZE", Unreserved;
    JsonTable = "JSON_TABLE", Unreserved;
    JsonValue = "JSON_VALUE", Unreserved;
    Keep = "KEEP", Unreserved;
    Key = "KEY", Unreserved;
    Keys = "KEYS", Unreserved;
    Label = "LABEL", Unreserved;
    Language = "LANGUAGE", Unreserved;
    Large = "LARGE", Unreserved;
    Last = "LAST", Unreserved;
    Lateral = "LATERAL", Reserved;
    Leading = "LEADING", Reserved;
    Leakproof = "LEAKPROOF", Unreserved;
    Least = "LEAST", ColumnName;
    Left = "LEFT", TypeOrFunction;
    Level = "LEVEL", Unreserved;
    Like = "LIKE", TypeOrFunction;
    Limit = "LIMIT", Reserved;
    Listen = "LISTEN", Unreserved;
    Load = "LOAD", Unreserved;
    Local = "LOCAL", Unreserved;
    Localtime = "LOCALTIME", Reserved;
    Localtimestamp = "LOCALTIMESTAMP", Reserved;
    Location = "LOCATION", Unreserved;
    Lock = "LOCK", Unreserved;
    Locked = "LOCKED", Unreserved;
    Logged = "LOGGED", Unreserved;
    Lsn = "LSN", Unreserved;
    Mapping = "MAPPING", Unreserved;
    Match = "MATCH", Unreserved;
    Matched = "MATCHED", Unreserved;
    Materialized = "MATERIALIZED", Unreserved;
    Maxvalue = "MAXVALUE", Unreserved;
    Merge = "MERGE", Unreserved;
    MergeAction = "MERGE_ACTION", Unreserved;
    Method = "METHOD", Unreserved;
    Minute = "MINUTE", Unreserved;
    Minvalue = "MINVALUE", Unreserved;
    Mode = "MODE", Unreserved;
    Month = "MONTH", Unreserved;
    Move = "MOVE", Unreserved;
    Name = "NAME", Unreserved;
    Names = "NAMES", Unreserved;
    National = "NATIONAL", ColumnName;
    Natural = "NATURAL", TypeOrFunction;
    Nchar = "NCHAR", ColumnName;
    Nested = "NESTED", Unreserved;
    New = "NEW", Unreserved;
    Next = "NEXT", Unreserved;
    Nfc = "NFC", Unreserved;
    Nfd = "NFD", Unreserved;
    Nfkc = "NFKC", Unreserved;
    Nfkd = "NFKD", Unreserved;
    No = "NO", Unreserved;
    None = "NONE", ColumnName;
    Normalize = "NORMALIZE", ColumnName;
    Normalized = "NORMALIZED", Unreserved;
    Not = "NOT", Reserved;
    Nothing = "NOTHING", Unreserved;
    Notify = "NOTIFY", Unreserved;
    Notnull = "NOTNULL", TypeOrFunction;
    Nowait = "NOWAIT", Unreserved;
    Null = "NULL", Reserved;
    Nullif = "NULLIF", ColumnName;
    Nulls = "NULLS", Unreserved;
    Numeric = "NUMERIC", ColumnName;
    Object = "OBJECT", Unreserved;
    Objects = "OBJECTS", Unreserved;
    Of = "OF", Unreserved;
    Off = "OFF", Unreserved;
    Offset = "OFFSET", Reserved;
    Oids = "OIDS", Unreserved;
    Old = "OLD", Unreserved;
    Omit = "OMIT", Unreserved;
    On = "ON", Reserved;
    Only = "ONLY", Reserved;
    Operator = "OPERATOR", Unreserved;
    Option = "OPTION", Unreserved;
    Options = "OPTIONS", Unreserved;
    Or = "OR", Reserved;
    Order = "ORDER", Reserved;
    Ordinality = "ORDINALITY", Unreserved;
    Others = "OTHERS", Unreserved;
    Out = "OUT", ColumnName;
    Outer = "OUTER", TypeOrFunction;
    Over = "OVER", Unreserved;
    Overlaps = "OVERLAPS", TypeOrFunction;
    Overlay = "OVERLAY", ColumnName;
    Overriding = "OVERRIDING", Unreserved;
    Owned = "OWNED", Unreserved;
    Owner = "OWNER", Unreserved;
    Parallel = "PARALLEL", Unreserved;
    Parameter = "PARAMETER", Unreserved;
    Parser = "PARSER", Unreserved;
    Partial = "PARTIAL", Unreserved;
    Partition = "PARTITION", Unreserved;
    Passing = "PASSING", Unreserved;
    Password = "PASSWORD", Unreserved;
    Path = "PATH", Unreserved;
    Period = "PERIOD", Unreserved;
    Placing = "PLACING", Reserved;
    Plan = "PLAN", Unreserved;
    Plans = "PLANS", Unreserved;
    Policy = "POLICY", Unreserved;
    Position = "POSITION", ColumnName;
    Preceding = "PRECEDING", Unreserved;
    Precision = "PRECISION", ColumnName;
    Prepare = "PREPARE", Unreserved;
    Prepared = "PREPARED", Unreserved;
    Preserve = "PRESERVE", Unreserved;
    Primary = "PRIMARY", Reserved;
    Prior = "PRIOR", Unreserved;
    Privileges = "PRIVILEGES", Unreserved;
    Procedural = "PROCEDURAL", Unreserved;
    Procedure = "PROCEDURE", Unreserved;
    Procedures = "PROCEDURES", Unreserved;
    Program = "PROGRAM", Unreserved;
    Publication = "PUBLICATION", Unreserved;
    Quote = "QUOTE", Unreserved;
    Quotes = "QUOTES", Unreserved;
    Range = "RANGE", Unreserved;
    Read = "READ", Unreserved;
    Real = "REAL", ColumnName;
    Reassign = "REASSIGN", Unreserved;
    Recheck = "RECHECK", Unreserved;
    Recursive = "RECURSIVE", Unreserved;
    Ref = "REF", Unreserved;
    References = "REFERENCES", Reserved;
    Referencing = "REFERENCING", Unreserved;
    Refresh = "REFRESH", Unreserved;
    Reindex = "REINDEX", Unreserved;
    Relative = "RELATIVE", Unreserved;
    Release = "RELEASE", Unreserved;
    Rename = "RENAME", Unreserved;
    Repeatable = "REPEATABLE", Unreserved;
    Replace = "REPLACE", Unreserved;
    Replica = "REPLICA", Unreserved;
    Reset = "RESET", Unreserved;
    Restart = "RESTART", Unreserved;
    Restrict = "RESTRICT", Unreserved;
    Return = "RETURN", Unreserved;
    Returning = "RETURNING", Reserved;
    Returns = "RETURNS", Unreserved;
    Revoke = "REVOKE", Unreserved;
    Right = "RIGHT", TypeOrFunction;
    Role = "ROLE", Unreserved;
    Rollback = "ROLLBACK", Unreserved;
    Rollup = "ROLLUP", Unreserved;
    Routine = "ROUTINE", Unreserved;
    Routines = "ROUTINES", Unreserved;
    Row = "ROW", ColumnName;
    Rows = "ROWS", Unreserved;
    Rule = "RULE", Unreserved;
    Savepoint = "SAVEPOINT", Unreserved;
    Scalar = "SCALAR", Unreserved;
    Schema = "SCHEMA", Unreserved;
    Schemas = "SCHEMAS", Unreserved;
    Scroll = "SCROLL", Unreserved;
    Search = "SEARCH", Unreserved;
    Second = "SECOND", Unreserved;
    Security = "SECURITY", Unreserved;
    Select = "SELECT", Reserved;
    Sequence = "SEQUENCE", Unreserved;
    Sequences = "SEQUENCES", Unreserved;
    Serializable = "SERIALIZABLE", Unreserved;
    Server = "SERVER", Unreserved;
    Session = "SESSION", Unreserved;
    SessionUser = "SESSION_USER", Reserved;
    Set = "SET", Unreserved;
    Setof = "SETOF", ColumnName;
    Sets = "SETS", Unreserved;
    Share = "SHARE", Unreserved;
    Show = "SHOW", Unreserved;
    Similar = "SIMILAR", TypeOrFunction;
    Simple = "SIMPLE", Unreserved;
    Skip = "SKIP", Unreserved;
    Smallint = "SMALLINT", ColumnName;
    Snapshot = "SNAPSHOT", Unreserved;
    Some = "SOME", Reserved;
    Source = "SOURCE", Unreserved;
    Sql = "SQL", Unreserved;
    Stable = "STABLE", Unreserved;
    Standalone = "STANDALONE", Unreserved;
    Start = "START", Unreserved;
    Statement = "STATEMENT", Unreserved;
    Statistics = "STATISTICS", Unreserved;
    Stdin = "STDIN", Unreserved;
    Stdout = "STDOUT", Unreserved;
    Storage = "STORAGE", Unreserved;
    Stored = "STORED", Unreserved;
    Strict = "STRICT", Unreserved;
    String = "STRING", Unreserved;
    Strip = "STRIP", Unreserved;
    Subscription = "SUBSCRIPTION", Unreserved;
    Substring = "SUBSTRING", ColumnName;
    Support = "SUPPORT", Unreserved;
    Symmetric = "SYMMETRIC", Reserved;
    Sysid = "SYSID", Unreserved;
    System = "SYSTEM", Unreserved;
    SystemUser = "SYSTEM_USER", Unreserved;
    Table = "TABLE", Reserved;
    Tables = "TABLES", Unreserved;
    Tablesample = "TABLESAMPLE", TypeOrFunction;
    Tablespace = "TABLESPACE", Unreserved;
    Target = "TARGET", Unreserved;
    Temp = "TEMP", Unreserved;
    Template = "TEMPLATE", Unreserved;
    Temporary = "TEMPORARY", Unreserved;
    Text = "TEXT", Unreserved;
    Then = "THEN", Reserved;
    Ties = "TIES", Unreserved;
    Time = "TIME", ColumnName;
    Timestamp = "TIMESTAMP", ColumnName;
    To = "TO", Reserved;
    Trailing = "TRAILING", Reserved;
    Transaction = "TRANSACTION", Unreserved;
    Transform = "TRANSFORM", Unreserved;
    Treat = "TREAT", ColumnName;
    Trigger = "TRIGGER", Unreserved;
    Trim = "TRIM", ColumnName;
    True = "TRUE", Reserved;
    Truncate = "TRUNCATE", Unreserved;
    Trusted = "TRUSTED", Unreserved;
    Type = "TYPE", Unreserved;
    Types = "TYPES", Unreserved;
    Uescape = "UESCAPE", Unreserved;
    Unbounded = "UNBOUNDED", Unreserved;
    Uncommitted = "UNCOMMITTED", Unreserved;
    Unconditional = "UNCONDITIONAL", Unreserved;
    Unencrypted = "UNENCRYPTED", Unreserved;
    Union = "UNION", Reserved;
    Unique = "UNIQUE", Reserved;
    Unknown = "UNKNOWN", Unreserved;
    Unlisten = "UNLISTEN", Unreserved;
    Unlogged = "UNLOGGED", Unreserved;
    Until = "UNTIL", Unreserved;
    Update = "UPDATE", Unreserved;
    User = "USER", Reserved;
    Using = "USING", Reserved;
    Vacuum = "VACUUM", Unreserved;
    Valid = "VALID", Unreserved;
    Validate = "VALIDATE", Unreserved;
    Validator = "VALIDATOR", Unreserved;
    Value = "VALUE", Unreserved;
    Values = "VALUES", ColumnName;
    Varchar = "VARCHAR", ColumnName;
    Variadic = "VARIADIC", Reserved;
    Varying = "VARYING", Unreserved;
    Verbose = "VERBOSE", TypeOrFunction;
    Version = "VERSION", Unreserved;
    View = "VIEW", Unreserved;
    Views = "VIEWS", Unreserved;
    Virtual = "VIRTUAL", Unreserved;
    Volatile = "VOLATILE", Unreserved;
    When = "WHEN", Reserved;
    Where = "WHERE", Reserved;
    Whitespace = "WHITESPACE", Unreserved;
    Window = "WINDOW", Reserved;
    With = "WITH", Reserved;
    Within = "WITHIN", Unreserved;
    Without = "WITHOUT", Unreserved;
    Work = "WORK", Unreserved;
    Wrapper = "WRAPPER", Unreserved;
    Write = "WRITE", Unreserved;
    Xml = "XML", Unreserved;
    Xmlattributes = "XMLATTRIBUTES", ColumnName;
    Xmlconcat = "XMLCONCAT", ColumnName;
    Xmlelement = "XMLELEMENT", ColumnName;
    Xmlexists = "XMLEXISTS", ColumnName;
    Xmlforest = "XMLFOREST", ColumnName;
    Xmlnamespaces = "XMLNAMESPACES", ColumnName;
    Xmlparse = "XMLPARSE", ColumnName;
    Xmlpi = "XMLPI", ColumnName;
    Xmlroot = "XMLROOT", ColumnName;
    Xmlserialize = "XMLSERIALIZE", ColumnName;
    Xmltable = "XMLTABLE", ColumnName;
    Year = "YEAR", Unreserved;
    Yes = "YES", Unreserved;
    Zone = "ZONE", Unreserved;
}

/// Slots of [`INDEX`]: a power of two, about four for each keyword.
const SLOTS: usize = 2048;
const EMPTY: u16 = u16::MAX;

/// What [`FOLD`] makes of one byte.
const LOWER: u8 = 0x20;

/// Makes a capital letter of each byte a small one. It changes other bytes too, but of those that
/// stand in words none to a letter, and only the underscore to what it makes of the underscore.
const FOLD: u128 = u128::from_le_bytes([LOWER; PACKED_LENGTH]);

/// The text of up to 16 bytes as a number, folded.
const fn pack(text: &[u8]) -> u128 {
    let mut packed = 0;
    let mut at = text.len();
    while at > 0 {
        at -= 1;
        packed = packed << 8 | (text[at] | LOWER) as u128;
    }
    packed
}

#[expect(clippy::cast_possible_truncation, reason = "a hash of the halves is what is wanted")]
const fn slot_of(packed: u128) -> usize {
    let mixed = packed as u64 ^ ((packed >> 64) as u64).rotate_left(29);
    (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 53) as usize % SLOTS
}

/// The longest keyword that fits a number; the one longer one is compared by itself.
const PACKED_LENGTH: usize = 16;

static INDEX: [u16; SLOTS] = {
    assert!(ALL.len() < EMPTY as usize);
    let mut slots = [EMPTY; SLOTS];
    let mut at = 0;
    while at < ALL.len() {
        let text = ALL[at].1.as_bytes();
        if text.len() <= PACKED_LENGTH {
            let mut slot = slot_of(pack(text));
            while slots[slot] != EMPTY {
                slot = (slot + 1) % SLOTS;
            }
            #[expect(clippy::cast_possible_truncation, reason = "asserted above")]
            {
                slots[slot] = at as u16;
            }
        }
        at += 1;
    }
    slots
};

static PACKED: [u128; ALL.len()] = {
    // What no word packs to.
    let mut packed = [u128::MAX; ALL.len()];
    let mut at = 0;
    while at < ALL.len() {
        let text = ALL[at].1.as_bytes();
        if text.len() <= PACKED_LENGTH {
            packed[at] = pack(text);
        }
        at += 1;
    }
    packed
};

/// The bytes of a word of each length.
static MASKS: [u128; PACKED_LENGTH + 1] = {
    let mut masks = [0; PACKED_LENGTH + 1];
    let mut length = 1;
    while length <= PACKED_LENGTH {
        masks[length] = u128::MAX >> (8 * (PACKED_LENGTH - length));
        length += 1;
    }
    masks
};

impl Keyword {
    /// The keyword that an unquoted identifier is.
    #[cfg(test)]
    pub(super) fn of(name: &[u8]) -> Option<Self> {
        Self::at(name, 0, name.len())
    }

    /// The keyword that the word is which stands in `sql` from `start` to before `end`.
    #[inline(always)]
    pub(super) fn at(sql: &[u8], start: usize, end: usize) -> Option<Self> {
        let Some(mask) = MASKS.get(end.wrapping_sub(start)) else {
            return long(sql, start, end);
        };
        let bytes = match sql.get(start..)?.first_chunk::<PACKED_LENGTH>() {
            Some(bytes) => u128::from_le_bytes(*bytes),
            None => last_bytes(sql, start, end),
        };
        // What stands behind the word is cut off.
        let packed = (bytes | FOLD) & mask;
        let mut slot = slot_of(packed);
        loop {
            let at = usize::from(*INDEX.get(slot)?);
            // An empty slot's index is beyond the end.
            if *PACKED.get(at)? == packed {
                return ALL.get(at).map(|(keyword, ..)| *keyword);
            }
            slot = (slot + 1) % SLOTS;
        }
    }

    /// The keyword in capitals.
    pub(super) fn text(self) -> &'static str {
        ALL.get(self as usize).map_or("", |(_, text, _)| text)
    }

    /// What else it may be.
    pub(super) fn category(self) -> Category {
        ALL.get(self as usize).map_or(Category::Reserved, |(_, _, category)| *category)
    }
}

#[cold]
fn long(sql: &[u8], start: usize, end: usize) -> Option<Keyword> {
    let word = sql.get(start..end)?;
    word.eq_ignore_ascii_case(b"current_timestamp").then_some(Keyword::CurrentTimestamp)
}

/// The bytes of a word near the end of the text.
fn last_bytes(sql: &[u8], start: usize, end: usize) -> u128 {
    let before = sql.get(..end).unwrap_or_default();
    if let Some(bytes) = before.last_chunk::<PACKED_LENGTH>() {
        let others = PACKED_LENGTH.saturating_sub(end.saturating_sub(start));
        return u128::from_le_bytes(*bytes) >> (8 * others);
    }
    let mut bytes = [0_u8; PACKED_LENGTH];
    for (to, from) in bytes.iter_mut().zip(before.get(start..).unwrap_or_default()) {
        *to = *from;
    }
    u128::from_le_bytes(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_keyword_is_found_in_any_case() {
        for (at, (keyword, text, category)) in ALL.iter().enumerate() {
            assert_eq!(*keyword as usize, at);
            assert_eq!(Keyword::of(text.as_bytes()), Some(*keyword));
            assert_eq!(Keyword::of(text.to_ascii_lowercase().as_bytes()), Some(*keyword));
            assert_eq!(keyword.text(), *text);
            assert_eq!(keyword.category(), *category);
        }
    }

    #[test]
    fn names_are_no_keywords() {
        for name in [
            "",
            "x",
            "selec",
            "selects",
            "s\u{e9}lect",
            "abalance",
            "pgbench_accounts",
            "current_timestamp_",
            "a_name_of_more_than_sixteen_bytes",
            "@ELECT",
            "{",
            "[elect",
        ] {
            assert_eq!(Keyword::of(name.as_bytes()), None, "{name}");
        }
        // The byte of `s` with another high bit.
        assert_eq!(Keyword::of(b"\xf3elect"), None);
        assert_eq!(Keyword::of(b"\x13elect"), None);
    }

    #[test]
    fn keywords_are_found_anywhere_in_a_text() {
        for before in [0, 1, 7, 15, 16, 40] {
            for behind in [0, 1, 9, 15, 16, 40] {
                for (word, keyword) in [
                    ("Select", Some(Keyword::Select)),
                    ("characteristics", Some(Keyword::Characteristics)),
                    ("current_timestamp", Some(Keyword::CurrentTimestamp)),
                    ("by", Some(Keyword::By)),
                    ("bye", None),
                ] {
                    let sql = format!("{}{word}{}", "(".repeat(before), " ".repeat(behind));
                    let end = before + word.len();
                    assert_eq!(Keyword::at(sql.as_bytes(), before, end), keyword, "{sql}");
                }
            }
        }
    }

    #[test]
    fn folding_makes_no_word_a_keyword() {
        let is_word =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'$' | 0x80..);
        for byte in (0..=u8::MAX).filter(|byte| is_word(*byte)) {
            for other in (b'a'..=b'z').chain([b'_']) {
                let same = byte.to_ascii_lowercase() == other;
                assert_eq!(byte | LOWER == other | LOWER, same, "{byte} {other}");
            }
        }
    }
}
