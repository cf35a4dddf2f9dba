//! The body of a statement that may be a read: what in it speaks against that.

use super::classifier::{Classifier, Lexed};
use super::facts::{Facts, FunctionFact, Identifier, Name, RelationFact, RelationKind};
use super::functions::{
    Builtin, SessionEffect, builtin, is_left_alone_by_planning, is_temporary_schema, session_effect,
};
use super::keywords::{Category, Keyword};
use super::lexer::{Kind, Token};
use super::verdict::{Pin, Reason, Unreadable};

/// What stands before a token, as far as it decides whether `name (` is a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Before {
    /// Nothing: the statement begins.
    Start,
    /// `(`
    Open,
    /// A `)` that ends an operand or a table: a name behind it is an alias.
    Close,
    /// The `)` of `DISTINCT ON (…)` or `OPERATOR(…)`: an operand follows.
    CloseThenOperand,
    /// `]`
    CloseBracket,
    Comma,
    Dot,
    /// `AS`
    As,
    /// `::`
    TypeCast,
    /// `GROUP BY`
    GroupBy,
    /// `DISTINCT ON`
    DistinctOn,
    /// `OPERATOR` before its parenthesis.
    OperatorWord,
    /// `IS DISTINCT` and `IS NOT DISTINCT`, which `FROM` follows.
    IsDistinct,
    /// `, TRUE`
    TrueArgument,
    /// Any other keyword, also where it is used as a name.
    Keyword(Keyword),
    /// A name that is no keyword.
    Name,
    /// A string, a number, a parameter.
    Constant,
    Operator,
}

impl Before {
    /// Whether an operand ends here for certain.
    const fn ends_operand(self) -> bool {
        use Keyword as K;
        match self {
            Self::Name | Self::Constant | Self::Close | Self::CloseBracket | Self::TrueArgument => {
                true
            }
            Self::Keyword(keyword) => matches!(keyword, K::Null | K::True | K::False | K::End),
            _ => false,
        }
    }
}

/// What a name is that may come next, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expects {
    /// A column, an alias, anything but the name of a relation.
    Other,
    /// The name of a relation that is read.
    Relation,
    /// The name of a relation that is changed.
    Changed,
}

/// How deep parentheses may nest before the finer rules give way to the safe answer.
const TRACKED_DEPTH: usize = 64;

/// How far the arguments of a call are looked through for their number, in tokens.
const COUNTED_TOKENS: usize = 64;

/// Where a body is read.
struct Body {
    depth: usize,
    before: Before,
    /// What stands before the dotted name that is being read.
    before_name: Before,
    /// The part of that name read last.
    qualifier: Option<Token>,
    /// Bit n: at depth n a list of common table expressions is being read.
    cte_lists: u64,
    /// Bit n: behind the parenthesis opened at depth n an operand follows.
    operand_follows: u64,
    /// Bit n: at depth n a `FROM` clause is being read, in which a comma goes before a relation.
    from_clauses: u64,
    /// Bit n: depth n holds the arguments of a function in whose syntax `FROM` is a word.
    from_arguments: u64,
    expects: Expects,
    /// The name read last is that of a relation that is read: one behind it is its alias.
    named_relation: bool,
    /// The depth at which a call of `set_config` was opened.
    set_config: Option<usize>,
    /// `INTO` was read.
    into: bool,
    /// It is the body of a `MERGE`.
    merge: bool,
    /// How many `CASE` are open outside of all parentheses.
    cases: usize,
}

const fn bit(depth: usize) -> u64 {
    if depth < TRACKED_DEPTH { 1 << depth } else { 0 }
}

impl Body {
    const fn new(depth: usize, before: Before) -> Self {
        Self {
            depth,
            before,
            before_name: Before::Operator,
            qualifier: None,
            cte_lists: 0,
            operand_follows: 0,
            from_clauses: 0,
            from_arguments: 0,
            expects: Expects::Other,
            named_relation: false,
            set_config: None,
            into: false,
            merge: false,
            cases: 0,
        }
    }

    /// Notes a token that is no part of a name.
    #[inline]
    const fn pass(&mut self, before: Before) {
        self.before = before;
        self.qualifier = None;
        self.expects = Expects::Other;
    }

    fn comma(&mut self) {
        self.pass(Before::Comma);
        if self.from_clauses & bit(self.depth) != 0 {
            self.expects = Expects::Relation;
        }
    }

    fn open(&mut self) {
        let here = bit(self.depth);
        if matches!(self.before, Before::DistinctOn | Before::OperatorWord) {
            self.operand_follows |= here;
        } else {
            self.operand_follows &= !here;
        }
        // `WITH a AS (…) (SELECT …)`: the list is over.
        if matches!(self.before, Before::Close | Before::CloseThenOperand) {
            self.cte_lists &= !here;
        }
        self.depth += 1;
        let inside = bit(self.depth);
        self.cte_lists &= !inside;
        self.from_clauses &= !inside;
        self.from_arguments &= !inside;
        if let Before::Keyword(
            Keyword::Extract | Keyword::Overlay | Keyword::Substring | Keyword::Trim,
        ) = self.before
        {
            self.from_arguments |= inside;
        }
        // A join, or the relation behind ONLY, may stand in parentheses.
        let expects = self.expects;
        self.pass(Before::Open);
        self.expects = expects;
    }

    /// `None` if nothing is open.
    fn close(&mut self) -> Option<()> {
        self.depth = self.depth.checked_sub(1)?;
        let then_operand =
            self.depth >= TRACKED_DEPTH || self.operand_follows & bit(self.depth) != 0;
        self.pass(if then_operand { Before::CloseThenOperand } else { Before::Close });
        Some(())
    }

    /// Whether a name that is not called may be a relation's.
    #[inline]
    fn asks(&self) -> bool {
        self.expects == Expects::Relation || self.depth >= TRACKED_DEPTH
    }

    const fn in_cte_list(&self) -> bool {
        self.cte_lists & bit(self.depth) != 0
    }
}

impl<'a, F: Facts> Classifier<'a, '_, F> {
    /// Reads a query from its first token to the statement's end.
    pub(super) fn read(&mut self, first: Token) -> Lexed<()> {
        let mut body = Body::new(0, Before::Start);
        self.body(first, &mut body, false)
    }

    /// Reads a query in parentheses, of which the opening one has been read, to the closing one.
    pub(super) fn read_parenthesized(&mut self) -> Lexed<()> {
        let Some(first) = self.lexer.next()? else { return Err(Unreadable::Unbalanced) };
        let mut body = Body::new(1, Before::Open);
        self.body(first, &mut body, true)
    }

    fn body(&mut self, first: Token, body: &mut Body, parenthesized: bool) -> Lexed<()> {
        let mut token = first;
        loop {
            match token.kind {
                Kind::Word => self.word(body, token),
                Kind::Quoted => self.name(body, token, true),
                Kind::EscapedQuoted => {
                    self.doubt(Reason::EscapedName(token.span()));
                    body.pass(Before::Name);
                }
                Kind::String | Kind::Literal => body.pass(Before::Constant),
                Kind::Open => body.open(),
                Kind::Close => {
                    let last = body.before;
                    body.close().ok_or(Unreadable::Unbalanced)?;
                    if body.set_config == Some(body.depth) {
                        body.set_config = None;
                        self.end_set_config(last);
                    }
                    if parenthesized && body.depth == 0 {
                        return Ok(());
                    }
                }
                Kind::Semicolon | Kind::End => {
                    self.ended = true;
                    return if body.depth == 0 { Ok(()) } else { Err(Unreadable::Unbalanced) };
                }
                Kind::CloseBracket => body.pass(Before::CloseBracket),
                Kind::Comma => body.comma(),
                Kind::Dot => {
                    if body.qualifier.is_none() {
                        body.before_name = Before::Operator;
                    }
                    body.before = Before::Dot;
                }
                Kind::TypeCast => body.pass(Before::TypeCast),
                Kind::Operator => {
                    self.operator(token);
                    body.pass(Before::Operator);
                }
                Kind::Unreadable => return Err(self.lexer.failure()),
            }
            let kind = self.lexer.advance();
            token = self.lexer.token(kind);
        }
    }

    #[inline]
    fn word(&mut self, body: &mut Body, token: Token) {
        if body.before == Before::Dot {
            return self.name(body, token, false);
        }
        match Keyword::at(self.sql, token.start, token.end) {
            Some(keyword) => self.keyword(body, token, keyword),
            None => self.name(body, token, false),
        }
    }

    fn keyword(&mut self, body: &mut Body, token: Token, keyword: Keyword) {
        use Keyword as K;
        let before = body.before;
        let mut now = Before::Keyword(keyword);
        let mut expects = Expects::Other;
        match keyword {
            K::Select => {
                let here = !bit(body.depth);
                body.cte_lists &= here;
                body.from_clauses &= here;
                body.from_arguments &= here;
            }
            K::From => expects = from(body),
            K::Where
            | K::Group
            | K::Having
            | K::Window
            | K::Order
            | K::Limit
            | K::Offset
            | K::Fetch
            | K::Union
            | K::Except => body.from_clauses &= !bit(body.depth),
            K::Intersect | K::For => body.from_clauses &= !bit(body.depth),
            K::Join => expects = Expects::Relation,
            K::Only | K::Lateral => expects = body.expects,
            K::Values => body.cte_lists &= !bit(body.depth),
            K::Table => {
                body.cte_lists &= !bit(body.depth);
                expects = Expects::Relation;
            }
            K::With if matches!(before, Before::Start | Before::Open) => {
                body.cte_lists |= bit(body.depth);
            }
            K::As => now = Before::As,
            K::By if before == Before::Keyword(K::Group) => now = Before::GroupBy,
            K::On if before == Before::Keyword(K::Distinct) => now = Before::DistinctOn,
            K::True if before == Before::Comma => now = Before::TrueArgument,
            K::Distinct => {
                if matches!(before, Before::Keyword(K::Is | K::Not)) {
                    now = Before::IsDistinct;
                }
                self.implied_operators(&["=", "<>"], token);
            }
            K::In | K::Nullif | K::Case | K::Using | K::Natural => {
                self.implied_operators(&["=", "<>"], token);
                match keyword {
                    // `DELETE FROM t USING` and `MERGE INTO t USING` go before relations.
                    K::Using if self.planned => {
                        body.from_clauses |= bit(body.depth);
                        expects = Expects::Relation;
                    }
                    K::Case if body.depth == 0 => body.cases += 1,
                    _ => {}
                }
            }
            K::End if body.depth == 0 => body.cases = body.cases.saturating_sub(1),
            K::Like => self.implied_operators(&["~~", "!~~"], token),
            K::Ilike => self.implied_operators(&["~~*", "!~~*"], token),
            K::Similar => self.implied_operators(&["~", "!~"], token),
            K::Between => self.implied_operators(&["<", "<=", ">", ">="], token),
            K::Insert | K::Update | K::Delete | K::Merge | K::Into | K::Share | K::Key | K::No => {
                expects = self.writing_keyword(body, keyword);
            }
            K::Temp | K::Temporary if body.into => self.pin(Pin::TemporaryObject),
            _ => {}
        }
        // Only what a parenthesis follows can be a call.
        let next = self.lexer.peek();
        if next == Some(b'(') {
            match keyword {
                K::Operator if before.ends_operand() || before == Before::Keyword(K::Using) => {
                    now = Before::OperatorWord;
                }
                _ if body.expects == Expects::Changed
                    && keyword.category() != Category::Reserved =>
                {
                    expects = self.relation_part(body, token, false, next);
                }
                _ if self.planned && is_syntax_of_changes(body, keyword) => {}
                _ if is_syntax(body, keyword) => {}
                _ => {
                    body.before_name = before;
                    self.call(body, token, false);
                }
            }
        } else if (body.expects != Expects::Other || body.depth >= TRACKED_DEPTH)
            && expects == Expects::Other
            && keyword.category() != Category::Reserved
        {
            expects = self.relation_part(body, token, false, next);
        }
        body.expects = expects;
        body.before = now;
        body.before_name = before;
        body.qualifier = Some(token);
    }

    /// A keyword of a statement that changes data, or locks rows.
    #[cold]
    fn writing_keyword(&mut self, body: &mut Body, keyword: Keyword) -> Expects {
        use Keyword as K;
        let before = match body.before {
            Before::Keyword(before) => Some(before),
            _ => None,
        };
        match (keyword, before) {
            // Planning locks no rows.
            (K::Update | K::Share | K::Key | K::No, Some(K::For)) if self.planned => {}
            (K::Update, Some(K::For)) => self.doubt(Reason::RowLock("FOR UPDATE")),
            (K::Share, Some(K::For)) => self.doubt(Reason::RowLock("FOR SHARE")),
            // `FOR KEY SHARE` and `FOR NO KEY UPDATE` are the only clauses that begin so, though
            // `substring(a FOR key)` looks alike.
            (K::Key, Some(K::For)) => self.doubt(Reason::RowLock("FOR KEY SHARE")),
            (K::No, Some(K::For)) => self.doubt(Reason::RowLock("FOR NO KEY UPDATE")),
            (K::Insert | K::Update | K::Delete | K::Merge, _) => {
                if !self.planned {
                    self.doubt(Reason::Writes(keyword.text()));
                }
                body.merge |= keyword == K::Merge;
                // The actions of ON CONFLICT and MERGE name no relation.
                let is_action = matches!(before, Some(K::Do | K::Then | K::Key));
                if keyword == K::Update && !is_action {
                    return Expects::Changed;
                }
            }
            (K::Into, Some(K::Insert | K::Merge)) if self.planned => return Expects::Changed,
            (K::Into, _) => {
                self.doubt(Reason::SelectInto);
                body.into = true;
                if matches!(before, Some(K::Insert | K::Merge)) {
                    return Expects::Changed;
                }
            }
            _ => {}
        }
        Expects::Other
    }

    /// An identifier that is no keyword.
    #[inline]
    fn name(&mut self, body: &mut Body, token: Token, quoted: bool) {
        let dotted = body.before == Before::Dot;
        if !dotted {
            body.before_name = body.before;
            body.qualifier = None;
        }
        let next = self.lexer.peek();
        let names_relation = body.expects == Expects::Relation;
        // Behind a relation that is changed stand its columns.
        if next == Some(b'(') && body.expects != Expects::Changed {
            self.call(body, token, quoted);
            body.expects = Expects::Other;
        } else if body.expects != Expects::Other || body.depth >= TRACKED_DEPTH || body.into {
            body.expects = self.relation_part(body, token, quoted, next);
        } else if dotted {
            self.attribute(body, token, quoted);
        } else if next == Some(b'.') && is_temporary_schema(self.text(token)) {
            self.check_system_name(token);
        }
        body.named_relation =
            names_relation && body.expects == Expects::Other && next != Some(b'(');
        body.before = Before::Name;
        body.qualifier = Some(token);
    }

    /// A name where a relation's can stand, or a part of one.
    fn relation_part(
        &mut self,
        body: &Body,
        token: Token,
        quoted: bool,
        next: Option<u8>,
    ) -> Expects {
        if matches!(self.text(token).first(), Some(b'p' | b'P')) {
            self.check_system_name(token);
            if body.into && is_temporary_schema(self.text(token)) {
                self.pin(Pin::TemporaryObject);
            }
        }
        if next == Some(b'.') {
            return body.expects;
        }
        if body.expects == Expects::Changed && !self.planned {
            self.facts.written(self.full_name(body, token, quoted));
        } else if body.expects == Expects::Changed || body.asks() {
            self.relation(body, token, quoted);
        }
        if body.depth >= TRACKED_DEPTH && body.before == Before::Dot {
            self.attribute(body, token, quoted);
        }
        Expects::Other
    }

    fn full_name(&self, body: &Body, token: Token, quoted: bool) -> Name<'a> {
        let qualifier = match (body.before, body.qualifier) {
            (Before::Dot, Some(part)) => Some(self.identifier(part)),
            _ => None,
        };
        Name { qualifier, name: Identifier { text: self.text(token), quoted } }
    }

    pub(super) fn identifier(&self, token: Token) -> Identifier<'a> {
        Identifier { text: self.text(token), quoted: token.kind != Kind::Word }
    }

    fn relation(&mut self, body: &Body, token: Token, quoted: bool) {
        let name = self.full_name(body, token, quoted);
        if let RelationFact::PrimaryOnly(kind) = self.facts.relation(name)
            && !(self.planned && kind == RelationKind::WritingView)
        {
            self.doubt(Reason::Relation(kind, token.span()));
        }
    }

    /// A name behind a dot that is neither called nor a relation's: `t.f` may be `f(t)`.
    #[inline]
    fn attribute(&mut self, body: &Body, token: Token, quoted: bool) {
        if body.before_name != Before::TypeCast
            && matches!(
                self.facts.attribute(self.full_name(body, token, quoted)),
                FunctionFact::Writes | FunctionFact::Volatile
            )
        {
            self.doubt(Reason::WritingName(token.span()));
        }
    }

    /// The relation that `COPY` reads.
    pub(super) fn copied_relation(&mut self, qualifier: Option<Token>, token: Token) {
        self.check_system_name(qualifier.unwrap_or(token));
        self.check_system_name(token);
        let name = Name {
            qualifier: qualifier.map(|part| self.identifier(part)),
            name: self.identifier(token),
        };
        if let RelationFact::PrimaryOnly(kind) = self.facts.relation(name) {
            self.doubt(Reason::Relation(kind, token.span()));
        }
    }

    /// An operator, or punctuation that is no other token's.
    #[inline]
    fn operator(&mut self, token: Token) {
        let text = self.text(token);
        // `[`, `:` and their like are none.
        if !matches!(text.first(), Some(b'[' | b':' | b'.')) && self.facts.operator(text) {
            self.doubt(Reason::Operator(token.span()));
        }
    }

    /// The operators for which a word stands.
    fn implied_operators(&mut self, operators: &[&str], token: Token) {
        if operators.iter().any(|operator| self.facts.operator(operator.as_bytes())) {
            self.doubt(Reason::Operator(token.span()));
        }
    }

    /// A name before a parenthesis.
    fn call(&mut self, body: &mut Body, token: Token, quoted: bool) {
        let dotted = body.before == Before::Dot;
        match body.before_name {
            // Types with modifiers, aliases with column lists (also behind WITH ORDINALITY), sampling
            // methods.
            Before::TypeCast | Before::As | Before::Close => return,
            Before::Keyword(Keyword::Tablesample | Keyword::Ordinality) => return,
            Before::Name if body.named_relation && !dotted => return,
            // Common table expressions with column lists.
            Before::Comma | Before::Keyword(Keyword::With | Keyword::Recursive)
                if body.in_cte_list() && !dotted =>
            {
                return;
            }
            _ => {}
        }
        let name = self.full_name(body, token, quoted);
        // Planning runs none of these.
        match session_effect(name.name.text).filter(|_| !self.planned) {
            Some(SessionEffect::SetConfig) if body.set_config.is_none() => {
                body.set_config = Some(body.depth);
            }
            Some(effect) => self.session_effect(effect),
            None => {}
        }
        match self.facts.function(name) {
            FunctionFact::Harmless => return,
            FunctionFact::Volatile if self.planned => return,
            FunctionFact::Writes | FunctionFact::Volatile => {
                return self.doubt(Reason::WritingName(token.span()));
            }
            FunctionFact::Unknown => {}
        }
        let is_builtin = match name.qualifier {
            None => !dotted,
            Some(schema) if schema.quoted => schema.text == b"pg_catalog",
            Some(schema) => schema.text.eq_ignore_ascii_case(b"pg_catalog"),
        };
        let kind = if is_builtin {
            builtin(name.name.text, quoted)
        } else if is_array_expansion(name) {
            Builtin::Harmless
        } else {
            Builtin::Unknown
        };
        match kind {
            Builtin::Harmless => {}
            Builtin::Writing(function) | Builtin::Server(function)
                if self.planned && is_left_alone_by_planning(function) => {}
            // Of two arguments, the second is a query that it runs.
            Builtin::Writing("ts_rewrite") if self.arguments() == Some(3) => {}
            Builtin::Writing(function) => self.doubt(Reason::WritingFunction(function)),
            Builtin::Server(function) => self.doubt(Reason::ServerFunction(function)),
            Builtin::Unknown => self.doubt(Reason::UnknownFunction(token.span())),
        }
    }

    /// How many arguments the call has whose parenthesis comes next. `None` if there are too many, or
    /// what parts them cannot be told easily.
    fn arguments(&self) -> Option<usize> {
        let mut lexer = self.lexer.clone();
        let mut depth = 0_usize;
        let mut commas = 0;
        for _ in 0..COUNTED_TOKENS {
            match lexer.step() {
                Kind::Open => depth += 1,
                Kind::Close if depth == 1 => return Some(commas + 1),
                Kind::Close => depth = depth.checked_sub(1)?,
                Kind::Comma if depth == 1 => commas += 1,
                // Commas part the elements of an array too.
                Kind::Operator
                    if self.sql.get(lexer.token(Kind::Operator).start) == Some(&b'[') =>
                {
                    return None;
                }
                Kind::End | Kind::Semicolon | Kind::Unreadable => return None,
                _ => {}
            }
        }
        None
    }

    /// A call of `set_config` ends, and this was before its last parenthesis.
    fn end_set_config(&mut self, last: Before) {
        if last == Before::TrueArgument {
            self.effects.sets.local = true;
        } else {
            self.session_effect(SessionEffect::SetConfig);
        }
    }
}

/// What `FROM` goes before.
fn from(body: &mut Body) -> Expects {
    let here = bit(body.depth);
    match body.before {
        Before::IsDistinct => Expects::Other,
        Before::Keyword(Keyword::Delete) => Expects::Changed,
        _ if body.from_arguments & here != 0 => Expects::Other,
        _ => {
            body.from_clauses |= here;
            Expects::Relation
        }
    }
}

/// `information_schema._pg_expandarray`, which drivers call to take keys apart.
fn is_array_expansion(name: Name<'_>) -> bool {
    let is = |part: Identifier<'_>, known: &[u8]| {
        if part.quoted { part.text == known } else { part.text.eq_ignore_ascii_case(known) }
    };
    name.qualifier.is_some_and(|schema| is(schema, b"information_schema"))
        && is(name.name, b"_pg_expandarray")
}

/// The same within `INSERT`, `UPDATE` and `MERGE`.
fn is_syntax_of_changes(body: &Body, keyword: Keyword) -> bool {
    use Keyword as K;
    match keyword {
        // `ON CONFLICT (…)`
        K::Conflict => body.before == Before::Keyword(K::On),
        // `UPDATE t SET (…) =`, `DO UPDATE SET (…) =`
        K::Set => body.before.ends_operand() || body.before == Before::Keyword(K::Update),
        // `WHEN NOT MATCHED THEN INSERT (…)`
        K::Insert => {
            body.merge
                && body.depth == 0
                && body.cases == 0
                && body.before == Before::Keyword(K::Then)
        }
        _ => false,
    }
}

/// Whether the keyword before a parenthesis belongs to the grammar there, and is no function.
fn is_syntax(body: &Body, keyword: Keyword) -> bool {
    use Keyword as K;
    if matches!(keyword.category(), Category::Reserved | Category::ColumnName) {
        return true;
    }
    let after = |keywords: &[Keyword]| match body.before {
        Before::Keyword(before) => keywords.contains(&before),
        _ => false,
    };
    match keyword {
        K::By => after(&[K::Order, K::Group, K::Partition]),
        K::Sets => after(&[K::Grouping]),
        K::Rollup | K::Cube => body.before == Before::GroupBy,
        K::Materialized => body.in_cte_list() && after(&[K::Not]),
        K::System => after(&[K::Tablesample]),
        K::Zone => after(&[K::Time]),
        K::Varying => after(&[K::Character, K::Char, K::Bit, K::Nchar]),
        K::First | K::Next => after(&[K::Fetch]),
        K::Ilike => body.before.ends_operand(),
        K::Join => {
            body.before.ends_operand()
                || after(&[K::Inner, K::Cross, K::Left, K::Right, K::Full, K::Outer, K::Natural])
        }
        _ => false,
    }
}
