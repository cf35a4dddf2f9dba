//! Commands that change the transaction or the session's parameters.

use memchr::memchr2;

use super::classifier::{Classifier, Lexed, Part};
use super::facts::Facts;
use super::keywords::Keyword;
use super::lexer::Kind;
use super::set_config::whole_statement;
use super::verdict::{
    BeginMode, Effects, EndKind, IsolationLevel, Lexing, Parameter, Pin, Reason, SavepointAction,
    Span, Target, TrackedParameter, TransactionEnd, Verdict,
};

/// How long what is set lasts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    Session,
    Transaction,
}

impl<F: Facts> Classifier<'_, '_, F> {
    pub(super) fn begin(&mut self, keyword: Keyword) -> Lexed<()> {
        if keyword == Keyword::Start
            && !self.part()?.is_some_and(|part| part.is(Keyword::Transaction))
        {
            return self.unknown();
        }
        self.settle(Reason::TransactionControl(keyword.text()));
        let mode = self.modes()?;
        self.effects.begin = Some(mode);
        Ok(())
    }

    /// Transaction modes, to the statement's end.
    fn modes(&mut self) -> Lexed<BeginMode> {
        use Keyword as K;
        let mut mode = BeginMode::default();
        let mut before = None;
        while let Some(part) = self.part()? {
            match (before, part.keyword) {
                (Some(K::Read), Some(K::Only)) => mode.read_only = Some(true),
                (Some(K::Read), Some(K::Write)) => mode.read_only = Some(false),
                (_, Some(K::Committed)) => mode.isolation = Some(IsolationLevel::ReadCommitted),
                (_, Some(K::Uncommitted)) => {
                    mode.isolation = Some(IsolationLevel::ReadUncommitted);
                }
                (_, Some(K::Repeatable)) => mode.isolation = Some(IsolationLevel::RepeatableRead),
                (_, Some(K::Serializable)) => mode.isolation = Some(IsolationLevel::Serializable),
                (Some(K::Not), Some(K::Deferrable)) => mode.deferrable = Some(false),
                (_, Some(K::Deferrable)) => mode.deferrable = Some(true),
                // A snapshot belongs to one server.
                (_, Some(K::Snapshot)) => self.effects.repeatable = false,
                _ => {}
            }
            before = part.keyword;
        }
        Ok(mode)
    }

    pub(super) fn end(&mut self, keyword: Keyword) -> Lexed<()> {
        use Keyword as K;
        self.settle(Reason::TransactionControl(keyword.text()));
        let kind = match keyword {
            K::Commit | K::End => EndKind::Commit,
            _ => EndKind::Rollback,
        };
        let mut chain = false;
        let mut before = None;
        while let Some(part) = self.part()? {
            match part.keyword {
                Some(K::Prepared) => {
                    // Another transaction ends, not the session's own.
                    self.effects.writes = true;
                    return self.opaque();
                }
                Some(K::To) => {
                    self.effects.savepoint = Some(SavepointAction::RollbackTo);
                    self.effects.repeatable = true;
                    return self.opaque();
                }
                Some(K::Chain) => chain = before == Some(K::And),
                _ => {}
            }
            before = part.keyword;
        }
        self.effects.end = Some(TransactionEnd { kind, chain });
        Ok(())
    }

    pub(super) fn savepoint(&mut self, keyword: Keyword) -> Lexed<()> {
        self.settle(Reason::TransactionControl(keyword.text()));
        self.effects.savepoint = Some(if keyword == Keyword::Release {
            SavepointAction::Release
        } else {
            SavepointAction::Set
        });
        self.effects.repeatable = true;
        self.opaque()
    }

    /// `PREPARE TRANSACTION`, behind its name.
    pub(super) fn prepare_transaction(&mut self) -> Lexed<()> {
        self.settle(Reason::TransactionControl("PREPARE TRANSACTION"));
        self.effects.writes = true;
        self.effects.end = Some(TransactionEnd { kind: EndKind::Prepare, chain: false });
        self.opaque()
    }

    pub(super) fn set(&mut self) -> Lexed<()> {
        use Keyword as K;
        self.settle(Reason::SessionState("SET"));
        let mut scope = Scope::Session;
        let mut next = self.part()?;
        if let Some(part) = next {
            match part.keyword {
                Some(K::Local) => {
                    scope = Scope::Transaction;
                    next = self.part()?;
                }
                Some(K::Session) => {
                    next = self.part()?;
                    if next.is_some_and(|part| part.is(K::Characteristics)) {
                        self.sets_other(Scope::Session, Pin::Setting);
                        self.effects.sets.transaction_defaults = true;
                        self.effects.repeatable = true;
                        return self.opaque();
                    }
                }
                _ => {}
            }
        }
        let Some(name) = next else {
            self.sets_other(scope, Pin::Setting);
            return Ok(());
        };
        match name.keyword {
            Some(K::Transaction) => {
                self.settle(Reason::TransactionControl("SET TRANSACTION"));
                self.effects.sets.local = true;
                self.effects.repeatable = true;
                let mode = self.modes()?;
                self.effects.transaction_modes = Some(mode);
                return Ok(());
            }
            // Behind a name that goes on, no keyword is one.
            _ if self.lexer.peek() == Some(b'.') => return self.set_parameter(scope, name),
            Some(K::Constraints) => self.effects.sets.local = true,
            Some(K::Time) => self.sets_tracked(scope, TrackedParameter::TimeZone),
            Some(K::Names) => self.sets_tracked(scope, TrackedParameter::ClientEncoding),
            Some(K::Role) => self.sets_known(scope, Pin::Role, "role"),
            Some(K::Authorization | K::Session) => {
                self.sets_known(scope, Pin::Role, "session_authorization");
            }
            Some(K::Schema) => {
                let repeatable = !self.names_temporary_schema()?;
                self.sets_known(scope, Pin::Setting, "search_path");
                self.effects.repeatable = repeatable;
                return Ok(());
            }
            Some(K::Xml) => self.sets_known(scope, Pin::Setting, "xmloption"),
            _ => return self.set_parameter(scope, name),
        }
        self.effects.repeatable = true;
        self.opaque()
    }

    fn set_parameter(&mut self, scope: Scope, name: Part) -> Lexed<()> {
        let parameter = self.parameter(name)?;
        let (plain, text) = match parameter {
            Some(Named { span, plain }) => (plain, span.of(self.sql)),
            None => (false, &b""[..]),
        };
        let is = |known: &str| plain && text.eq_ignore_ascii_case(known.as_bytes());
        let (follows, value) = self.value()?;
        self.effects.repeatable = follows && value.is_some() && parameter.is_some();
        let of_transaction = |mode| (Scope::Transaction, Some(mode));
        let none = BeginMode::default();
        let (scope, mode) = if let Some(tracked) = TrackedParameter::of_name(text).filter(|_| plain)
        {
            self.sets_tracked(scope, tracked);
            return self.opaque();
        } else if is("role") || is("session_authorization") {
            self.sets_other(scope, Pin::Role);
            (scope, None)
        } else if is("seed") {
            self.sets_other(scope, Pin::RandomSeed);
            // What `random()` gives from then on depends on what was asked before.
            self.effects.repeatable = false;
            (scope, None)
        } else if is("transaction_read_only") {
            let read_only = value.and_then(|value| self.boolean(value));
            of_transaction(BeginMode { read_only, ..none })
        } else if is("transaction_deferrable") {
            let deferrable = value.and_then(|value| self.boolean(value));
            of_transaction(BeginMode { deferrable, ..none })
        } else if is("transaction_isolation") {
            let isolation = value.and_then(|value| self.isolation(value));
            of_transaction(BeginMode { isolation, ..none })
        } else if is("search_path") {
            if self.is_temporary_schema_in(value) || self.names_temporary_schema()? {
                self.effects.repeatable = false;
            }
            self.sets_other(scope, Pin::Setting);
            (scope, None)
        } else {
            self.sets_other(scope, Pin::Setting);
            (scope, None)
        };
        self.effects.sets.local |= scope == Scope::Transaction;
        self.effects.transaction_modes = mode.or(self.effects.transaction_modes);
        self.names_parameter(parameter);
        self.opaque()
    }

    /// The name of a parameter, of which the first word has been read. `None` if it is none.
    fn parameter(&mut self, first: Part) -> Lexed<Option<Named>> {
        let mut token = first.token;
        let start = token.start;
        let mut plain = true;
        loop {
            if !matches!(token.kind, Kind::Word | Kind::Quoted) {
                return Ok(None);
            }
            if self.lexer.peek() != Some(b'.') {
                break;
            }
            plain = false;
            self.part()?;
            let Some(part) = self.part()? else { return Ok(None) };
            token = part.token;
        }
        Ok(Some(Named { span: Span { start, end: token.end }, plain }))
    }

    fn names_parameter(&mut self, parameter: Option<Named>) {
        let Some(Named { span, plain }) = parameter else { return };
        self.effects.sets.parameter = Some(Parameter::Named(span));
        self.effects.sets.transaction_defaults |= plain
            && span
                .of(self.sql)
                .get(.."default_transaction_".len())
                .is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"default_transaction_"));
    }

    /// Whether `=` or `TO` stands next, and the value behind it.
    fn value(&mut self) -> Lexed<(bool, Option<Part>)> {
        let follows = self.part()?.is_some_and(|sign| {
            sign.is(Keyword::To) || self.text(sign.token).first() == Some(&b'=')
        });
        Ok((follows, self.part()?))
    }

    /// Whether the rest of the statement, a `search_path`, may name the schema of temporary objects.
    fn names_temporary_schema(&mut self) -> Lexed<bool> {
        let mut found = false;
        while let Some(part) = self.part()? {
            found |= self.is_temporary_schema_in(Some(part));
        }
        Ok(found)
    }

    /// The same of one part. What is written with escapes may be any name.
    fn is_temporary_schema_in(&mut self, part: Option<Part>) -> bool {
        let Some(part) = part else { return false };
        let text = self.text(part.token);
        let found = match part.token.kind {
            Kind::EscapedQuoted => true,
            Kind::String => match text {
                [b'\'', inner @ .., b'\''] => {
                    memchr2(b'\'', b'\\', inner).is_some() || mentions_temporary_schema(inner)
                }
                _ => true,
            },
            _ => mentions_temporary_schema(text),
        };
        if found {
            // With it even `current_schema()` makes that schema, which a standby refuses.
            self.pin(Pin::TemporaryObject);
        }
        found
    }

    /// The verdict on a statement of which `set_config` is all the doubt: as on `SET`, if it is no
    /// more than that.
    pub(super) fn set_config(&mut self, lexing: &Lexing, verdict: &mut Verdict) {
        let Some(call) = whole_statement(self.sql, lexing.standard_conforming_strings) else {
            return;
        };
        let name = call.name.of(self.sql);
        if name
            .get(.."transaction_".len())
            .is_some_and(|it| it.eq_ignore_ascii_case(b"transaction_"))
        {
            return;
        }
        let is = |known: &str| name.eq_ignore_ascii_case(known.as_bytes());
        self.effects = Effects::default();
        self.effects.repeatable = true;
        let scope = if call.local { Scope::Transaction } else { Scope::Session };
        if let Some(tracked) = TrackedParameter::of_name(name) {
            self.sets_tracked(scope, tracked);
        } else {
            let mut pin = Pin::Setting;
            if is("role") || is("session_authorization") {
                pin = Pin::Role;
            } else if is("seed") {
                pin = Pin::RandomSeed;
                self.effects.repeatable = false;
            } else if is("search_path") && mentions_temporary_schema(call.value.of(self.sql)) {
                self.pin(Pin::TemporaryObject);
                self.effects.repeatable = false;
            }
            self.sets_other(scope, pin);
            self.names_parameter(Some(Named { span: call.name, plain: !name.contains(&b'.') }));
        }
        verdict.effects = self.effects;
        verdict.target = Target::Primary(Reason::SessionState("set_config"));
    }

    fn unquoted(&self, value: Part) -> &[u8] {
        let text = self.text(value.token);
        text.strip_prefix(b"'").and_then(|text| text.strip_suffix(b"'")).unwrap_or(text)
    }

    /// A boolean as `parse_bool` takes it, but for abbreviations of which nobody makes use.
    fn boolean(&self, value: Part) -> Option<bool> {
        let text = self.unquoted(value);
        let is =
            |words: &[&str]| words.iter().any(|word| text.eq_ignore_ascii_case(word.as_bytes()));
        if is(&["on", "true", "yes", "t", "y", "1"]) {
            Some(true)
        } else if is(&["off", "false", "no", "f", "n", "0"]) {
            Some(false)
        } else {
            None
        }
    }

    fn isolation(&self, value: Part) -> Option<IsolationLevel> {
        let levels = [
            ("read uncommitted", IsolationLevel::ReadUncommitted),
            ("read committed", IsolationLevel::ReadCommitted),
            ("repeatable read", IsolationLevel::RepeatableRead),
            ("serializable", IsolationLevel::Serializable),
        ];
        let text = self.unquoted(value);
        levels
            .into_iter()
            .find(|(name, _)| text.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, level)| level)
    }

    fn sets_tracked(&mut self, scope: Scope, parameter: TrackedParameter) {
        self.effects.sets.parameter = Some(Parameter::Known(parameter.name()));
        match scope {
            Scope::Session => self.effects.sets.tracked.insert(parameter),
            Scope::Transaction => self.effects.sets.local = true,
        }
    }

    fn sets_known(&mut self, scope: Scope, pin: Pin, parameter: &'static str) {
        self.effects.sets.parameter = Some(Parameter::Known(parameter));
        self.sets_other(scope, pin);
    }

    fn sets_other(&mut self, scope: Scope, pin: Pin) {
        match scope {
            Scope::Session => {
                self.effects.sets.other = true;
                self.pin(pin);
            }
            Scope::Transaction => self.effects.sets.local = true,
        }
    }

    /// `RESET` takes something away and so pins nothing; what else was set stays.
    pub(super) fn reset(&mut self) -> Lexed<()> {
        use Keyword as K;
        self.settle(Reason::SessionState("RESET"));
        let Some(name) = self.part()? else { return Ok(()) };
        let known = match name.keyword {
            _ if self.lexer.peek() == Some(b'.') => None,
            Some(K::All) => {
                self.effects.unpins.reset_all = true;
                self.effects.sets.transaction_defaults = true;
                self.effects.repeatable = true;
                return self.opaque();
            }
            Some(K::Time) => {
                self.sets_tracked(Scope::Session, TrackedParameter::TimeZone);
                self.effects.repeatable = true;
                return self.opaque();
            }
            Some(K::Role) => Some("role"),
            Some(K::Session) => Some("session_authorization"),
            Some(K::Transaction) => Some("transaction_isolation"),
            _ => None,
        };
        self.effects.repeatable = true;
        if let Some(known) = known {
            self.effects.sets.parameter = Some(Parameter::Known(known));
            self.effects.sets.other = true;
            return self.opaque();
        }
        let parameter = self.parameter(name)?;
        let tracked = match parameter {
            Some(Named { span, plain: true }) => TrackedParameter::of_name(span.of(self.sql)),
            _ => None,
        };
        match tracked {
            Some(tracked) => self.sets_tracked(Scope::Session, tracked),
            None => {
                self.effects.sets.other = true;
                self.effects.repeatable = parameter.is_some();
                self.names_parameter(parameter);
            }
        }
        self.opaque()
    }

    /// `LOCK`: in its two weakest modes it keeps nobody but changes of the schema away, and a hot
    /// standby takes it (PostgreSQL docs, 27.4.1 and 13.3.1).
    pub(super) fn lock(&mut self) -> Lexed<()> {
        use Keyword as K;
        self.settle(Reason::Utility("LOCK"));
        while let Some(part) = self.part()? {
            match part.token.kind {
                // The list of relations ends.
                Kind::Word if part.is(K::In) => {
                    let mode = [self.part()?, self.part()?, self.part()?];
                    let words = mode.map(|part| part.and_then(|part| part.keyword));
                    let end = self.part()?;
                    let ends = match end {
                        None => true,
                        Some(end) => end.is(K::Nowait) && self.part()?.is_none(),
                    };
                    let weak = ends
                        && matches!(
                            words,
                            [Some(K::Access | K::Row), Some(K::Share), Some(K::Mode)]
                        );
                    self.effects.repeatable = weak;
                    self.effects.writes |= !weak;
                    return self.opaque();
                }
                Kind::Word | Kind::Quoted | Kind::Dot | Kind::Comma | Kind::Operator => {}
                _ => break,
            }
        }
        self.effects.writes = true;
        self.opaque()
    }
}

/// Whether `pg_temp` stands in the text: a schema of temporary objects.
fn mentions_temporary_schema(text: &[u8]) -> bool {
    const NAME: &[u8] = b"pg_temp";
    text.windows(NAME.len()).any(|part| part.eq_ignore_ascii_case(NAME))
}

/// A parameter's name as it is written.
#[derive(Debug, Clone, Copy)]
struct Named {
    span: Span,
    /// It has no dots.
    plain: bool,
}
