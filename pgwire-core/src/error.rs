//! (error)
