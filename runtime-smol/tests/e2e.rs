//! The end-to-end suite, on smol.

testbed::suite!(env!("CARGO_BIN_EXE_pgweir-smol"));
