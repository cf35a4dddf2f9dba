//! Examples; see README.md.
