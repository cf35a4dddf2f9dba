//! The rules as a source of facts for the classifier.

use crate::classify::{
    Facts, FunctionFact, Lexing, Name, Reason, RelationFact, Target, Verdict, classify_with,
};

use super::{FunctionMemo, Rules};

/// What the function lists say, and behind them what `facts` knows.
struct Ruled<'a, F> {
    rules: &'a Rules,
    memo: &'a FunctionMemo,
    facts: &'a mut F,
}

impl<F: Facts> Facts for Ruled<'_, F> {
    #[inline]
    fn function(&mut self, name: Name<'_>) -> FunctionFact {
        match self.rules.function(name, self.memo) {
            // A list may be wrong; a standby is not.
            Some(FunctionFact::Harmless) if self.facts.was_refused(name) => FunctionFact::Writes,
            Some(fact) => fact,
            None => self.facts.function(name),
        }
    }

    #[inline]
    fn was_refused(&mut self, name: Name<'_>) -> bool {
        self.facts.was_refused(name)
    }

    #[inline]
    fn relation(&mut self, name: Name<'_>) -> RelationFact {
        self.facts.relation(name)
    }

    #[inline]
    fn attribute(&mut self, name: Name<'_>) -> FunctionFact {
        if self.rules.attribute_writes(name, self.memo) {
            FunctionFact::Writes
        } else {
            self.facts.attribute(name)
        }
    }

    #[inline]
    fn operator(&mut self, operator: &[u8]) -> bool {
        self.facts.operator(operator)
    }

    #[inline]
    fn written(&mut self, name: Name<'_>) {
        self.facts.written(name);
    }
}

impl Rules {
    /// Classifies a query string by its text, by what these rules say of it, and by `facts` where
    /// they say nothing.
    ///
    /// A read that a setting sends to the primary has [`Reason::Setting`] with its name.
    pub fn classify<F: Facts>(
        &self,
        sql: &[u8],
        lexing: &Lexing,
        memo: &FunctionMemo,
        facts: &mut F,
    ) -> Verdict {
        let mut verdict = if self.has_function_lists() {
            classify_with(sql, lexing, &mut Ruled { rules: self, memo, facts })
        } else {
            classify_with(sql, lexing, facts)
        };
        if verdict.target == Target::Read
            && let Some(setting) = self.forces_primary(sql)
        {
            verdict.target = Target::Primary(Reason::Setting(setting));
        }
        verdict
    }
}
