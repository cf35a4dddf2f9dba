//! (cancel)
