//! `disable_load_balance_on_write`.

use crate::config::DisableLoadBalanceOnWrite;

/// What one session has written, as far as it keeps later reads on the primary.
///
/// Whatever the setting, an explicit transaction that has written stays on the primary to its end:
/// a standby shows neither what it has written nor that it has failed. (Pgpool-II goes on reading
/// from the standby with `off` and, for tables that were not written, with `dml_adaptive`.) That is
/// known to the transaction; this knows what comes after it:
///
/// | setting | reads outside explicit transactions | later explicit transactions |
/// |---|---|---|
/// | `off`, `transaction`, `dml_adaptive` | free | free |
/// | `trans_transaction` | free | primary, once an explicit transaction has written |
/// | `always` | primary, once anything was written | primary |
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AfterWrite {
    lasting: Lasting,
    /// The session has written what lasts.
    wrote: bool,
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

impl Lasting {
    const fn of(setting: DisableLoadBalanceOnWrite) -> Self {
        match setting {
            DisableLoadBalanceOnWrite::Off
            | DisableLoadBalanceOnWrite::Transaction
            | DisableLoadBalanceOnWrite::DmlAdaptive => Self::Nothing,
            DisableLoadBalanceOnWrite::TransTransaction => Self::Transactions,
            DisableLoadBalanceOnWrite::Always => Self::Session,
        }
    }
}

impl AfterWrite {
    /// A session that has written nothing.
    #[must_use]
    pub const fn new(setting: DisableLoadBalanceOnWrite) -> Self {
        Self { lasting: Lasting::of(setting), wrote: false }
    }

    /// The setting is another one from now on. Only what was written while it counted counts.
    pub const fn setting_changed(&mut self, setting: DisableLoadBalanceOnWrite) {
        self.lasting = Lasting::of(setting);
        self.wrote &= !matches!(self.lasting, Lasting::Nothing);
    }

    /// A statement was sent that writes or may write. It counts even if it fails or is rolled back.
    pub const fn wrote(&mut self, in_explicit_transaction: bool) {
        self.wrote |= match self.lasting {
            Lasting::Nothing => false,
            Lasting::Transactions => in_explicit_transaction,
            Lasting::Session => true,
        };
    }

    /// Whether an explicit transaction that begins now may read on a standby.
    #[must_use]
    pub const fn frees_transactions(&self) -> bool {
        !self.wrote
    }

    /// Whether reads outside explicit transactions may run on a standby.
    #[must_use]
    pub const fn frees_reads(&self) -> bool {
        !self.wrote || matches!(self.lasting, Lasting::Transactions)
    }
}
