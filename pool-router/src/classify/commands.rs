//! Commands that are no queries, or that wrap one.

use super::classifier::{Classifier, Lexed};
use super::facts::{Facts, Name};
use super::functions::is_temporary_schema;
use super::keywords::Keyword;
use super::lexer::{Kind, Token};
use super::verdict::{Pin, Reason, Unreadable};

/// Parameters whose value is the same on every node: settings of the protocol and the session,
/// and what was fixed when the cluster was made or is replicated with the catalogue. Sorted.
const SHOWN_ALIKE: [&str; 24] = [
    "application_name",
    "block_size",
    "bytea_output",
    "client_encoding",
    "client_min_messages",
    "datestyle",
    "default_text_search_config",
    "extra_float_digits",
    "integer_datetimes",
    "intervalstyle",
    "is_superuser",
    "lc_collate",
    "lc_ctype",
    "max_identifier_length",
    "max_index_keys",
    "role",
    "search_path",
    "server_encoding",
    "server_version",
    "server_version_num",
    "session_authorization",
    "standard_conforming_strings",
    "timezone",
    "xmlbinary",
];

impl<F: Facts> Classifier<'_, '_, F> {
    pub(super) fn show(&mut self) -> Lexed<()> {
        let Some(name) = self.part()? else { return self.unknown() };
        let text = self.text(name.token);
        let known = match self.part()? {
            None => SHOWN_ALIKE.iter().any(|known| known.as_bytes().eq_ignore_ascii_case(text)),
            Some(second) => name.is(Keyword::Time) && second.is(Keyword::Zone),
        };
        if !known {
            self.doubt(Reason::ShowParameter(name.token.span()));
        }
        self.opaque()
    }

    pub(super) fn explain(&mut self) -> Lexed<()> {
        use Keyword as K;
        let mut analyze = false;
        let mut settings = false;
        let mut next = self.part()?;
        if let Some(part) = next
            && part.token.kind == Kind::Open
        {
            loop {
                let Some(option) = self.part()? else { return Err(Unreadable::Unbalanced) };
                match option.token.kind {
                    Kind::Close => break,
                    // A query in parentheses, which is no option.
                    Kind::Open => {
                        self.doubt(Reason::UnknownStatement);
                        return self.opaque_within(2);
                    }
                    _ => {}
                }
                if option.is(K::Select) || option.is(K::With) {
                    self.doubt(Reason::UnknownStatement);
                    return self.opaque_within(1);
                }
                let is_analyze = option.is(K::Analyze) || option.is(K::Analyse);
                // The planner's settings are one server's own.
                let is_settings = self.text(option.token).eq_ignore_ascii_case(b"settings");
                if (is_analyze || is_settings) && self.is_switched_on()? {
                    analyze |= is_analyze;
                    settings |= is_settings;
                }
            }
            next = self.part()?;
        } else {
            while let Some(part) = next
                && (part.is(K::Analyze) || part.is(K::Analyse) || part.is(K::Verbose))
            {
                analyze |= !part.is(K::Verbose);
                next = self.part()?;
            }
        }
        let Some(query) = next else { return self.unknown() };
        let is_query = query.token.kind == Kind::Open
            || [K::Select, K::With, K::Values, K::Table].into_iter().any(|word| query.is(word));
        let is_change =
            [K::Insert, K::Update, K::Delete, K::Merge].into_iter().any(|word| query.is(word));
        let explain = Reason::Utility(if analyze { "EXPLAIN ANALYZE" } else { "EXPLAIN" });
        if is_query || is_change && !analyze {
            let writes_before = self.effects.writes;
            let sets_before = self.effects.sets;
            self.planned = !analyze;
            let read = self.read(query.token);
            self.planned = false;
            read?;
            if self.has_doubt() || settings {
                if !analyze {
                    // Planning alone changes nothing.
                    self.effects.writes = writes_before;
                    self.effects.sets = sets_before;
                }
                self.settle(explain);
            }
            return Ok(());
        }
        self.settle(explain);
        self.effects.writes |= analyze;
        match query.keyword {
            Some(K::Create) if analyze => self.create(),
            Some(keyword) if analyze => self.change(keyword),
            _ => self.opaque(),
        }
    }

    /// Whether the option of `EXPLAIN` whose name has been read is on. No literal counts as off: a
    /// verdict must not depend on the value of one.
    fn is_switched_on(&mut self) -> Lexed<bool> {
        if matches!(self.lexer.peek(), Some(b',' | b')')) {
            return Ok(true);
        }
        let value = self.part()?;
        Ok(!value.is_some_and(|part| part.is(Keyword::False) || part.is(Keyword::Off)))
    }

    pub(super) fn copy(&mut self) -> Lexed<()> {
        use Keyword as K;
        let mut next = self.part()?;
        let mut depth = 0_usize;
        if next.is_some_and(|part| part.token.kind == Kind::Open) {
            self.read_parenthesized()?;
            next = self.part()?;
        }
        // The relation and its columns.
        let mut relation = None;
        let mut qualifier = None;
        let direction = loop {
            let Some(part) = next else { return self.unknown() };
            match part.token.kind {
                Kind::Open => depth += 1,
                Kind::Close => depth = depth.checked_sub(1).ok_or(Unreadable::Unbalanced)?,
                Kind::EscapedQuoted => self.doubt(Reason::EscapedName(part.token.span())),
                Kind::Word | Kind::Quoted if depth == 0 => {
                    if part.is(K::To) || part.is(K::From) {
                        break part;
                    }
                    relation = Some(part.token);
                }
                Kind::Dot if depth == 0 => qualifier = relation,
                _ => {}
            }
            next = self.part()?;
        };
        if let Some(relation) = relation {
            if direction.is(K::From) {
                self.changed_relation(qualifier, relation);
            } else {
                self.copied_relation(qualifier, relation);
            }
        }
        // The grammar takes STDIN and STDOUT for each other.
        let client = self.part()?.is_some_and(|place| place.is(K::Stdin) || place.is(K::Stdout));
        if direction.is(K::From) {
            self.effects.copy_in |= client;
            self.settle(Reason::Writes("COPY FROM"));
        } else if client {
            self.effects.copy_out = true;
        } else {
            self.effects.writes = true;
            self.settle(Reason::Utility("COPY TO a server file"));
        }
        self.opaque()
    }

    /// The rest of a statement that changes data: which relations, by the keyword it begins with.
    pub(super) fn change(&mut self, keyword: Keyword) -> Lexed<()> {
        use Keyword as K;
        let (introduced_by, lists) = match keyword {
            K::Insert | K::Merge => (Some(K::Into), false),
            K::Delete => (Some(K::From), false),
            K::Update => (None, false),
            K::Truncate => (None, true),
            _ => return self.opaque(),
        };
        let mut next = self.part()?;
        if let Some(word) = introduced_by {
            match next {
                Some(part) if part.is(word) => next = self.part()?,
                Some(part) if part.token.kind == Kind::Open => return self.opaque_within(1),
                Some(part) if part.token.kind == Kind::Close => return Err(Unreadable::Unbalanced),
                _ => return self.opaque(),
            }
        } else if lists && next.is_some_and(|part| part.is(K::Table)) {
            next = self.part()?;
        }
        let mut depth = 0_usize;
        let mut qualifier = None;
        let mut named = false;
        while let Some(part) = next {
            match part.token.kind {
                Kind::Word | Kind::Quoted if named => break,
                Kind::Word if part.is(K::Only) => {}
                Kind::Open => depth += 1,
                Kind::Close => depth = depth.checked_sub(1).ok_or(Unreadable::Unbalanced)?,
                Kind::Comma if lists => named = false,
                Kind::Operator if lists && self.text(part.token) == b"*" => {}
                Kind::Word | Kind::Quoted => {
                    if self.lexer.peek() == Some(b'.') {
                        qualifier = Some(part.token);
                        self.part()?;
                    } else {
                        self.changed_relation(qualifier.take(), part.token);
                        named = true;
                        if !lists {
                            break;
                        }
                    }
                }
                _ => break,
            }
            next = self.part()?;
        }
        self.opaque_within(depth)
    }

    fn changed_relation(&mut self, qualifier: Option<Token>, relation: Token) {
        let name = Name {
            qualifier: qualifier.map(|part| self.identifier(part)),
            name: self.identifier(relation),
        };
        self.facts.written(name);
    }

    pub(super) fn create(&mut self) -> Lexed<()> {
        use Keyword as K;
        self.settle(Reason::Writes("CREATE"));
        let mut depth = 0_usize;
        let mut temporary = false;
        let mut transient = false;
        let mut routine = false;
        // In the head stand the words between CREATE and the object's name.
        let mut head = true;
        // How many blocks are open in the SQL body of a routine.
        let mut blocks = 0_usize;
        let mut before = None;
        let mut before_that = None;
        while let Some(token) = self.lexer.next()? {
            match token.kind {
                Kind::Open => depth += 1,
                Kind::Close => depth = depth.checked_sub(1).ok_or(Unreadable::Unbalanced)?,
                Kind::Semicolon if depth == 0 && blocks == 0 => break,
                _ => {}
            }
            let is_name = matches!(token.kind, Kind::Word | Kind::Quoted);
            if is_name && is_temporary_schema(self.text(token)) {
                temporary = true;
            }
            let keyword = match token.kind {
                // Behind a dot and AS any keyword is a name.
                Kind::Word if !matches!(before, Some(Seen::Dot | Seen::Keyword(K::As))) => {
                    Keyword::at(self.sql, token.start, token.end)
                }
                _ => None,
            };
            match keyword {
                Some(K::Temp | K::Temporary) if head => temporary = true,
                Some(K::Function | K::Procedure) if head => {
                    routine = true;
                    head = false;
                }
                Some(K::Or | K::Replace | K::Global | K::Local | K::Unlogged | K::Recursive) => {}
                Some(K::Begin) => {}
                Some(K::Atomic) if routine && before == Some(Seen::Keyword(K::Begin)) => {
                    blocks += 1;
                }
                Some(K::Case) if blocks > 0 => blocks += 1,
                Some(K::End) if blocks > 0 => blocks -= 1,
                Some(K::Drop)
                    if before == Some(Seen::Keyword(K::Commit))
                        && before_that == Some(Seen::Keyword(K::On)) =>
                {
                    transient = true;
                }
                Some(_) | None => head = false,
            }
            if is_name {
                self.opaque_name(token);
            }
            before_that = before;
            before = match (token.kind, keyword) {
                (_, Some(keyword)) => Some(Seen::Keyword(keyword)),
                (Kind::Dot, _) => Some(Seen::Dot),
                _ => None,
            };
        }
        self.ended = true;
        if depth > 0 || blocks > 0 {
            return Err(Unreadable::Unbalanced);
        }
        if temporary && !transient {
            self.pin(Pin::TemporaryObject);
        }
        Ok(())
    }

    /// `DECLARE`: the query's functions count as run, for a cursor runs them in the end.
    pub(super) fn declare(&mut self) -> Lexed<()> {
        use Keyword as K;
        let mut before = None;
        while let Some(part) = self.part()? {
            if part.is(K::For) {
                if let Some(query) = self.part()? {
                    self.read(query.token)?;
                }
                break;
            }
            if part.is(K::Hold) && before == Some(K::With) {
                self.pin(Pin::HeldCursor);
            }
            before = part.keyword;
        }
        self.settle(Reason::SessionState("DECLARE"));
        self.opaque()
    }

    pub(super) fn prepare(&mut self) -> Lexed<()> {
        let name = self.part()?;
        let next = self.part()?;
        let two_phase = name.is_some_and(|part| part.is(Keyword::Transaction))
            && next.is_some_and(|part| part.token.kind == Kind::String);
        if two_phase {
            return self.prepare_transaction();
        }
        self.pin(Pin::PreparedStatement);
        self.settle(Reason::SessionState("PREPARE"));
        let types = next.is_some_and(|part| part.token.kind == Kind::Open);
        self.opaque_within(usize::from(types))
    }

    pub(super) fn session_command(&mut self, keyword: Keyword) -> Lexed<()> {
        use Keyword as K;
        self.settle(Reason::SessionState(keyword.text()));
        match keyword {
            K::Listen => self.pin(Pin::Listen),
            K::Load => self.pin(Pin::LoadedLibrary),
            // What was prepared is not known.
            K::Execute => self.effects.writes = true,
            K::Unlisten | K::Close => {
                let what = self.part()?;
                if keyword == K::Close {
                    self.effects.unpins.close_all |= what.is_some_and(|part| part.is(K::All));
                } else {
                    self.effects.unpins.unlisten_all |=
                        what.is_some_and(|part| part.token.kind == Kind::Operator);
                }
            }
            _ => {}
        }
        self.opaque()
    }

    pub(super) fn discard(&mut self) -> Lexed<()> {
        use Keyword as K;
        self.settle(Reason::SessionState("DISCARD"));
        match self.part()?.and_then(|part| part.keyword) {
            Some(K::All) => self.effects.unpins.discard_all = true,
            Some(K::Temp | K::Temporary) => self.effects.unpins.discard_temp = true,
            _ => {}
        }
        self.opaque()
    }

    pub(super) fn deallocate(&mut self) -> Lexed<()> {
        use Keyword as K;
        self.settle(Reason::SessionState("DEALLOCATE"));
        let first = self.part()?;
        let second = self.part()?;
        // `DEALLOCATE prepare` names a statement, `DEALLOCATE PREPARE x` does not.
        let name = match first {
            Some(part) if part.is(K::Prepare) && second.is_some() => second,
            _ => first,
        };
        match name {
            Some(part) if part.is(K::All) => self.effects.unpins.deallocate_all = true,
            Some(_) => self.effects.unpins.deallocate_one = true,
            None => {}
        }
        self.opaque()
    }

    /// A command that does not go on as it should: the server will refuse it, or knows better.
    pub(super) fn unknown(&mut self) -> Lexed<()> {
        self.doubt(Reason::UnknownStatement);
        self.opaque()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Dot,
    Keyword(Keyword),
}

#[cfg(test)]
mod tests {
    use super::SHOWN_ALIKE;

    #[test]
    fn shown_parameters_are_in_order() {
        assert!(SHOWN_ALIKE.is_sorted());
    }
}
