//! `pgweir` on tokio: sockets, DNS, timers, signals and files. What the bytes mean, and what is to
//! be done with them, is decided in `pool-router`.

mod derive;
mod dial;
mod files;
mod interfaces;
mod listen;
mod orders;
mod reload;
mod server;
mod shared;
mod signals;
mod socket;
mod tasks;
mod tls;
mod tools;

use std::process::ExitCode;

fn main() -> ExitCode {
    server::main()
}
