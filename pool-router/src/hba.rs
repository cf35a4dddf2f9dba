//! (hba)
