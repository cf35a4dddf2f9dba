//! Benchmarks of pgweir; see `micro/` and `counts/`.
