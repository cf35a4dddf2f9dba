//! (txn)
