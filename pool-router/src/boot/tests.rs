use std::collections::BTreeMap;

use super::*;
use crate::cli;
use crate::config::{BackendHost, ListenAddress};
use crate::hba::{ConnectionFacts, Method, Transport};
use crate::passwd::StoredPassword;
use crate::tls::tests::Files as TlsFiles;

/// The environment of the minimal Deployment for Pgpool-II on Kubernetes.
const DEPLOYMENT: [(&str, &str); 14] = [
    ("PGPOOL_PARAMS_BACKEND_HOSTNAME0", "mypostgres"),
    ("PGPOOL_PARAMS_BACKEND_PORT0", "5432"),
    ("PGPOOL_PARAMS_BACKEND_WEIGHT0", "1"),
    ("PGPOOL_PARAMS_BACKEND_FLAG0", "ALWAYS_PRIMARY|DISALLOW_TO_FAILOVER"),
    ("PGPOOL_PARAMS_BACKEND_HOSTNAME1", "mypostgres-replica"),
    ("PGPOOL_PARAMS_BACKEND_PORT1", "5432"),
    ("PGPOOL_PARAMS_BACKEND_WEIGHT1", "1"),
    ("PGPOOL_PARAMS_BACKEND_FLAG1", "DISALLOW_TO_FAILOVER"),
    ("PGPOOL_PARAMS_FAILOVER_ON_BACKEND_ERROR", "off"),
    ("PGPOOL_PARAMS_ENABLE_POOL_HBA", "on"),
    ("PGPOOL_PARAMS_SSL", "on"),
    ("POSTGRES_USERNAME", "postgres"),
    ("POSTGRES_PASSWORD", "hunter2"),
    ("KUBERNETES_PORT", "tcp://10.0.0.1:443"),
];

const NODE: &str = "backend_hostname0 = db\nbackend_weight0 = 1\n";

#[derive(Debug)]
struct Configuration {
    context: Context,
    notices: Vec<Notice>,
}

fn inputs(line: &str, environment: &[(&str, &str)]) -> Inputs {
    Inputs {
        cli: cli::parse(line.split(' ')).unwrap(),
        environment: environment.iter().copied().collect(),
        seed: [7; 32],
        interfaces: Ok(Vec::new()),
    }
}

fn loaded(
    line: &str,
    environment: &[(&str, &str)],
    files: &[(&str, &str)],
) -> Result<Configuration, String> {
    let inputs = inputs(line, environment);
    let files: BTreeMap<_, _> = files.iter().copied().collect();
    let mut read = |path: &str| match files.get(path) {
        Some(&"denied") => Err("permission denied".to_owned()),
        text => Ok(text.map(|text| (*text).to_owned())),
    };
    let (context, notices) =
        load(&inputs, &mut read, &mut TlsFiles::default(), None).map_err(|error| error.text)?;
    // A reload of the same comes to the same, but for what is said of the command line.
    let (again, of_reload) = reload(&inputs, &mut read, &mut TlsFiles::default(), &context)
        .map_err(|error| error.text)?;
    assert_eq!(context.settings.needs_restart(&again.settings), [""; 0]);
    assert_eq!(context.files, again.files);
    let mut expected = notices.clone();
    expected.retain(|notice| !inputs.cli.notices().contains(notice));
    assert_eq!(expected, of_reload);
    Ok(Configuration { context, notices })
}

#[track_caller]
fn accepted(line: &str, environment: &[(&str, &str)], files: &[(&str, &str)]) -> Configuration {
    loaded(line, environment, files).unwrap_or_else(|text| panic!("{line}: {text}"))
}

fn texts(configuration: &Configuration) -> Vec<String> {
    configuration.notices.iter().map(ToString::to_string).collect()
}

fn method(configuration: &Configuration, tls: bool) -> Option<Method> {
    let address = core::net::IpAddr::from([10, 0, 0, 1]);
    let facts = ConnectionFacts {
        transport: Transport::Tcp(address),
        tls,
        database: "shop",
        user: "postgres",
        local_addrs: &[],
    };
    let hba = configuration.context.hba.as_ref().expect("pool_hba.conf");
    hba.decide(&facts).map(|record| record.method)
}

fn plain(configuration: &Configuration, user: &str) -> Option<String> {
    match configuration.context.passwords.lookup(user)? {
        StoredPassword::Plain(text) => Some(text.expose().to_owned()),
        _ => None,
    }
}

#[test]
fn the_environment_of_a_deployment_is_enough() {
    let configuration = accepted("pgweir -n", &DEPLOYMENT, &[]);
    let settings = &configuration.context.settings;
    assert_eq!(settings.listen_addresses, [ListenAddress::Any]);
    assert_eq!(settings.port, 9999);
    let hosts: Vec<_> = settings.backends.iter().map(|node| &node.host).collect();
    let tcp = |name: &str| BackendHost::Tcp(name.to_owned());
    assert_eq!(hosts, [&tcp("mypostgres"), &tcp("mypostgres-replica")]);
    assert_eq!(settings.primary().map(|node| node.id), Some(0));
    assert_eq!(plain(&configuration, "postgres").as_deref(), Some("hunter2"));
    assert!(configuration.context.pcp_users.lookup("postgres").is_some());
    assert_eq!(method(&configuration, true), Some(Method::ScramSha256));
    assert_eq!(method(&configuration, false), None, "TLS is on, so it is asked for");
    let summary = &texts(&configuration)[0];
    let wanted =
        "parameters set: 11 by the environment, 2 by default without pgpool.conf; of these ";
    assert!(summary.starts_with(wanted), "{summary}");
    let Configuration { context, .. } = &configuration;
    let all = format!("{context:?} {settings:?} {:?}", texts(&configuration));
    assert!(!all.contains("hunter2"), "{all}");
    // With the switches of newer images.
    let newer = [
        ("PGPOOL_PASSWORD_ENCRYPTION_METHOD", "md5"),
        ("PGPOOL_ENABLE_POOL_PASSWD", "true"),
        ("PGPOOL_SKIP_PASSWORD_ENCRYPTION", "false"),
        ("PGPOOL_PCP_USER", "pcp"),
        ("PGPOOL_PCP_PASSWORD", "p"),
        ("PGPOOL_PARAMS_SSL", "off"),
    ];
    let configuration = accepted("pgweir -n", &[&DEPLOYMENT[..], &newer].concat(), &[]);
    assert_eq!(method(&configuration, false), Some(Method::Md5));
    assert!(configuration.context.pcp_users.lookup("postgres").is_none());
    assert!(configuration.context.pcp_users.lookup("pcp").is_some());
}

#[test]
fn the_first_folder_with_a_configuration_is_taken() {
    let port = |n: u16| format!("{NODE}port = {n}\n");
    let (one, two, three) = (port(1001), port(1002), port(1003));
    let files = [
        ("/config/pgpool.conf", one.as_str()),
        ("/etc/pgweir/pgpool.conf", two.as_str()),
        ("/mine/pgpool.conf", three.as_str()),
        ("x.conf", three.as_str()),
    ];
    for (line, present, wanted) in [
        ("pgweir", &files[..], 1001),
        ("pgweir", &files[1..], 1002),
        ("pgweir --config-dir /mine", &files, 1003),
        ("pgweir -f /etc/pgweir/pgpool.conf", &files, 1002),
        ("pgweir -f x.conf", &files, 1003),
        ("pgweir -o port=4 --config-dir /mine", &files, 4),
    ] {
        assert_eq!(accepted(line, &[], present).context.settings.port, wanted, "{line}");
    }
    assert!(loaded("pgweir", &[], &[]).unwrap_err().starts_with(
        "no pgpool.conf in /config or /etc/pgweir: no backend is configured; accepted:"
    ));
    for (line, files, wanted) in [
        ("pgweir -f /no", &files[..], "could not read /no: no such file"),
        (
            "pgweir --config-dir /d",
            &[("/d/pgpool.conf", "denied")],
            "could not read /d/pgpool.conf: permission denied",
        ),
    ] {
        assert_eq!(loaded(line, &[], files).unwrap_err(), wanted, "{line}");
    }
}

#[test]
fn files_stand_in_the_folder_of_the_configuration() {
    let text = format!("{NODE}enable_pool_hba = on\npool_passwd = pw\n");
    for (line, folder, hba) in [
        ("pgweir --config-dir /d", "/d/", "/d/pool_hba.conf"),
        ("pgweir -f /d/pgpool.conf", "/d/", "/d/pool_hba.conf"),
        ("pgweir -f pgpool.conf", "", "pool_hba.conf"),
        ("pgweir -f /d/pgpool.conf -a /e/hba", "/d/", "/e/hba"),
        ("pgweir -f /x/pgpool.conf --config-dir /d", "/d/", "/d/pool_hba.conf"),
    ] {
        let beside = |name: &str| format!("{folder}{name}");
        let passwords = beside("pw");
        let pcp = beside("pcp.conf");
        let config =
            if line.contains("/x/") { "/x/pgpool.conf".to_owned() } else { beside("pgpool.conf") };
        let files = [
            (config.as_str(), text.as_str()),
            (hba, "host all all 0.0.0.0/0 password"),
            (&passwords, "bob:TEXTx\n"),
            (&pcp, "eve:e8a48653851e28c69d0506508fb27fc5\n"),
        ];
        let configuration = accepted(line, &[], &files);
        assert_eq!(method(&configuration, false), Some(Method::Password), "{line}");
        assert_eq!(plain(&configuration, "bob").as_deref(), Some("x"), "{line}");
        assert!(configuration.context.pcp_users.lookup("eve").is_some(), "{line}");
        for (path, _) in files {
            assert!(configuration.context.files.contains(path), "{line}: {path}");
        }
    }
    // Who names a file wants that file.
    let files = [("/d/pgpool.conf", text.as_str())];
    for (line, path) in
        [("pgweir -f /d/pgpool.conf", "/d/pool_hba.conf"), ("pgweir --config-dir /d -a /e", "/e")]
    {
        let wanted = format!("could not read {path}: no such file");
        assert_eq!(loaded(line, &[], &files).unwrap_err(), wanted);
    }
}

#[test]
fn accounts_of_the_environment_overrule_the_file() {
    let files = [
        ("/config/pgpool.conf", NODE),
        ("/config/pool_passwd", "postgres:TEXTold\nbob:TEXTx\n"),
        ("/config/pcp.conf", "postgres:00000000000000000000000000000000\n"),
    ];
    let account = [("POSTGRES_USERNAME", "postgres"), ("POSTGRES_PASSWORD", "new")];
    let configuration = accepted("pgweir -n", &account, &files);
    assert_eq!(plain(&configuration, "postgres").as_deref(), Some("new"));
    assert_eq!(plain(&configuration, "bob").as_deref(), Some("x"));
    let hash = configuration.context.pcp_users.lookup("postgres").unwrap();
    assert_eq!(hash.as_hex(), PcpHash::of("new").as_hex());
    assert!(
        texts(&configuration).contains(
            &"passwords from the environment: `postgres` (POSTGRES_PASSWORD, instead of \
          pool_passwd's)"
                .to_owned()
        )
    );
    let off = [account[0], account[1], ("PGPOOL_ENABLE_POOL_PASSWD", "no")];
    let configuration = accepted("pgweir -n", &off, &files);
    assert!(configuration.context.passwords.is_empty());
    assert!(configuration.context.settings.ssl);
    assert_eq!(method(&configuration, true), Some(Method::Password));
}

#[test]
fn a_mounted_certificate_turns_tls_on() {
    let text = format!("{NODE}ssl = off\nssl_key = other\n");
    for (key, certificate) in
        [("tls/tls.key", "tls/tls.crt"), ("certs/server.key", "certs/server.crt")]
    {
        let (key, certificate) = (format!("/config/{key}"), format!("/config/{certificate}"));
        let files = [
            ("/config/pgpool.conf", text.as_str()),
            (&key, include_str!("../tls/tests/files/key.pem")),
            (&certificate, include_str!("../tls/tests/files/version_3.pem")),
        ];
        let settings = accepted("pgweir -n", &[], &files).context.settings;
        assert!(settings.ssl);
        assert_eq!(settings.value("ssl_key"), Some(key.as_str()));
        assert_eq!(settings.value("ssl_cert"), Some(certificate.as_str()));
        // What is there and cannot be read is a fault.
        let denied = [files[0], (&key, "denied"), files[2]];
        let error = loaded("pgweir -n", &[], &denied).unwrap_err();
        assert_eq!(error, format!("ssl_key: {key} cannot be read: permission denied"));
        // One half is none.
        let configuration = accepted("pgweir -n", &[], &files[..2]);
        assert!(!configuration.context.settings.ssl);
        let wanted = format!("the certificate there is not used: there is no {certificate}");
        assert!(texts(&configuration).contains(&wanted), "{:?}", texts(&configuration));
        // A flag has the last word.
        assert!(!accepted("pgweir -n -o ssl=off", &[], &files).context.settings.ssl);
        // The folder of a file that is named is not searched.
        assert!(!accepted("pgweir -n -f /config/pgpool.conf", &[], &files).context.settings.ssl);
    }
}

#[test]
fn every_fault_is_told_at_once() {
    let files = [
        (
            "/config/pgpool.conf",
            "backend_hostname0 = db\nenable_pool_hba = on\nprimary_routing_query_pattern_list = ''\n",
        ),
        ("/config/pool_hba.conf", "nonsense\n"),
        ("/config/pool_passwd", "hunter2\n"),
        ("/config/pcp.conf", "x\n"),
    ];
    let text = loaded("pgweir", &[], &files).unwrap_err();
    let places: Vec<_> = text.lines().map(|line| line.split(": ").next().unwrap_or("")).collect();
    assert_eq!(places, ["/config/pool_hba.conf:1", "/config/pool_passwd:1", "/config/pcp.conf:1"]);
    let environment = [("PGPOOL_SKIP_PASSWORD_ENCRYPTION", "?"), ("PGPOOL_PARAMS_PORT", "x")];
    let files = [("/config/pgpool.conf", "nonsense = 1\n")];
    let text = loaded("pgweir -o x=1", &environment, &files).unwrap_err();
    let places: Vec<_> = text.lines().map(|line| line.split(": ").next().unwrap_or("")).collect();
    assert_eq!(
        places,
        [
            "environment PGPOOL_SKIP_PASSWORD_ENCRYPTION",
            "/config/pgpool.conf:1",
            "/config/pgpool.conf",
            "environment PGPOOL_PARAMS_PORT",
            "flag --set",
        ],
        "{text}"
    );
}

#[test]
fn check_says_where_each_value_comes_from() {
    let inputs = inputs("pgweir --check -o max_pool=2", &DEPLOYMENT);
    let Boot::Print(report) = boot(&inputs, &mut |_| Ok(None), &mut TlsFiles::default()).unwrap()
    else {
        panic!("it is to be printed")
    };
    for line in [
        "backend_hostname1 = 'mypostgres-replica'  # environment PGPOOL_PARAMS_BACKEND_HOSTNAME1; honoured",
        "max_pool = '2'  # flag --set; mapped: times num_init_children it bounds the server connections per node",
        "listen_addresses = '*'  # default without pgpool.conf; honoured",
        "port = '9999'  # default; honoured",
    ] {
        assert!(report.lines().any(|other| other == line), "{line} is not in\n{report}");
    }
    assert!(!report.contains("hunter2"), "{report}");
    // The file of a Deployment can be checked where its environment is not at hand.
    let inputs = self::inputs("pgweir --check -f f", &[]);
    let mut read = |path: &str| Ok((path == "f").then(|| "port = 1\n".to_owned()));
    let Boot::Print(report) = boot(&inputs, &mut read, &mut TlsFiles::default()).unwrap() else {
        panic!("printed")
    };
    assert!(report.contains("# f: no backend is configured"), "{report}");
}

#[test]
fn a_file_that_is_gone_stops_a_reload() {
    let inputs = inputs("pgweir -n", &DEPLOYMENT);
    let all = [
        ("/config/pgpool.conf", "port = 9998\n"),
        ("/config/pool_hba.conf", "host all all all scram-sha-256\n"),
        ("/config/pool_passwd", "bob:TEXTx\n"),
        ("/config/pcp.conf", ""),
    ];
    let without = |gone: &'static str| {
        move |path: &str| {
            let text = all.iter().find(|(file, _)| *file == path && path != gone);
            Ok(text.map(|(_, text)| (*text).to_owned()))
        }
    };
    let (context, _) = load(&inputs, &mut without(""), &mut TlsFiles::default(), None).unwrap();
    assert!(reload(&inputs, &mut without(""), &mut TlsFiles::default(), &context).is_ok());
    for (gone, _) in all {
        let error =
            reload(&inputs, &mut without(gone), &mut TlsFiles::default(), &context).unwrap_err();
        assert_eq!(error.text, format!("could not read {gone}: it is gone"));
    }
}

#[test]
fn encrypted_accounts_need_the_key() {
    let account = [
        ("PGPOOL_SKIP_PASSWORD_ENCRYPTION", "on"),
        ("BOB_USERNAME", "bob"),
        ("BOB_PASSWORD", "AESmP/ZtaU4H21V8oJHP64QYQ=="),
    ];
    let config = ("/config/pgpool.conf", NODE);
    let mut inputs = inputs("pgweir -n -k /key", &account);
    inputs.cli.find_key_file(&|_| None);
    for (key, wanted) in [
        (Some("k3y\n"), Ok("secret")),
        (
            Some("other"),
            Err(
                "environment BOB_PASSWORD: the password is encrypted with another key than the key \
                 file's",
            ),
        ),
        (
            None,
            Err("could not read /key: no such file\n\
                 environment BOB_PASSWORD: it is encrypted, and there is no key file"),
        ),
    ] {
        let mut read = |path: &str| {
            let text = if path == "/key" { key } else { (path == config.0).then_some(config.1) };
            Ok(text.map(str::to_owned))
        };
        let outcome =
            load(&inputs, &mut read, &mut TlsFiles::default(), None).map(|(context, notices)| {
                plain(&Configuration { context, notices }, "bob").unwrap_or_default()
            });
        let outcome = outcome.map_err(|error| error.text);
        let outcome = outcome.as_ref().map(String::as_str).map_err(String::as_str);
        assert_eq!(outcome, wanted);
    }
    // A key that nothing is encrypted with need not be there.
    let plain_account = [("BOB_USERNAME", "bob"), ("BOB_PASSWORD", "x")];
    accepted("pgweir -n -k /key", &plain_account, &[config]);
}

#[test]
fn the_password_of_who_asks_comes_from_settings_or_pool_passwd() {
    let asking = |lines: &str| {
        let text = format!("{NODE}{lines}");
        let files = [("/config/pgpool.conf", &*text), ("/config/pool_passwd", "bob:TEXTof-file\n")];
        loaded("pgweir", &[], &files).map(|it| {
            let shown = format!("{:?}", it.context.settings) + &texts(&it).concat();
            assert!(!shown.contains("hunter2"), "{shown}");
            match &it.context.authenticator {
                Some(StoredPassword::Plain(text)) => Some(text.expose().to_owned()),
                Some(other) => panic!("{other:?}"),
                None => None,
            }
        })
    };
    let some = |text: &str| Ok(Some(text.to_owned()));
    assert_eq!(asking("weir_auth_password = hunter2\nsr_check_password = hunter2\n"), Ok(None));
    assert_eq!(asking("weir_auth_user = bob\n"), some("of-file"));
    assert_eq!(asking("weir_auth_user = bob\nsr_check_password = hunter2\n"), some("of-file"));
    for password in ["hunter2", "TEXThunter2"] {
        let lines = format!("weir_auth_user = bob\nweir_auth_password = '{password}'\n");
        assert_eq!(asking(&lines), some("hunter2"));
        let lines = format!("sr_check_user = bob\nsr_check_password = '{password}'\n");
        assert_eq!(asking(&lines), some("hunter2"));
    }
    for bad in ["AEShunter2+", "AESmP/ZtaU4H21V8oJHP64QYQ=="] {
        let lines = format!("weir_auth_user = bob\nweir_auth_password = '{bad}'\n");
        let text = asking(&lines).expect_err(bad);
        let place =
            format!("/config/pgpool.conf:{}: weir_auth_password: ", NODE.lines().count() + 2);
        assert!(text.starts_with(&place) && !text.contains(bad), "{text}");
        // What Pgpool-II starts with, too.
        assert_eq!(
            asking(&format!("sr_check_user = bob\nsr_check_password = '{bad}'\n")),
            Ok(None)
        );
    }
}

#[test]
fn records_that_let_nobody_in_are_pointed_out() {
    const HBA: &str = "hostssl all all all md5\nhostssl all bob all md5 clientcert=verify-ca\n";
    let said = |lines: &str| {
        let text = format!("{NODE}enable_pool_hba = on\n{lines}");
        let files = [("/config/pgpool.conf", &*text), ("/config/pool_hba.conf", HBA)];
        let mut lines = Vec::new();
        for text in texts(&accepted("pgweir", &[], &files)) {
            if let Some((_, place)) = text.split_once("/config/pool_hba.conf:") {
                lines.push(place.split(':').next().unwrap_or_default().to_owned());
            }
        }
        lines
    };
    assert_eq!(said("ssl = off\n"), ["1", "2"]);
    assert_eq!(said("ssl = on\n"), ["2"]);
}

#[test]
fn the_addresses_of_the_host_are_those_of_each_load() {
    let config = format!("{NODE}enable_pool_hba = on\n");
    let with = |hba: &str, interfaces: Result<Vec<InterfaceAddress>, String>, present| {
        let inputs = Inputs { interfaces, ..inputs("pgweir -f pgpool.conf", &[]) };
        let mut read = |path: &str| match path {
            "pgpool.conf" => Ok(Some(config.clone())),
            "pool_hba.conf" => Ok(Some(hba.to_owned())),
            _ => Ok(None),
        };
        let tls = &mut TlsFiles::default();
        let loaded = match present {
            None => load(&inputs, &mut read, tls, None).map(|(context, _)| Arc::new(context)),
            Some(present) => reload(&inputs, &mut read, tls, present).map(|(context, _)| context),
        };
        loaded.map_err(|error| error.text)
    };
    let admits = |context: &Context, from: [u8; 4]| {
        let facts = ConnectionFacts {
            transport: Transport::Tcp(from.into()),
            tls: false,
            database: "shop",
            user: "app",
            local_addrs: &context.interfaces,
        };
        context.hba.as_ref().is_some_and(|hba| hba.decide(&facts).is_some())
    };
    let interface = |addr: [u8; 4], prefix| vec![InterfaceAddress { addr: addr.into(), prefix }];
    let same_net = "host all all samenet md5\n";
    let first = with(same_net, Ok(interface([10, 1, 2, 3], 16)), None).unwrap();
    assert!(admits(&first, [10, 1, 9, 9]) && !admits(&first, [10, 2, 9, 9]));
    let second = with(same_net, Ok(interface([10, 2, 2, 3], 16)), Some(&first)).unwrap();
    assert!(!admits(&second, [10, 1, 9, 9]) && admits(&second, [10, 2, 9, 9]));

    let unknown = || Err("too many open files".to_owned());
    assert_eq!(
        with(&format!("# nets\n{same_net}"), unknown(), Some(&second)).unwrap_err(),
        "pool_hba.conf:2: the addresses of this host are not known: too many open files"
    );
    assert!(with("host all all all md5\n", unknown(), None).is_ok());
}

#[test]
fn user_name_maps_stand_beside_the_records_that_name_them() {
    let config = format!("{NODE}enable_pool_hba = on\n");
    let with = |line: &str, hba: (&str, &str), maps: Option<(&str, &str)>| {
        let mut files = vec![("etc/pgpool.conf", config.as_str()), hba];
        files.extend(maps);
        loaded(line, &[], &files)
    };
    let of_etc = "pgweir -f etc/pgpool.conf";
    let hba = ("etc/pool_hba.conf", "# cert\nhostssl all all all cert map=m\n");
    let maps = ("etc/pool_ident.conf", "m x app\n");
    let configuration = with(of_etc, hba, Some(maps)).unwrap();
    assert!(configuration.context.files.contains("etc/pool_ident.conf"));
    let elsewhere = ("rules/hba", hba.1);
    let line = "pgweir -f etc/pgpool.conf -a rules/hba";
    assert!(with(line, elsewhere, Some(("rules/pool_ident.conf", maps.1))).is_ok());
    for (maps, wanted) in [
        (None, "etc/pool_hba.conf:2: map `m`: could not read etc/pool_ident.conf: no such file"),
        (
            Some((maps.0, "other x app\n")),
            "etc/pool_hba.conf:2: map `m` has no line in etc/pool_ident.conf: every client would \
             be refused",
        ),
        (
            Some((maps.0, "m x app\nm y +staff\n")),
            "etc/pool_ident.conf:2: `+staff`: groups are not known here; accepted: all, a name, a \
             /regex, and \"+name\" in quotes",
        ),
    ] {
        assert_eq!(with(of_etc, hba, maps).unwrap_err(), wanted);
    }
    // Nobody asks for it.
    let other = ("etc/pool_hba.conf", "host all all all md5\n");
    assert!(with(of_etc, other, Some((maps.0, "nonsense"))).is_ok());
}
