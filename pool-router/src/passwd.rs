//! (passwd)
