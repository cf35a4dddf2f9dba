//! (startup)
