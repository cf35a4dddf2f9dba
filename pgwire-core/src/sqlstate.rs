//! (sqlstate)
