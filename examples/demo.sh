#!/usr/bin/env bash
# Shows the main job on a bare Debian or Ubuntu with Rust: installs PostgreSQL if it is missing,
# builds pgweir, starts a throw-away primary, standby and pgweir, and shows which statement ran
# where. Everything runs until Ctrl-C; with --once it ends by itself.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash .ci/setup
cargo build --release --locked -p runtime-tokio -p examples --bin pgweir --bin demo
exec "${CARGO_TARGET_DIR:-target}/release/demo" "$@"
