//! The end-to-end suite, on tokio.

testbed::suite!(env!("CARGO_BIN_EXE_pgweir"));
