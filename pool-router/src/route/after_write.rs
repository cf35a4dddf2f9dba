//! `disable_load_balance_on_write`.

use crate::config::DisableLoadBalanceOnWrite;

/// What one session has written, as far as it keeps its reads on the primary.
///
/// Whatever the setting, an explicit transaction that has written stays on the primary to its end:
/// a standby shows neither what it has written nor that it has failed. (Pgpool-II goes on reading
/// from the standby with `off` and, for tables that were not written, with `dml_adaptive`.) After
/// the transaction:
///
/// | setting | reads outside explicit transactions | within later ones |
/// |---|---|---|
/// | `off`, `transaction`, `dml_adaptive` | free | free |
/// | `trans_transaction` | free | primary, once an explicit transaction has written |
/// | `always` | primary, once anything was written | primary |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AfterWrite {
    lasting: Lasting,
    /// The open explicit transaction has written.
    transaction: bool,
    /// The session has written, where that lasts.
    session: bool,
}

/// What outlives the transaction that wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Lasting {
    Nothing,
    /// A write in an explicit transaction, for later explicit transactions.
    Transactions,
    /// Every write, for everything.
    Session,
}

impl AfterWrite {
    /// A session that has written nothing.
    #[must_use]
    pub const fn new(setting: DisableLoadBalanceOnWrite) -> Self {
        let lasting = match setting {
            DisableLoadBalanceOnWrite::Off
            | DisableLoadBalanceOnWrite::Transaction
            | DisableLoadBalanceOnWrite::DmlAdaptive => Lasting::Nothing,
            DisableLoadBalanceOnWrite::TransTransaction => Lasting::Transactions,
            DisableLoadBalanceOnWrite::Always => Lasting::Session,
        };
        Self { lasting, transaction: false, session: false }
    }

    /// A statement was sent that writes or may write.
    pub const fn wrote(&mut self, in_explicit_transaction: bool) {
        self.transaction |= in_explicit_transaction;
        self.session |= match self.lasting {
            Lasting::Nothing => false,
            Lasting::Transactions => in_explicit_transaction,
            Lasting::Session => true,
        };
    }

    /// The explicit transaction is over: committed, rolled back, or prepared; with `AND CHAIN` too.
    /// `ROLLBACK TO` and a `BEGIN` within it end nothing.
    pub const fn transaction_ended(&mut self) {
        self.transaction = false;
    }

    /// Whether a read within an explicit transaction may run on a standby.
    #[must_use]
    pub const fn read_in_transaction_may_leave(&self) -> bool {
        !self.transaction && !self.session
    }

    /// Whether a read outside explicit transactions may run on a standby.
    #[must_use]
    pub const fn read_outside_may_leave(&self) -> bool {
        !(self.session && matches!(self.lasting, Lasting::Session))
    }
}
