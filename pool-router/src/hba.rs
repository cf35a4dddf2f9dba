//! `pool_hba.conf`: how each client is authenticated, by the first record that matches it; and
//! `pool_ident.conf`: the user name maps that its records name.
//!
//! The grammar is Pgpool-II's, which is PostgreSQL's `pg_hba.conf` (chapter "Client
//! Authentication") without groups, GSSAPI, regular expressions and continued lines. What of that
//! a file uses nevertheless is an error, never a line that is left out: leaving out a `reject`
//! lets people in.

mod expression;
mod ident;
mod net;
mod parse;

use core::fmt;
use core::net::IpAddr;

use crate::config::{Level, Notice, Origin, write_lines};

pub use expression::ExpressionProblem;
pub use ident::UserMaps;
pub use net::{InterfaceAddress, Network};

/// Most records of a file.
pub const MAX_RECORDS: usize = 10_000;

/// Levels of `@file` below `pool_hba.conf`.
pub const MAX_FILE_DEPTH: usize = 10;

/// The connections that a record is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ConnectionType {
    /// `local`: through a Unix socket.
    Local,
    /// `host`: TCP, with and without TLS.
    Host,
    /// `hostssl`: TCP with TLS.
    HostSsl,
    /// `hostnossl`: TCP without TLS.
    HostNoSsl,
}

/// An item of the database field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseItem {
    /// `all`
    All,
    /// `sameuser`: the database named like the user.
    SameUser,
    /// A name, compared byte by byte.
    Name(String),
}

/// An item of the user field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum UserItem {
    /// `all`
    All,
    /// A name, compared byte by byte.
    Name(String),
}

/// The address field of a TCP record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressMatch {
    /// `all`: IPv4 and IPv6.
    All,
    /// `samehost`: an address of this host.
    SameHost,
    /// `samenet`: an address in a network that this host is in.
    SameNet,
    /// An address with a mask.
    Network(Network),
}

/// How a client proves who it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// Not at all.
    Trust,
    /// It is turned away.
    Reject,
    /// AuthenticationMD5Password.
    Md5,
    /// AuthenticationSASL with SCRAM-SHA-256.
    ScramSha256,
    /// AuthenticationCleartextPassword.
    Password,
    /// A TLS client certificate.
    Cert,
}

/// What a TLS client certificate has to be, beside the method; `clientcert` in the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientCertificate {
    /// None is needed.
    #[default]
    NotNeeded,
    /// `verify-ca`: issued by an authority that is trusted.
    VerifyCa,
    /// `verify-full`: issued so, and to a common name that is the user's.
    VerifyFull,
}

/// A line of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Where it stands.
    pub origin: Origin,
    /// The connections it is about.
    pub connection: ConnectionType,
    /// Databases, one of which must fit. Empty for an empty `@file`: none fits.
    pub databases: Vec<DatabaseItem>,
    /// Users, one of which must fit.
    pub users: Vec<UserItem>,
    /// Client addresses; [`AddressMatch::All`] in `local` records.
    pub address: AddressMatch,
    /// What is asked of the client.
    pub method: Method,
    /// What its certificate has to be. Always [`ClientCertificate::VerifyFull`] with
    /// [`Method::Cert`].
    pub certificate: ClientCertificate,
    /// The user name map that says who may be whom by [`Method::Cert`]. `None`: the certificate's
    /// common name is the user.
    pub map: Option<String>,
}

/// How a client is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Through a Unix socket.
    Local,
    /// By TCP, from this address.
    Tcp(IpAddr),
}

/// What is known of a client when its startup packet has been read.
#[derive(Debug, Clone, Copy)]
pub struct ConnectionFacts<'a> {
    /// How it is connected.
    pub transport: Transport,
    /// Whether the connection is encrypted.
    pub tls: bool,
    /// The database it asked for.
    pub database: &'a str,
    /// The user it claims to be.
    pub user: &'a str,
    /// The addresses of this host, for `samehost` and `samenet`.
    pub local_addrs: &'a [InterfaceAddress],
}

/// The records of `pool_hba.conf`.
#[derive(Debug, Clone, Default)]
pub struct Hba {
    records: Vec<Record>,
    notices: Vec<Notice>,
    maps: UserMaps,
}

impl Hba {
    /// Reads the text of the file. `file` names it in messages, and `@file` is resolved against
    /// its directory; `include` answers the text of such a file, or why there is none.
    ///
    /// # Errors
    ///
    /// Every fault of every line, and a file without any record: it would refuse everybody.
    pub fn parse(
        file: &str,
        text: &str,
        include: &mut dyn FnMut(&str) -> Result<String, String>,
    ) -> Result<Self, HbaErrors> {
        let (records, errors) = parse::parse(file, text, include);
        if errors.is_empty() {
            let notices = parse::notices(&records);
            Ok(Self { records, notices, maps: UserMaps::default() })
        } else {
            Err(HbaErrors(errors))
        }
    }

    /// The first record that names a user name map: `pool_ident.conf` is to be read.
    #[must_use]
    pub fn needs_maps(&self) -> Option<&Record> {
        self.records.iter().find(|record| record.map.is_some())
    }

    /// Takes the maps of `file` for those that the records name.
    ///
    /// # Errors
    ///
    /// Each record whose map has no line there: it would refuse everybody.
    pub fn with_maps(mut self, file: &str, maps: UserMaps) -> Result<Self, HbaErrors> {
        let missing = |record: &Record| {
            let map = record.map.clone().filter(|map| !maps.has(map))?;
            let problem = HbaProblem::NoSuchMap { map, file: file.to_owned() };
            Some(HbaError { origin: record.origin.clone(), problem })
        };
        let errors: Vec<_> = self.records.iter().filter_map(missing).collect();
        if !errors.is_empty() {
            return Err(HbaErrors(errors));
        }
        self.maps = maps;
        Ok(self)
    }

    /// Whether a certificate with this common name is `user`'s, for a record that demands the user's
    /// own: letter for letter, or by the record's map.
    #[must_use]
    pub fn is_own(&self, record: &Record, common_name: Option<&str>, user: &str) -> bool {
        match (common_name, &record.map) {
            (None, _) => false,
            (Some(name), None) => name == user,
            (Some(name), Some(map)) => self.maps.admits(map, name, user),
        }
    }

    /// The first record that matches; `None` means the client is refused, as by
    /// [`Method::Reject`].
    #[must_use]
    pub fn decide(&self, facts: &ConnectionFacts<'_>) -> Option<&Record> {
        self.records.iter().find(|record| record.matches(facts))
    }

    /// The first record that asks for the addresses of this host.
    #[must_use]
    pub fn needs_interfaces(&self) -> Option<&Record> {
        let asks = |record: &&Record| {
            matches!(record.address, AddressMatch::SameHost | AddressMatch::SameNet)
        };
        self.records.iter().find(asks)
    }

    /// All records, in the order of the file.
    #[must_use]
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// What the operator should know about the file.
    #[must_use]
    pub fn notices(&self) -> &[Notice] {
        &self.notices
    }

    /// Records by which nobody gets in: because clients have no TLS, or because their certificates
    /// are not verified.
    #[must_use]
    pub fn notices_of_tls(&self, ssl: bool, verifies: bool) -> Vec<Notice> {
        let say = |record: &Record| {
            let text = if !ssl && record.connection == ConnectionType::HostSsl {
                "no client fits this hostssl record, because ssl is off"
            } else if !verifies && record.certificate != ClientCertificate::NotNeeded {
                "this record demands client certificates, which are refused as long as neither \
                 ssl_ca_cert nor ssl_ca_cert_dir says who may issue them"
            } else {
                return None;
            };
            let origin = Some(record.origin.clone());
            Some(Notice { level: Level::Warning, origin, text: text.to_owned() })
        };
        self.records.iter().filter_map(say).collect()
    }
}

impl Record {
    fn matches(&self, facts: &ConnectionFacts<'_>) -> bool {
        let connection = match (self.connection, facts.transport) {
            (ConnectionType::Local, Transport::Local) => true,
            (ConnectionType::Local, _) | (_, Transport::Local) => false,
            (ConnectionType::Host, Transport::Tcp(from)) => self.admits(from, facts),
            (ConnectionType::HostSsl, Transport::Tcp(from)) => {
                facts.tls && self.admits(from, facts)
            }
            (ConnectionType::HostNoSsl, Transport::Tcp(from)) => {
                !facts.tls && self.admits(from, facts)
            }
        };
        connection
            && self.databases.iter().any(|item| match item {
                DatabaseItem::All => true,
                DatabaseItem::SameUser => facts.database == facts.user,
                DatabaseItem::Name(name) => name == facts.database,
            })
            && self.users.iter().any(|item| match item {
                UserItem::All => true,
                UserItem::Name(name) => name == facts.user,
            })
    }

    fn admits(&self, from: IpAddr, facts: &ConnectionFacts<'_>) -> bool {
        match self.address {
            AddressMatch::All => true,
            AddressMatch::SameHost => facts
                .local_addrs
                .iter()
                .any(|local| local.addr.to_canonical() == from.to_canonical()),
            AddressMatch::SameNet => facts
                .local_addrs
                .iter()
                .filter_map(InterfaceAddress::network)
                .any(|network| network.contains(from)),
            AddressMatch::Network(network) => network.contains(from),
        }
    }
}

/// One fault of `pool_hba.conf`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{origin}: {problem}")]
pub struct HbaError {
    /// Where the fault is.
    pub origin: Origin,
    /// What is wrong.
    pub problem: HbaProblem,
}

/// What is wrong with a line, or with the file as a whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HbaProblem {
    /// An unknown connection type.
    #[error("connection type `{found}`; accepted: local, host, hostssl, hostnossl")]
    ConnectionType {
        /// What stands there.
        found: String,
    },
    /// The line ends too early.
    #[error("the line ends before the {missing}; accepted: {form}")]
    Incomplete {
        /// The field that is missing.
        missing: &'static str,
        /// The form of the line.
        form: &'static str,
    },
    /// A double quote that is not closed.
    #[error("a double quote is not closed on this line; accepted: \"name\"")]
    UnclosedQuote,
    /// More than one item where one is needed.
    #[error("the {field} is a list; accepted: one item")]
    List {
        /// The field.
        field: &'static str,
    },
    /// A group in the user field.
    #[error(
        "`+{group}`: groups are not known here; accepted: all, names, \"quoted names\" and @file"
    )]
    Group {
        /// The group.
        group: String,
    },
    /// `samerole` or `samegroup` in the database field.
    #[error(
        "`{found}`: groups are not known here; accepted: all, sameuser, names, \"quoted names\" \
         and @file"
    )]
    SameRole {
        /// What stands there.
        found: String,
    },
    /// A host name in the address field.
    #[error(
        "`{found}`: clients are not matched by host name; accepted: all, samehost, samenet, an \
         address with /length, or an address and a mask"
    )]
    HostName {
        /// What stands there.
        found: String,
    },
    /// A prefix length that does not fit.
    #[error("`{found}`: accepted: a prefix length of 0 to {max}")]
    PrefixLength {
        /// The address as written.
        found: String,
        /// The greatest length of its family.
        max: u8,
    },
    /// An address without a length, and no mask behind it.
    #[error("`{found}` is not a mask for `{address}`; accepted: {address}/length, or a mask")]
    Mask {
        /// The address.
        address: String,
        /// What stands where the mask should.
        found: String,
    },
    /// A method that Pgpool-II or PostgreSQL knows.
    #[error("method `{found}`: {reason}; accepted: {METHODS}")]
    MethodRefused {
        /// The method.
        found: String,
        /// Why it is refused.
        reason: &'static str,
    },
    /// An unknown method.
    #[error("unknown method `{found}`; accepted: {METHODS}")]
    UnknownMethod {
        /// What stands there.
        found: String,
    },
    /// `cert` without TLS.
    #[error("method `cert` needs TLS; accepted: in a hostssl record")]
    CertWithoutTls,
    /// Something behind the method.
    #[error(
        "option `{found}`; accepted: clientcert=verify-ca, clientcert=verify-full, and map=NAME with \
         method cert"
    )]
    Option {
        /// The option's name; its value may be a secret.
        found: String,
    },
    /// `clientcert` with a value that it cannot have.
    #[error("clientcert={found}; accepted: verify-ca, verify-full (only that with method cert)")]
    ClientCertificate {
        /// The value.
        found: String,
    },
    /// `clientcert` without TLS.
    #[error("clientcert needs TLS; accepted: in a hostssl record")]
    ClientCertificateWithoutTls,
    /// `map` with another method than `cert`, as in PostgreSQL.
    #[error("option `map`: only `cert` has names to map; accepted: map=NAME with method cert")]
    MapWithoutCert,
    /// `map=` or two maps.
    #[error("option `map`: accepted: map=NAME, once")]
    Map,
    /// A map that the other file has no line of.
    #[error("map `{map}` has no line in {file}: every client would be refused")]
    NoSuchMap {
        /// The map.
        map: String,
        /// The file of maps.
        file: String,
    },
    /// A file named in a file of maps.
    #[error(
        "`{found}`: other files are not read here; accepted: MAPNAME SYSTEM-USERNAME \
         DATABASE-USERNAME, and \"@name\" in quotes"
    )]
    MapInclude {
        /// What stands there.
        found: String,
    },
    /// Something behind the third field of a map's line.
    #[error("`{found}` stands behind the database user name; accepted: three fields")]
    MapExtra {
        /// What stands there.
        found: String,
    },
    /// A group as the database user of a map.
    #[error(
        "`{found}`: groups are not known here; accepted: all, a name, a /regex, and \"+name\" in \
         quotes"
    )]
    MapGroup {
        /// What stands there.
        found: String,
    },
    /// `\1` where the expression has no group.
    #[error("`{found}`: the regular expression has no group; accepted: /...(...)... before \\1")]
    NoGroup {
        /// What stands there.
        found: String,
    },
    /// `\1` where alternatives decide what the group holds.
    #[error(
        "`{found}`: alternatives in or before the group; accepted: a line for each, or | behind the \
         group"
    )]
    GroupAlternates {
        /// What stands there.
        found: String,
    },
    /// A regular expression.
    #[error("`{found}`: {problem}")]
    Expression {
        /// The expression.
        found: String,
        /// What is wrong with it.
        problem: ExpressionProblem,
    },
    /// A line continued with a backslash.
    #[error("a line cannot be continued with a backslash; accepted: one record on one line")]
    Continuation,
    /// An `@file` could not be read.
    #[error("cannot read `@{path}`: {reason}")]
    File {
        /// The path asked for.
        path: String,
        /// What the reader said.
        reason: String,
    },
    /// Files name one another too deeply.
    #[error("`@{path}` is not read: accepted are at most {MAX_FILE_DEPTH} levels")]
    TooDeep {
        /// The path asked for.
        path: String,
    },
    /// Too many lines.
    #[error("too many records; accepted: at most {MAX_RECORDS}")]
    TooManyRecords,
    /// No record at all.
    #[error("no record: every client would be refused; accepted: at least one")]
    Empty,
}

/// The methods that are accepted.
const METHODS: &str = "trust, reject, md5, scram-sha-256, password, cert";

/// Every fault of the file, in the order of its lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HbaErrors(pub Vec<HbaError>);

impl fmt::Display for HbaErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_lines(f, &self.0)
    }
}

impl std::error::Error for HbaErrors {}
