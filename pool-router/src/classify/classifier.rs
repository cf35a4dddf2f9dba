//! The statements of a query string, one after the other: what each is by its first word.

use memchr::memchr;

use super::exact::is_exact;
use super::facts::Facts;
use super::functions::{SessionEffect, is_doubtful_system_name, session_effect};
use super::keywords::Keyword;
use super::lexer::{Kind, Lexer, Token};
use super::vacate::vacated;
use super::verdict::{
    ClientEncoding, Effects, Lexing, Pin, Reason, StatementCount, Target, Unreadable, Verdict,
};

pub(super) type Lexed<T> = Result<T, Unreadable>;

/// A word of a statement, or another token.
#[derive(Debug, Clone, Copy)]
pub(super) struct Part {
    pub(super) token: Token,
    pub(super) keyword: Option<Keyword>,
}

impl Part {
    pub(super) fn is(self, keyword: Keyword) -> bool {
        self.keyword == Some(keyword)
    }
}

/// The work on one query string.
pub(super) struct Classifier<'a, 'f, F> {
    pub(super) sql: &'a [u8],
    pub(super) lexer: Lexer<'a>,
    pub(super) facts: &'f mut F,
    pub(super) effects: Effects,
    /// Why the string must go to the primary: the gravest reason so far.
    reason: Option<Reason>,
    /// The statement's semicolon has been read.
    pub(super) ended: bool,
    /// The statement is planned and not run: what only running does is no doubt.
    pub(super) planned: bool,
    /// All statements so far set parameters for the session, in a way that can be repeated.
    only_sets: bool,
}

impl<'a, 'f, F: Facts> Classifier<'a, 'f, F> {
    pub(super) fn classify(sql: &'a [u8], lexing: &Lexing, facts: &'f mut F) -> Verdict {
        if memchr(0, sql).is_some() {
            return unreadable(Unreadable::NulByte);
        }
        if lexing.encoding == ClientEncoding::BytesLikeAscii && !sql.is_ascii() {
            return unreadable(Unreadable::Encoding);
        }
        let mut classifier = Self {
            sql,
            lexer: Lexer::new(sql, lexing.standard_conforming_strings),
            facts,
            effects: Effects::default(),
            reason: None,
            ended: false,
            planned: false,
            only_sets: true,
        };
        match classifier.run() {
            Ok((target, statements)) => {
                classifier.finish_effects(lexing, statements);
                let mut verdict = Verdict { target, effects: classifier.effects, statements };
                if let (StatementCount::One, Some(Reason::WritingFunction("set_config"))) =
                    (statements, classifier.reason)
                {
                    classifier.set_config(lexing, &mut verdict);
                }
                verdict
            }
            Err(why) => unreadable(why),
        }
    }

    fn run(&mut self) -> Lexed<(Target, StatementCount)> {
        self.lexer.peek();
        let hint = self.lexer.hint;
        let mut count = StatementCount::Zero;
        while let Some(token) = self.lexer.next()? {
            if token.kind == Kind::Semicolon {
                continue;
            }
            count = match count {
                StatementCount::Zero => StatementCount::One,
                StatementCount::One | StatementCount::Many => StatementCount::Many,
            };
            self.ended = false;
            self.effects.repeatable = false;
            self.statement(token)?;
            self.only_sets &= self.effects.repeatable
                && matches!(self.reason, Some(Reason::SessionState("SET" | "RESET")));
        }
        let target = match (count, self.reason) {
            (StatementCount::Many, _) => Target::Primary(Reason::MultipleStatements),
            (_, Some(reason)) => Target::Primary(reason),
            (_, None) if hint => Target::Primary(Reason::Hint),
            (_, None) => Target::Read,
        };
        Ok((target, count))
    }

    /// What only holds for a string of one statement.
    fn finish_effects(&mut self, lexing: &Lexing, statements: StatementCount) {
        let effects = &mut self.effects;
        if statements == StatementCount::One {
            let controls = effects.begin.is_some()
                || effects.end.is_some()
                || effects.savepoint.is_some()
                || effects.transaction_modes.is_some();
            effects.exact = controls && is_exact(self.sql, lexing.standard_conforming_strings);
        } else {
            effects.repeatable = self.only_sets
                && !effects.sets.local
                && !effects.unpins.reset_all
                && statements == StatementCount::Many;
            effects.sets.parameter = None;
        }
    }

    pub(super) fn text(&self, token: Token) -> &'a [u8] {
        self.sql.get(token.start..token.end).unwrap_or_default()
    }

    /// Notes that the string must go to the primary. What writes outweighs what does not.
    #[cold]
    pub(super) fn doubt(&mut self, reason: Reason) {
        let writes = reason.writes();
        if self.reason.is_none_or(|before| writes && !before.writes()) {
            self.reason = Some(reason);
        }
        self.effects.writes |= writes;
    }

    /// The same, whatever was noted for this statement so far.
    pub(super) fn settle(&mut self, reason: Reason) {
        self.effects.writes |= reason.writes();
        self.reason = Some(reason);
    }

    pub(super) fn has_doubt(&self) -> bool {
        self.reason.is_some()
    }

    pub(super) fn pin(&mut self, pin: Pin) {
        self.effects.pins_session.get_or_insert(pin);
    }

    /// The statement's next token; `None` at its end.
    pub(super) fn part(&mut self) -> Lexed<Option<Part>> {
        if self.ended {
            return Ok(None);
        }
        let Some(token) = self.lexer.next()? else {
            self.ended = true;
            return Ok(None);
        };
        if token.kind == Kind::Semicolon {
            self.ended = true;
            return Ok(None);
        }
        let keyword = match token.kind {
            Kind::Word => Keyword::at(self.sql, token.start, token.end),
            _ => None,
        };
        Ok(Some(Part { token, keyword }))
    }

    fn statement(&mut self, first: Token) -> Lexed<()> {
        use Keyword as K;
        let keyword = match first.kind {
            Kind::Open => return self.read(first),
            Kind::Word => Keyword::at(self.sql, first.start, first.end),
            _ => None,
        };
        let Some(keyword) = keyword else {
            self.doubt(Reason::UnknownStatement);
            return self.opaque();
        };
        if matches!(keyword, K::Create | K::Alter | K::Drop) {
            let vacates = vacated(self.sql, keyword, self.lexer.clone());
            self.effects.vacates = self.effects.vacates.or(vacates);
        }
        match keyword {
            K::Select | K::With | K::Values | K::Table => self.read(first),
            K::Insert
            | K::Update
            | K::Delete
            | K::Merge
            | K::Truncate
            | K::Grant
            | K::Revoke
            | K::Alter
            | K::Drop
            | K::Comment
            | K::Security
            | K::Refresh
            | K::Reindex
            | K::Import
            | K::Reassign
            | K::Do
            | K::Call => {
                self.settle(Reason::Writes(keyword.text()));
                self.change(keyword)
            }
            K::Create => self.create(),
            K::Vacuum | K::Analyze | K::Analyse | K::Cluster | K::Notify => {
                self.settle(Reason::Utility(keyword.text()));
                self.effects.writes = true;
                self.opaque()
            }
            K::Checkpoint => {
                self.settle(Reason::Utility(keyword.text()));
                self.opaque()
            }
            K::Lock => self.lock(),
            K::Show => self.show(),
            K::Copy => self.copy(),
            K::Explain => self.explain(),
            K::Begin | K::Start => self.begin(keyword),
            K::Commit | K::End | K::Rollback | K::Abort => self.end(keyword),
            K::Savepoint | K::Release => self.savepoint(keyword),
            K::Prepare => self.prepare(),
            K::Set => self.set(),
            K::Reset => self.reset(),
            K::Discard => self.discard(),
            K::Deallocate => self.deallocate(),
            K::Listen | K::Unlisten | K::Load | K::Execute | K::Fetch | K::Move | K::Close => {
                self.session_command(keyword)
            }
            K::Declare => self.declare(),
            _ => {
                self.doubt(Reason::UnknownStatement);
                self.opaque()
            }
        }
    }

    /// Reads over the rest of a statement whose target is settled, for what its functions do to
    /// the session.
    pub(super) fn opaque(&mut self) -> Lexed<()> {
        self.opaque_within(0)
    }

    /// The same, with `depth` parentheses open.
    pub(super) fn opaque_within(&mut self, mut depth: usize) -> Lexed<()> {
        if self.ended {
            return if depth == 0 { Ok(()) } else { Err(Unreadable::Unbalanced) };
        }
        loop {
            match self.lexer.step() {
                kind @ (Kind::Word | Kind::Quoted) => self.opaque_name(self.lexer.token(kind)),
                Kind::Open => depth += 1,
                Kind::Close => depth = depth.checked_sub(1).ok_or(Unreadable::Unbalanced)?,
                // Rules hold lists of commands in parentheses.
                Kind::Semicolon if depth == 0 => break,
                Kind::End => break,
                Kind::Unreadable => return Err(self.lexer.failure()),
                _ => {}
            }
        }
        self.ended = true;
        if depth == 0 { Ok(()) } else { Err(Unreadable::Unbalanced) }
    }

    pub(super) fn opaque_name(&mut self, token: Token) {
        if self.lexer.peek() == Some(b'(')
            && let Some(effect) = session_effect(self.text(token))
        {
            self.session_effect(effect);
        }
    }

    /// Notes what a function call does to the session; `set_config` as for the session.
    pub(super) fn session_effect(&mut self, effect: SessionEffect) {
        match effect {
            SessionEffect::Pins(pin) => self.pin(pin),
            SessionEffect::SetConfig => {
                self.effects.sets.other = true;
                self.pin(Pin::Setting);
            }
        }
    }

    /// Doubts a relation's name that is a server's own.
    pub(super) fn check_system_name(&mut self, token: Token) {
        if is_doubtful_system_name(self.text(token)) {
            self.doubt(Reason::SystemName(token.span()));
        }
    }
}

/// The verdict on a text that cannot be read.
fn unreadable(why: Unreadable) -> Verdict {
    // The server refuses the others before it runs anything of the string.
    let may_run = matches!(why, Unreadable::Encoding | Unreadable::TrailingJunk);
    let effects = Effects {
        writes: true,
        pins_session: may_run.then_some(Pin::Unreadable),
        ..Effects::default()
    };
    Verdict {
        target: Target::Primary(Reason::NotParsable(why)),
        effects,
        statements: if may_run { StatementCount::Many } else { StatementCount::One },
    }
}
