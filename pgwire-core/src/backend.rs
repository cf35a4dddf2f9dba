//! (backend)
