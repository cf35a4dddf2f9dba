//! (classify)
