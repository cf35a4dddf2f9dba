//! The body of a statement that may be a read: what in it speaks against that.

use super::classifier::{Classifier, Lexed};
use super::facts::{Facts, FunctionFact, Identifier, Name, RelationFact};
use super::functions::{Builtin, SessionEffect, builtin, is_temporary_schema, session_effect};
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

/// How deep parentheses may nest before the finer rules give way to the safe answer.
const TRACKED_DEPTH: usize = 64;

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
    /// The depth at which a call of `set_config` was opened.
    set_config: Option<usize>,
    /// `INTO` was read.
    into: bool,
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
            set_config: None,
            into: false,
        }
    }

    /// Notes a token that is no part of a name.
    #[inline]
    const fn pass(&mut self, before: Before) {
        self.before = before;
        self.qualifier = None;
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
        self.cte_lists &= !bit(self.depth);
        self.pass(Before::Open);
    }

    /// `None` if nothing is open.
    fn close(&mut self) -> Option<()> {
        self.depth = self.depth.checked_sub(1)?;
        let then_operand =
            self.depth >= TRACKED_DEPTH || self.operand_follows & bit(self.depth) != 0;
        self.pass(if then_operand { Before::CloseThenOperand } else { Before::Close });
        Some(())
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
                Kind::Comma => body.pass(Before::Comma),
                Kind::Dot => {
                    if body.qualifier.is_none() {
                        body.before_name = Before::Operator;
                    }
                    body.before = Before::Dot;
                }
                Kind::TypeCast => body.pass(Before::TypeCast),
                Kind::Operator => body.pass(Before::Operator),
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
        match keyword {
            K::Select | K::Values | K::Table => body.cte_lists &= !bit(body.depth),
            K::With if matches!(before, Before::Start | Before::Open) => {
                body.cte_lists |= bit(body.depth);
            }
            K::As => now = Before::As,
            K::By if before == Before::Keyword(K::Group) => now = Before::GroupBy,
            K::On if before == Before::Keyword(K::Distinct) => now = Before::DistinctOn,
            K::True if before == Before::Comma => now = Before::TrueArgument,
            K::Update if before == Before::Keyword(K::For) => {
                self.doubt(Reason::RowLock("FOR UPDATE"));
            }
            K::Share if before == Before::Keyword(K::For) => {
                self.doubt(Reason::RowLock("FOR SHARE"));
            }
            // `FOR KEY SHARE` and `FOR NO KEY UPDATE` are the only clauses that begin so, though
            // `substring(a FOR key)` looks alike.
            K::Key if before == Before::Keyword(K::For) => {
                self.doubt(Reason::RowLock("FOR KEY SHARE"));
            }
            K::No if before == Before::Keyword(K::For) => {
                self.doubt(Reason::RowLock("FOR NO KEY UPDATE"));
            }
            K::Insert | K::Update | K::Delete | K::Merge => {
                self.doubt(Reason::Writes(keyword.text()));
            }
            K::Into => {
                self.doubt(Reason::SelectInto);
                body.into = true;
            }
            K::Temp | K::Temporary if body.into => self.pin(Pin::TemporaryObject),
            _ => {}
        }
        // Only what a parenthesis follows can be a call.
        if self.lexer.peek() == Some(b'(') {
            match keyword {
                K::Operator if before.ends_operand() || before == Before::Keyword(K::Using) => {
                    now = Before::OperatorWord;
                }
                _ if is_syntax(body, keyword) => {}
                _ => {
                    body.before_name = before;
                    self.call(body, token, false);
                }
            }
        } else if keyword.category() == Category::Unreserved {
            self.relation(body, token, false);
        }
        body.before = now;
        body.before_name = before;
        body.qualifier = Some(token);
    }

    /// An identifier that is no keyword.
    #[inline]
    fn name(&mut self, body: &mut Body, token: Token, quoted: bool) {
        if body.before != Before::Dot {
            body.before_name = body.before;
            body.qualifier = None;
        }
        if self.lexer.peek() == Some(b'(') {
            self.call(body, token, quoted);
        } else {
            if matches!(self.text(token).first(), Some(b'p' | b'P')) {
                self.check_system_name(token);
                if body.into && is_temporary_schema(self.text(token)) {
                    self.pin(Pin::TemporaryObject);
                }
            }
            self.relation(body, token, quoted);
        }
        body.before = Before::Name;
        body.qualifier = Some(token);
    }

    fn full_name(&self, body: &Body, token: Token, quoted: bool) -> Name<'a> {
        let qualifier = match (body.before, body.qualifier) {
            (Before::Dot, Some(part)) => {
                Some(Identifier { text: self.text(part), quoted: part.kind != Kind::Word })
            }
            _ => None,
        };
        Name { qualifier, name: Identifier { text: self.text(token), quoted } }
    }

    #[inline]
    fn relation(&mut self, body: &Body, token: Token, quoted: bool) {
        let name = self.full_name(body, token, quoted);
        if let RelationFact::PrimaryOnly(kind) = self.facts.relation(name) {
            self.doubt(Reason::Relation(kind, token.span()));
        }
    }

    /// The relation that `COPY` names, or its schema.
    pub(super) fn copied_relation(&mut self, token: Token) {
        let quoted = token.kind == Kind::Quoted;
        self.relation(&Body::new(0, Before::Start), token, quoted);
    }

    /// A name before a parenthesis.
    fn call(&mut self, body: &mut Body, token: Token, quoted: bool) {
        let dotted = body.before == Before::Dot;
        match body.before_name {
            // Types with modifiers, aliases with column lists, sampling methods.
            Before::TypeCast | Before::As | Before::Close => return,
            Before::Keyword(Keyword::Tablesample) => return,
            // Common table expressions with column lists.
            Before::Comma | Before::Keyword(Keyword::With | Keyword::Recursive)
                if body.in_cte_list() && !dotted =>
            {
                return;
            }
            _ => {}
        }
        let name = self.full_name(body, token, quoted);
        match session_effect(name.name.text) {
            Some(SessionEffect::SetConfig) if body.set_config.is_none() => {
                body.set_config = Some(body.depth);
            }
            Some(effect) => self.session_effect(effect),
            None => {}
        }
        match self.facts.function(name) {
            FunctionFact::Harmless => return,
            FunctionFact::Writes => return self.doubt(Reason::UnknownFunction(token.span())),
            FunctionFact::Unknown => {}
        }
        let is_builtin = match name.qualifier {
            None => !dotted,
            Some(schema) if schema.quoted => schema.text == b"pg_catalog",
            Some(schema) => schema.text.eq_ignore_ascii_case(b"pg_catalog"),
        };
        let kind = if is_builtin { builtin(name.name.text, quoted) } else { Builtin::Unknown };
        match kind {
            Builtin::Harmless => {}
            Builtin::Writing(function) => self.doubt(Reason::WritingFunction(function)),
            Builtin::Server(function) => self.doubt(Reason::ServerFunction(function)),
            Builtin::Unknown => self.doubt(Reason::UnknownFunction(token.span())),
        }
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
