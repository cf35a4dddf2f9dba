//! Commands that change the transaction or the session's parameters.

use super::classifier::{Classifier, Lexed, Part};
use super::facts::Facts;
use super::keywords::Keyword;
use super::lexer::Kind;
use super::verdict::{
    BeginMode, EndKind, IsolationLevel, Pin, Reason, SavepointAction, TrackedParameter,
    TransactionEnd,
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
                let mode = self.modes()?;
                self.effects.transaction_modes = Some(mode);
                return Ok(());
            }
            Some(K::Constraints) => self.effects.sets.local = true,
            Some(K::Time) => self.sets_tracked(scope, TrackedParameter::TimeZone),
            Some(K::Names) => self.sets_tracked(scope, TrackedParameter::ClientEncoding),
            Some(K::Role | K::Authorization | K::Session) => self.sets_other(scope, Pin::Role),
            _ => return self.set_parameter(scope, name),
        }
        self.opaque()
    }

    fn set_parameter(&mut self, scope: Scope, name: Part) -> Lexed<()> {
        let text = self.text(name.token);
        let is_name = matches!(name.token.kind, Kind::Word | Kind::Quoted);
        // A name with a dot is an extension's parameter.
        let plain = is_name && self.lexer.peek() != Some(b'.');
        let is = |known: &str| plain && text.eq_ignore_ascii_case(known.as_bytes());
        if let Some(tracked) = TrackedParameter::of_name(text).filter(|_| plain) {
            self.sets_tracked(scope, tracked);
        } else if is("role") || is("session_authorization") {
            self.sets_other(scope, Pin::Role);
        } else if is("seed") {
            self.sets_other(scope, Pin::RandomSeed);
        } else if is("transaction_read_only") {
            let value = self.value()?.and_then(|value| self.boolean(value));
            self.effects.sets.local = true;
            self.effects.transaction_modes =
                Some(BeginMode { read_only: value, ..BeginMode::default() });
        } else if is("transaction_deferrable") {
            let value = self.value()?.and_then(|value| self.boolean(value));
            self.effects.sets.local = true;
            self.effects.transaction_modes =
                Some(BeginMode { deferrable: value, ..BeginMode::default() });
        } else if is("transaction_isolation") {
            let value = self.value()?.and_then(|value| self.isolation(value));
            self.effects.sets.local = true;
            self.effects.transaction_modes =
                Some(BeginMode { isolation: value, ..BeginMode::default() });
        } else {
            self.sets_other(scope, Pin::Setting);
        }
        self.opaque()
    }

    /// The value behind `=` or `TO`.
    fn value(&mut self) -> Lexed<Option<Part>> {
        self.part()?;
        self.part()
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
        match scope {
            Scope::Session => self.effects.sets.tracked.insert(parameter),
            Scope::Transaction => self.effects.sets.local = true,
        }
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
        let plain = self.lexer.peek() != Some(b'.');
        match name.keyword {
            Some(K::All) => self.effects.unpins.reset_all = true,
            Some(K::Time) => self.sets_tracked(Scope::Session, TrackedParameter::TimeZone),
            _ => match TrackedParameter::of_name(self.text(name.token)).filter(|_| plain) {
                Some(tracked) => self.sets_tracked(Scope::Session, tracked),
                None => self.effects.sets.other = true,
            },
        }
        self.opaque()
    }
}
