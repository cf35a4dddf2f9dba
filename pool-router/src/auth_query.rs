//! Asking servers who a client is: what a role's password is, how a server would ask for it, and
//! whether it takes one.
//!
//! Nobody has to write a file of passwords. There are two ways without one:
//!
//! - **SCRAM keys passed through.** [`AuthQuery`] fetches the role's verifier. The client's proof
//!   against it reveals the key with which the proxy logs in to the servers in the client's place;
//!   they hold the same verifier, because it is replicated. `Credentials` keeps the key for the
//!   role and the verifier that it belongs to, and drops it with that: never with a pool, a
//!   connection or a client.
//! - **A password in clear text** that the client was made to send is tried on a server before the
//!   client is let in.
//!
//! All of it is done by [`AuthOrder`]s, over connections that belong to no pool and to which no
//! parameter of a client gets. One connection for `weir_auth_query` is kept open; names that come in
//! while it is busy are asked for together. [`MAX_CHECKS`] others at most are open at a time.

mod credentials;
mod query;

pub(crate) use credentials::{Check, Credentials, Derivation, Found};
pub use credentials::{MAX_ADDRESSES, MAX_CHECKS, MAX_NAMES, MAX_ROLES};
pub(crate) use query::{Answer, AuthTask};
pub use query::{Answers, AuthOrder, AuthQuery, AuthQueryError, AuthQueryTurn};
