//! (hba)
#![allow(missing_docs)]
pub enum Transport { Local, Tcp(core::net::IpAddr) }
pub struct ConnectionFacts<'a> { pub transport: Transport, pub tls: bool, pub database: &'a str, pub user: &'a str, pub local_addrs: &'a [(core::net::IpAddr, u8)] }
#[derive(Clone, Copy)] #[non_exhaustive]
pub enum Method { Trust, Reject, Password, Md5, ScramSha256 }
pub struct Record { pub method: Method }
pub struct Hba;
impl Hba { pub fn decide(&self, _: &ConnectionFacts<'_>) -> Option<&Record> { None } }
