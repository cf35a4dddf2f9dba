//! (frontend)
