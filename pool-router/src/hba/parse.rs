//! Text to records.

use core::net::IpAddr;
use std::sync::Arc;

use super::{
    AddressMatch, ClientCertificate, ConnectionType, DatabaseItem, HbaError, HbaProblem,
    MAX_FILE_DEPTH, MAX_RECORDS, Method, Network, Record, UserItem,
};
use crate::config::{Level, Notice, Origin};

type Include<'i> = &'i mut dyn FnMut(&str) -> Result<String, String>;

/// A word; quotes take away its special meaning.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Token {
    pub(super) text: String,
    quoted: bool,
}

impl Token {
    pub(super) fn is(&self, keyword: &str) -> bool {
        !self.quoted && self.text == keyword
    }

    /// What stands behind `marker`, if the token begins with it.
    pub(super) fn marked(&self, marker: char) -> Option<&str> {
        if self.quoted { None } else { self.text.strip_prefix(marker) }
    }
}

pub(super) fn parse(file: &str, text: &str, include: Include<'_>) -> (Vec<Record>, Vec<HbaError>) {
    let name: Arc<str> = Arc::from(file);
    let mut records = Vec::new();
    let mut errors = Vec::new();
    let mut lines = 0_usize;
    for (number, line) in (1_u32..).zip(text.strip_prefix('\u{feff}').unwrap_or(text).lines()) {
        let origin = Origin::line(&name, number);
        let mut problems = Vec::new();
        let record = fields(line).and_then(|fields| {
            if fields.is_empty() {
                return Ok(None);
            }
            lines += 1;
            record(fields, origin.clone(), file, include, &mut problems)
        });
        match record {
            Ok(record) => records.extend(record),
            Err(problem) => problems.push(problem),
        }
        if records.len() > MAX_RECORDS {
            errors.push(HbaError { origin, problem: HbaProblem::TooManyRecords });
            break;
        }
        errors.extend(
            problems.into_iter().map(|problem| HbaError { origin: origin.clone(), problem }),
        );
    }
    if lines == 0 && errors.is_empty() {
        errors.push(HbaError { origin: Origin::whole(&name), problem: HbaProblem::Empty });
    }
    (records, errors)
}

/// The fields of a line: each a list of words joined by commas.
pub(super) fn fields(line: &str) -> Result<Vec<Vec<Token>>, HbaProblem> {
    let mut fields: Vec<Vec<Token>> = Vec::new();
    let mut rest = line;
    // Set behind a comma: the next word goes on with the field.
    let mut joined = false;
    loop {
        rest = rest.trim_start();
        match rest.chars().next() {
            None | Some('#') => return Ok(fields),
            Some(',') => {
                joined = true;
                rest = rest.strip_prefix(',').unwrap_or("");
                continue;
            }
            Some('\\') if rest.trim_end() == "\\" => return Err(HbaProblem::Continuation),
            Some(_) => {}
        }
        let (token, behind) = token(rest)?;
        rest = behind;
        match fields.last_mut() {
            Some(field) if joined => field.push(token),
            _ => fields.push(vec![token]),
        }
        joined = false;
    }
}

/// The word that `text` begins with. Quotes may open and close inside it.
fn token(text: &str) -> Result<(Token, &str), HbaProblem> {
    let mut token = Token { text: String::new(), quoted: false };
    let mut open = false;
    let mut chars = text.chars();
    loop {
        let behind = chars.as_str();
        match chars.next() {
            None if open => return Err(HbaProblem::UnclosedQuote),
            Some('"') => {
                open = !open;
                token.quoted = true;
            }
            Some(c) if open => token.text.push(c),
            Some(c) if !c.is_whitespace() && c != ',' && c != '#' => token.text.push(c),
            _ => return Ok((token, behind)),
        }
    }
}

fn record(
    fields: Vec<Vec<Token>>,
    origin: Origin,
    file: &str,
    include: Include<'_>,
    problems: &mut Vec<HbaProblem>,
) -> Result<Option<Record>, HbaProblem> {
    const LOCAL: &str = "local DATABASE USER METHOD";
    const HOST: &str = "host DATABASE USER ADDRESS METHOD";

    let mut fields = fields.into_iter();
    let mut form = HOST;
    let first = single(fields.next(), "connection type", form)?;
    let connection = match first.text.as_str() {
        "local" => ConnectionType::Local,
        "host" => ConnectionType::Host,
        "hostssl" => ConnectionType::HostSsl,
        "hostnossl" => ConnectionType::HostNoSsl,
        _ => return Err(HbaProblem::ConnectionType { found: first.text }),
    };
    if connection == ConnectionType::Local {
        form = LOCAL;
    }
    let mut list = |field: &'static str, problems: &mut Vec<HbaProblem>| match fields.next() {
        Some(tokens) => Ok(expand(tokens, file, include, problems)),
        None => Err(HbaProblem::Incomplete { missing: field, form }),
    };
    let databases = list("database", problems)?;
    let users = list("user", problems)?;
    let databases = databases.into_iter().filter_map(|t| keep(database(t), problems)).collect();
    let users = users.into_iter().filter_map(|t| keep(user(t), problems)).collect();

    let address = if connection == ConnectionType::Local {
        Some(AddressMatch::All)
    } else {
        let token = single(fields.next(), "address", form)?;
        let needs_mask = !token.quoted && token.text.parse::<IpAddr>().is_ok();
        let mask = if needs_mask { Some(single(fields.next(), "mask", MASKED)?) } else { None };
        keep(address(&token, mask.as_ref()), problems)
    };
    let method = single(fields.next(), "method", form)?;
    let method = keep(method_of(&method.text, connection), problems);
    let mut certificate = match method {
        Some(Method::Cert) => ClientCertificate::VerifyFull,
        _ => ClientCertificate::NotNeeded,
    };
    let mut map = None;
    // Options of a refused method say nothing new.
    if let Some(method) = method {
        for option in fields.flatten() {
            if let Some(("map", name)) = option.text.split_once('=') {
                match (method, name) {
                    (Method::Cert, "") => problems.push(HbaProblem::Map),
                    (Method::Cert, _) if map.is_some() => problems.push(HbaProblem::Map),
                    (Method::Cert, _) => map = Some(name.to_owned()),
                    _ => problems.push(HbaProblem::MapWithoutCert),
                }
                continue;
            }
            let option = keep(client_certificate(&option.text, method, connection), problems);
            certificate = option.unwrap_or(certificate);
        }
    }
    Ok(match (address, method) {
        (Some(address), Some(method)) if problems.is_empty() => {
            Some(Record { origin, connection, databases, users, address, method, certificate, map })
        }
        _ => None,
    })
}

const MASKED: &str = "host DATABASE USER IP MASK METHOD";

fn keep<T>(result: Result<T, HbaProblem>, problems: &mut Vec<HbaProblem>) -> Option<T> {
    result.map_err(|problem| problems.push(problem)).ok()
}

/// The word of a field that is no list.
pub(super) fn single(
    field: Option<Vec<Token>>,
    name: &'static str,
    form: &'static str,
) -> Result<Token, HbaProblem> {
    let mut tokens = field.unwrap_or_default().into_iter();
    match (tokens.next(), tokens.next()) {
        (Some(token), None) => Ok(token),
        (Some(_), Some(_)) => Err(HbaProblem::List { field: name }),
        _ => Err(HbaProblem::Incomplete { missing: name, form }),
    }
}

/// Replaces each `@file` by the words in it.
fn expand(
    tokens: Vec<Token>,
    file: &str,
    include: Include<'_>,
    problems: &mut Vec<HbaProblem>,
) -> Vec<Token> {
    let mut words = Vec::new();
    for token in tokens {
        match token.marked('@').map(|name| resolve(file, name)) {
            Some(path) => read_words(&path, 0, include, &mut words, problems),
            None => words.push(token),
        }
    }
    words
}

fn resolve(file: &str, name: &str) -> String {
    match file.rsplit_once('/') {
        Some((directory, _)) if !name.starts_with('/') => format!("{directory}/{name}"),
        _ => name.to_owned(),
    }
}

fn read_words(
    path: &str,
    depth: usize,
    include: Include<'_>,
    words: &mut Vec<Token>,
    problems: &mut Vec<HbaProblem>,
) {
    if depth >= MAX_FILE_DEPTH {
        // Files that name one another twice over would say it a thousand times.
        let problem = HbaProblem::TooDeep { path: path.to_owned() };
        if !problems.contains(&problem) {
            problems.push(problem);
        }
        return;
    }
    let text = match include(path) {
        Ok(text) => text,
        Err(reason) => {
            problems.push(HbaProblem::File { path: path.to_owned(), reason });
            return;
        }
    };
    for line in text.lines() {
        match fields(line) {
            Ok(fields) => {
                for token in fields.into_iter().flatten() {
                    match token.marked('@').map(|name| resolve(path, name)) {
                        Some(path) if problems.is_empty() => {
                            read_words(&path, depth + 1, include, words, problems);
                        }
                        Some(_) => {}
                        None => words.push(token),
                    }
                }
            }
            Err(problem) => problems.push(problem),
        }
    }
}

fn database(token: Token) -> Result<DatabaseItem, HbaProblem> {
    if token.is("all") {
        Ok(DatabaseItem::All)
    } else if token.is("sameuser") {
        Ok(DatabaseItem::SameUser)
    } else if token.is("samegroup") || token.is("samerole") {
        Err(HbaProblem::SameRole { found: token.text })
    } else {
        Ok(DatabaseItem::Name(token.text))
    }
}

fn user(token: Token) -> Result<UserItem, HbaProblem> {
    if token.is("all") {
        Ok(UserItem::All)
    } else if let Some(group) = token.marked('+') {
        Err(HbaProblem::Group { group: group.to_owned() })
    } else {
        Ok(UserItem::Name(token.text))
    }
}

fn address(token: &Token, mask: Option<&Token>) -> Result<AddressMatch, HbaProblem> {
    let text = token.text.as_str();
    for (keyword, address) in [
        ("all", AddressMatch::All),
        ("samehost", AddressMatch::SameHost),
        ("samenet", AddressMatch::SameNet),
    ] {
        if token.is(keyword) {
            return Ok(address);
        }
    }
    let host_name = || HbaProblem::HostName { found: text.to_owned() };
    if let Some(mask) = mask {
        let addr: IpAddr = text.parse().map_err(|_| host_name())?;
        return mask
            .text
            .parse()
            .ok()
            .and_then(|mask| Network::from_mask(addr, mask))
            .map(AddressMatch::Network)
            .ok_or_else(|| HbaProblem::Mask {
                address: text.to_owned(),
                found: mask.text.clone(),
            });
    }
    let (addr, length) = text.split_once('/').ok_or_else(host_name)?;
    let addr: IpAddr = addr.parse().map_err(|_| host_name())?;
    let digits = !length.is_empty() && length.bytes().all(|b| b.is_ascii_digit());
    length
        .parse()
        .ok()
        .filter(|_| digits)
        .and_then(|length| Network::from_prefix(addr, length))
        .map(AddressMatch::Network)
        .ok_or_else(|| HbaProblem::PrefixLength {
            found: text.to_owned(),
            max: if addr.is_ipv4() { 32 } else { 128 },
        })
}

fn method_of(text: &str, connection: ConnectionType) -> Result<Method, HbaProblem> {
    let refused = |reason| Err(HbaProblem::MethodRefused { found: text.to_owned(), reason });
    match text {
        "trust" => Ok(Method::Trust),
        "reject" => Ok(Method::Reject),
        "md5" => Ok(Method::Md5),
        "scram-sha-256" => Ok(Method::ScramSha256),
        "password" => Ok(Method::Password),
        "cert" if connection != ConnectionType::HostSsl => Err(HbaProblem::CertWithoutTls),
        "cert" => Ok(Method::Cert),
        "pam" | "ldap" => refused("pgweir does not ask other services for passwords"),
        "ident" | "peer" | "gss" | "sspi" | "radius" | "bsd" | "oauth" => {
            refused("PostgreSQL has it, Pgpool-II and pgweir do not")
        }
        _ => Err(HbaProblem::UnknownMethod { found: text.to_owned() }),
    }
}

/// The option `clientcert`.
fn client_certificate(
    text: &str,
    method: Method,
    connection: ConnectionType,
) -> Result<ClientCertificate, HbaProblem> {
    match text.split_once('=') {
        Some(("clientcert", _)) if connection != ConnectionType::HostSsl => {
            Err(HbaProblem::ClientCertificateWithoutTls)
        }
        Some(("clientcert", "verify-full")) => Ok(ClientCertificate::VerifyFull),
        Some(("clientcert", "verify-ca")) if method != Method::Cert => {
            Ok(ClientCertificate::VerifyCa)
        }
        Some(("clientcert", found)) => {
            Err(HbaProblem::ClientCertificate { found: found.to_owned() })
        }
        _ if text == "\\" => Err(HbaProblem::Continuation),
        other => {
            let found = other.map_or(text, |(name, _)| name).to_owned();
            Err(HbaProblem::Option { found })
        }
    }
}

/// Warns of records that let anybody in from elsewhere, and that have passwords sent in clear.
pub(super) fn notices(records: &[Record]) -> Vec<Notice> {
    let texts = |record: &Record| {
        let open = record.method == Method::Trust
            // Who shows a certificate of its own is somebody.
            && record.certificate != ClientCertificate::VerifyFull
            && reaches_beyond_this_host(record);
        let in_clear = record.method == Method::Password
            && record.connection != ConnectionType::HostSsl
            && reaches_beyond_this_host(record);
        [
            open.then_some(
                "`trust` for other hosts: whoever reaches the port becomes any of these users, \
                 with the password that pool_passwd holds for them",
            ),
            in_clear.then_some(
                "`password` for other hosts without TLS: passwords cross the network as they are; \
                 hostssl lets in only who encrypts them",
            ),
        ]
    };
    records
        .iter()
        .flat_map(|record| texts(record).into_iter().flatten().map(move |text| (record, text)))
        .map(|(record, text)| Notice {
            level: Level::Warning,
            origin: Some(record.origin.clone()),
            text: text.to_owned(),
        })
        .collect()
}

fn reaches_beyond_this_host(record: &Record) -> bool {
    if record.connection == ConnectionType::Local {
        return false;
    }
    match record.address {
        AddressMatch::SameHost => false,
        AddressMatch::All | AddressMatch::SameNet => true,
        AddressMatch::Network(Network::V4 { addr, mask }) => {
            !addr.is_loopback() || mask.to_bits().leading_ones() < 8
        }
        AddressMatch::Network(Network::V6 { addr, mask }) => {
            !addr.is_loopback() || mask.to_bits() != u128::MAX
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::{ConnectionFacts, Hba, InterfaceAddress, Transport, UserMaps};
    use super::*;

    fn no_files(path: &str) -> Result<String, String> {
        Err(format!("{path}: no such file"))
    }

    fn hba(text: &str) -> Hba {
        Hba::parse("etc/pool_hba.conf", text, &mut no_files).unwrap_or_else(|e| panic!("{e}"))
    }

    fn problems(text: &str) -> Vec<HbaProblem> {
        let errors = Hba::parse("etc/pool_hba.conf", text, &mut no_files).unwrap_err();
        errors.0.into_iter().map(|e| e.problem).collect()
    }

    /// The line that decides; 0 for none.
    fn deciding_line(hba: &Hba, facts: &ConnectionFacts<'_>) -> u32 {
        hba.decide(facts).and_then(|record| record.origin.line_number()).unwrap_or(0)
    }

    fn facts<'a>(from: &str, tls: bool, database: &'a str, user: &'a str) -> ConnectionFacts<'a> {
        let transport = match from {
            "local" => Transport::Local,
            from => Transport::Tcp(from.parse().unwrap()),
        };
        ConnectionFacts { transport, tls, database, user, local_addrs: &[] }
    }

    #[test]
    fn certificates() {
        use ClientCertificate::{NotNeeded, VerifyCa, VerifyFull};
        for (line, certificate) in [
            ("hostssl all all all md5", NotNeeded),
            ("hostssl all all all md5 clientcert=verify-ca", VerifyCa),
            ("hostssl all all all trust clientcert=verify-full", VerifyFull),
            ("hostssl all all all cert", VerifyFull),
            ("hostssl all all all cert clientcert=verify-full", VerifyFull),
        ] {
            assert_eq!(hba(line).records()[0].certificate, certificate, "{line}");
        }
    }

    #[test]
    fn a_map_says_whose_a_certificate_is() {
        let text = "hostssl all a all cert map=m\n\
                    hostssl all b all cert \"map=n\" clientcert=verify-full\n\
                    hostssl all c all cert\n";
        let maps = |text| UserMaps::parse("pool_ident.conf", text).unwrap();
        let errors = hba(text).with_maps("pool_ident.conf", maps("m x a\n")).unwrap_err();
        assert_eq!(
            errors.to_string(),
            "etc/pool_hba.conf:2: map `n` has no line in pool_ident.conf: every client would be \
             refused"
        );
        assert_eq!(hba(text).needs_maps().and_then(|r| r.map.as_deref()), Some("m"));
        let hba = hba(text).with_maps("pool_ident.conf", maps("m x a\nn y b\n")).unwrap();
        for (record, name, user, wanted) in [
            (0, Some("x"), "a", true),
            // The map alone decides: a name is not its own.
            (0, Some("a"), "a", false),
            (0, Some("y"), "b", false),
            (0, None, "a", false),
            (1, Some("y"), "b", true),
            (2, Some("c"), "c", true),
            (2, Some("x"), "a", false),
            (2, None, "c", false),
        ] {
            let own = hba.is_own(&hba.records()[record], name, user);
            assert_eq!(own, wanted, "{record} {name:?} {user}");
        }
    }

    #[test]
    fn the_first_record_that_matches_decides() {
        let hba = hba("# TYPE DATABASE USER ADDRESS METHOD\n\
             local all all trust\n\
             host\tsales,stock\tbob, carol 10.0.0.0/8 md5 # comment\n\
             host all bob 10.0.0.0 255.255.0.0 reject\n\
             hostssl all all 0.0.0.0/0 scram-sha-256\n\
             hostnossl sameuser all ::/0 password\n\
             host \"all\" \"all\" all trust\n\
             host replication bob 192.0.2.1/32 md5\n\
             host db,x all all md5\n");
        for (from, tls, database, user, line) in [
            ("local", false, "x", "y", 2),
            ("10.1.1.1", false, "sales", "bob", 3),
            ("10.1.1.1", false, "stock", "carol", 3),
            ("::ffff:10.1.1.1", false, "stock", "carol", 3),
            ("10.0.1.1", false, "other", "bob", 4),
            ("10.1.1.1", false, "other", "bob", 0),
            ("10.1.1.1", true, "other", "bob", 5),
            ("192.0.2.9", true, "other", "dave", 5),
            ("2001:db8::1", true, "dave", "dave", 0),
            ("2001:db8::1", false, "dave", "dave", 6),
            ("2001:db8::1", false, "other", "dave", 0),
            ("192.0.2.9", false, "all", "all", 7),
            ("192.0.2.9", false, "all", "bob", 0),
            ("192.0.2.1", false, "replication", "bob", 8),
            ("192.0.2.1", false, "Replication", "bob", 0),
            ("192.0.2.1", false, "db", "bob", 9),
            ("192.0.2.1", false, "x", "bob", 9),
        ] {
            let facts = facts(from, tls, database, user);
            assert_eq!(deciding_line(&hba, &facts), line, "{facts:?}");
        }
    }

    #[test]
    fn samehost_and_samenet_look_at_our_own_addresses() {
        let hba = hba("host all all samehost trust\nhost all all samenet md5\n");
        let local_addrs = [
            InterfaceAddress { addr: "192.0.2.10".parse().unwrap(), prefix: 24 },
            InterfaceAddress { addr: "2001:db8::10".parse().unwrap(), prefix: 64 },
        ];
        for (from, line) in [
            ("192.0.2.10", 1),
            ("::ffff:192.0.2.10", 1),
            ("192.0.2.11", 2),
            ("192.0.3.11", 0),
            ("2001:db8::10", 1),
            ("2001:db8::11", 2),
            ("2001:db8:1::11", 0),
        ] {
            let facts =
                ConnectionFacts { local_addrs: &local_addrs, ..facts(from, false, "d", "u") };
            assert_eq!(deciding_line(&hba, &facts), line, "{from}");
        }
    }

    #[test]
    fn every_method() {
        for (text, method) in [
            ("host all all all trust", Method::Trust),
            ("host all all all reject", Method::Reject),
            ("host all all all md5", Method::Md5),
            ("host all all all scram-sha-256", Method::ScramSha256),
            ("host all all all password", Method::Password),
            ("hostssl all all all cert", Method::Cert),
        ] {
            assert_eq!(hba(text).records().first().map(|r| r.method), Some(method), "{text}");
        }
    }

    #[test]
    fn every_fault() {
        let word = str::to_owned;
        let table: &[(&str, HbaProblem)] = &[
            ("", HbaProblem::Empty),
            ("# nothing\n\n", HbaProblem::Empty),
            ("HOST all all all md5", HbaProblem::ConnectionType { found: word("HOST") }),
            (
                "hostgssenc all all all md5",
                HbaProblem::ConnectionType { found: word("hostgssenc") },
            ),
            ("include other.conf", HbaProblem::ConnectionType { found: word("include") }),
            ("host,local all all all md5", HbaProblem::List { field: "connection type" }),
            (
                "host",
                HbaProblem::Incomplete {
                    missing: "database",
                    form: "host DATABASE USER ADDRESS METHOD",
                },
            ),
            (
                "local all all",
                HbaProblem::Incomplete { missing: "method", form: "local DATABASE USER METHOD" },
            ),
            ("host \"all all all md5", HbaProblem::UnclosedQuote),
            ("host samegroup all all md5", HbaProblem::SameRole { found: word("samegroup") }),
            ("host samerole all all md5", HbaProblem::SameRole { found: word("samerole") }),
            ("host all bob,+admins all reject", HbaProblem::Group { group: word("admins") }),
            ("host all all db.example md5", HbaProblem::HostName { found: word("db.example") }),
            ("host all all .example md5", HbaProblem::HostName { found: word(".example") }),
            ("host all all db/24 md5", HbaProblem::HostName { found: word("db/24") }),
            (
                "host all all 127.0.0.0/33 md5",
                HbaProblem::PrefixLength { found: word("127.0.0.0/33"), max: 32 },
            ),
            (
                "host all all ::/129 md5",
                HbaProblem::PrefixLength { found: word("::/129"), max: 128 },
            ),
            ("host all all ::/+1 md5", HbaProblem::PrefixLength { found: word("::/+1"), max: 128 }),
            (
                "host all all 127.0.0.1 md5",
                HbaProblem::Mask { address: word("127.0.0.1"), found: word("md5") },
            ),
            (
                "host all all ::1 255.0.0.0 md5",
                HbaProblem::Mask { address: word("::1"), found: word("255.0.0.0") },
            ),
            ("host all all all MD5", HbaProblem::UnknownMethod { found: word("MD5") }),
            ("host all all all cert", HbaProblem::CertWithoutTls),
            ("host all all all md5 clientcert=verify-ca", HbaProblem::ClientCertificateWithoutTls),
            (
                "hostssl all all all md5 clientcert=1",
                HbaProblem::ClientCertificate { found: word("1") },
            ),
            (
                "hostssl all all all cert clientcert=verify-ca",
                HbaProblem::ClientCertificate { found: word("verify-ca") },
            ),
            ("hostssl all all all cert map=", HbaProblem::Map),
            ("hostssl all all all cert map=a map=b", HbaProblem::Map),
            ("hostssl all all all md5 map=names", HbaProblem::MapWithoutCert),
            (
                "hostssl all all all md5 clientcert=verify-full map=names",
                HbaProblem::MapWithoutCert,
            ),
            ("host all all all md5 word", HbaProblem::Option { found: word("word") }),
            ("host all all all \\\nmd5", HbaProblem::Continuation),
            (
                "host @gone all all md5",
                HbaProblem::File { path: word("etc/gone"), reason: word("etc/gone: no such file") },
            ),
        ];
        for (text, wanted) in table {
            assert_eq!(problems(text).first(), Some(wanted), "{text}");
        }
        for method in ["pam pamservice=x", "ldap ldapbindpasswd=x", "ident", "peer", "gss"] {
            let found = problems(&format!("host all all all {method}"));
            assert!(matches!(&found[..], [HbaProblem::MethodRefused { .. }]), "{found:?}");
        }
    }

    #[test]
    fn all_faults_are_collected_with_their_lines() {
        let text = "host all +a nowhere md6\n\nlocal all all trust\nhost\n";
        let errors = Hba::parse("pool_hba.conf", text, &mut no_files).unwrap_err();
        let lines: Vec<_> = errors.0.iter().map(|e| e.origin.to_string()).collect();
        assert_eq!(
            lines,
            ["pool_hba.conf:1", "pool_hba.conf:1", "pool_hba.conf:1", "pool_hba.conf:4"]
        );
        assert!(errors.to_string().starts_with("pool_hba.conf:1: `+a`: groups are not known"));
    }

    #[test]
    fn names_may_come_from_files() {
        let mut read = |path: &str| match path {
            "etc/users" => Ok("# staff\nbob, carol\n\"all\" @more\n".to_owned()),
            "etc/more" => Ok("dave".to_owned()),
            "/dbs" => Ok(String::new()),
            other => Err(format!("no {other}")),
        };
        let text = "host all @users all md5\nhost @/dbs all all md5\n";
        let hba = Hba::parse("etc/pool_hba.conf", text, &mut read).unwrap();
        for (user, line) in [("bob", 1), ("carol", 1), ("all", 1), ("dave", 1), ("eve", 0)] {
            assert_eq!(deciding_line(&hba, &facts("192.0.2.1", false, "d", user)), line, "{user}");
        }
    }

    #[test]
    fn files_that_name_themselves_end() {
        let mut reads = 0;
        let mut read = |_: &str| {
            reads += 1;
            Ok("@loop @loop".to_owned())
        };
        let errors = Hba::parse("f", "host all @loop all md5", &mut read).unwrap_err();
        assert_eq!(errors.0.len(), 1);
        assert_eq!(reads, MAX_FILE_DEPTH);
    }

    #[test]
    fn doubtful_records_are_pointed_out() {
        for (line, wanted) in [
            ("local all all trust", 0),
            ("host all all 127.0.0.1/32 trust", 0),
            ("host all all 127.0.0.0/8 trust", 0),
            ("host all all ::1/128 trust", 0),
            ("host all all samehost trust", 0),
            ("host all all 127.0.0.0/7 trust", 1),
            ("host all all 10.0.0.0/8 trust", 1),
            ("host all all all trust", 1),
            ("host all all all md5", 0),
            ("hostssl all all all trust clientcert=verify-ca", 1),
            ("hostssl all all all trust clientcert=verify-full", 0),
            ("host all all all password", 1),
            ("hostnossl all all 10.0.0.0/8 password", 1),
            ("hostssl all all all password", 0),
            ("host all all 127.0.0.1/32 password", 0),
            ("local all all password", 0),
            ("host all all samenet md5", 0),
            ("host all all samenet trust", 1),
        ] {
            assert_eq!(hba(line).notices().len(), wanted, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_read_without_panic(text in "(?s).{0,200}") {
            let _ = Hba::parse("f", &text, &mut |_| Ok(String::new()));
        }

        #[test]
        fn any_fields_are_read_without_panic(
            words in proptest::collection::vec(
                "(host|local|all|@f|\\+g|\"|,|10\\.0\\.0\\.1|/8|md5|trust|a=b|\\\\| |\n)", 0..30)
        ) {
            let _ = Hba::parse("f", &words.concat(), &mut |_| Ok("x,\"y".to_owned()));
        }
    }
}
