use std::os::unix::ffi::OsStringExt as _;

use proptest::prelude::*;

use super::*;
use crate::passwd::StoredPassword;

fn understand(pairs: &[(&str, &str)]) -> Result<Understood, Vec<String>> {
    let environment: Environment = pairs.iter().copied().collect();
    environment
        .understand(&mut |path| match path {
            "/s/user" => Ok(Some("filed\n".to_owned())),
            "/s/password" => Ok(Some("from file\r\n".to_owned())),
            "/s/hash" => Ok(Some("e8a48653851e28c69d0506508fb27fc5\n".to_owned())),
            "/s/dir" => Err("is a directory".to_owned()),
            _ => Ok(None),
        })
        .map_err(|errors| errors.0.iter().map(ToString::to_string).collect())
}

#[track_caller]
fn accepted(pairs: &[(&str, &str)]) -> Understood {
    understand(pairs).unwrap_or_else(|errors| panic!("{errors:?}"))
}

fn given(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    accepted(pairs).given.iter().map(|g| (g.name.clone(), g.value.to_string())).collect()
}

fn passwords(understood: &Understood) -> Vec<(&str, String)> {
    let all = understood.accounts.iter();
    all.map(|account| {
        let shown = match &account.password {
            StoredPassword::Plain(text) => format!("plain {}", text.expose()),
            StoredPassword::Md5(_) => "md5".to_owned(),
            StoredPassword::Scram(_) => "scram".to_owned(),
            StoredPassword::Aes(_) => "aes".to_owned(),
        };
        (account.user.as_str(), shown)
    })
    .collect()
}

fn texts(notices: &[Notice]) -> Vec<String> {
    notices.iter().map(ToString::to_string).collect()
}

#[test]
fn an_empty_environment_says_nothing() {
    let none = accepted(&[("PATH", "/bin"), ("HOME", "/root"), ("PGPOOL_PORT_9999_TCP", "x")]);
    assert!(none.given.is_empty() && none.accounts.is_empty() && none.pcp_users.is_empty());
    assert!(none.pool_passwd);
    assert_eq!(none.method, HbaMethod::ScramSha256);
    assert_eq!(none.notices, []);
}

#[test]
fn parameters_keep_their_values() {
    let table: &[(&str, &str, &str, &str)] = &[
        ("PORT", "9999", "port", "9999"),
        ("BACKEND_HOSTNAME0", "db", "backend_hostname0", "db"),
        (
            "APP_NAME_REDIRECT_PREFERENCE_LIST",
            "a:primary",
            "app_name_redirect_preference_list",
            "a:primary",
        ),
        (
            "PRIMARY_ROUTING_QUERY_PATTERN_LIST",
            "x = 'y'",
            "primary_routing_query_pattern_list",
            "x = 'y'",
        ),
        ("LOG_LINE_PREFIX", "a=b=c", "log_line_prefix", "a=b=c"),
        (
            "BACKEND_FLAG0",
            "ALWAYS_PRIMARY|DISALLOW_TO_FAILOVER",
            "backend_flag0",
            "ALWAYS_PRIMARY|DISALLOW_TO_FAILOVER",
        ),
        ("Num_Init_Children", " 7\n", "num_init_children", "7"),
        ("LISTEN_ADDRESSES", "'*'", "listen_addresses", "*"),
        ("RESET_QUERY_LIST", "", "reset_query_list", ""),
        ("SR_CHECK_PASSWORD", " it's 'x'=\n", "sr_check_password", " it's 'x'="),
        ("SR_CHECK_PASSWORD_FILE", "/s/password", "sr_check_password", "from file"),
        // A parameter of its own, not a file with the value of another.
        ("SSL_CRL_FILE", "/crl", "ssl_crl_file", "/crl"),
        ("WEIR_POOL_MODE", "transaction", "weir_pool_mode", "transaction"),
    ];
    for (variable, value, name, wanted) in table {
        let variable = format!("PGPOOL_PARAMS_{variable}");
        let pair = ((*name).to_owned(), (*wanted).to_owned());
        assert_eq!(given(&[(&variable, value)]), [pair], "{variable}");
    }
}

#[test]
fn accounts() {
    let understood = accepted(&[
        ("POSTGRES_USERNAME", "postgres"),
        ("POSTGRES_PASSWORD", "a = 'b'  c\n"),
        ("APP_RW_USERNAME", "app_rw"),
        ("APP_RW_PASSWORD", "TEXTual"),
        ("APP_USERNAME_FILE", "/s/user"),
        ("APP_PASSWORD_FILE", "/s/password"),
        ("AGAIN_USERNAME", "app_rw"),
        ("AGAIN_PASSWORD", "TEXTual"),
        ("HALF_USERNAME", "half"),
        ("EMPTY_USERNAME", ""),
        ("OTHER_PASSWORD", "of something else"),
        ("_USERNAME", "x"),
    ]);
    assert_eq!(
        passwords(&understood),
        [
            ("app_rw", "plain TEXTual".to_owned()),
            ("filed", "plain from file".to_owned()),
            ("postgres", "plain a = 'b'  c".to_owned()),
        ]
    );
    assert_eq!(
        texts(&understood.notices),
        ["environment HALF_USERNAME: no account: HALF_PASSWORD is not set"]
    );
    // Without PGPOOL_PCP_USER all of them are users of the PCP port.
    assert_eq!(understood.pcp_users.len(), 3);
    let debug = format!("{understood:?}");
    for secret in ["TEXTual", "a = 'b'", "from file"] {
        assert!(!debug.contains(secret), "{debug}");
    }
}

#[test]
fn entries_may_be_given_as_they_are() {
    let pairs = |password| {
        [("PGPOOL_SKIP_PASSWORD_ENCRYPTION", "true"), ("A_USERNAME", "a"), ("A_PASSWORD", password)]
    };
    for (entry, wanted) in [
        ("md53175bce1d3201d16594cebf9d7eb3f9d", "md5"),
        ("TEXTsecret", "plain secret"),
        ("AESmP/ZtaU4H21V8oJHP64QYQ==", "aes"),
    ] {
        let understood = accepted(&pairs(entry));
        assert_eq!(passwords(&understood), [("a", wanted.to_owned())], "{entry}");
    }
    let errors = understand(&pairs("SCRAM-SHA-256$hunter2")).unwrap_err();
    assert!(errors[0].starts_with("environment A_PASSWORD: not a SCRAM verifier"), "{errors:?}");
    assert!(!errors[0].contains("hunter2"));
}

#[test]
fn users_of_the_pcp_port() {
    const HASH: &str = "e8a48653851e28c69d0506508fb27fc5";
    let account = [("A_USERNAME", "a"), ("A_PASSWORD", "x")];
    for pairs in [
        &[("PGPOOL_PCP_USER", "postgres"), ("PGPOOL_PCP_PASSWORD", "postgres")][..],
        &[
            ("PGPOOL_PCP_USER", "postgres"),
            ("PGPOOL_PCP_PASSWORD", HASH),
            ("PGPOOL_SKIP_PASSWORD_ENCRYPTION", "yes"),
        ],
        &[
            ("PGPOOL_PCP_USER", "postgres"),
            ("PGPOOL_PCP_PASSWORD_FILE", "/s/hash"),
            ("PGPOOL_SKIP_PASSWORD_ENCRYPTION", "1"),
        ],
    ] {
        let understood = accepted(&[pairs, &account].concat());
        let users: Vec<_> = understood
            .pcp_users
            .iter()
            .map(|(user, hash)| (user.as_str(), hash.as_hex()))
            .collect();
        assert_eq!(users, [("postgres", HASH.as_bytes().try_into().unwrap())], "{pairs:?}");
    }
    let half = accepted(&[("PGPOOL_PCP_USER", "u"), account[0], account[1]]);
    assert!(half.pcp_users.is_empty());
    assert_eq!(half.notices.len(), 1);
}

#[test]
fn without_pool_passwd_clients_are_asked_in_clear_text_over_tls() {
    let understood = accepted(&[
        ("PGPOOL_ENABLE_POOL_PASSWD", "off"),
        ("PGPOOL_PASSWORD_ENCRYPTION_METHOD", "md5"),
        ("A_USERNAME", "a"),
        ("A_PASSWORD", "x"),
    ]);
    assert!(!understood.pool_passwd && understood.accounts.is_empty());
    assert_eq!(understood.method, HbaMethod::Password);
    let names: Vec<_> = understood.given.iter().map(|g| (&*g.name, &**g.value)).collect();
    assert_eq!(names, [("ssl", "on"), ("enable_pool_hba", "on")]);
}

#[test]
fn faults_name_their_variables() {
    let table: &[(&[(&str, &str)], &str)] = &[
        (
            &[("PGPOOL_ENABLE_POOL_PASSWD", "maybe")],
            "environment PGPOOL_ENABLE_POOL_PASSWD: `maybe` is not a boolean; accepted: on, off, \
             true, false, yes, no, 1, 0",
        ),
        (
            &[("PGPOOL_PASSWORD_ENCRYPTION_METHOD", "aes")],
            "environment PGPOOL_PASSWORD_ENCRYPTION_METHOD: `aes` is not a method; accepted: \
             scram-sha-256, md5",
        ),
        (
            &[("A_USERNAME", "a"), ("A_PASSWORD", "x"), ("A_PASSWORD_FILE", "/s/password")],
            "environment A_PASSWORD: A_PASSWORD_FILE is set too; accepted: one of both",
        ),
        (
            &[("A_USERNAME", "a"), ("A_PASSWORD_FILE", "/s/none")],
            "environment A_PASSWORD_FILE: could not read /s/none: no such file",
        ),
        (
            &[("A_USERNAME", "a"), ("A_PASSWORD_FILE", "/s/dir")],
            "environment A_PASSWORD_FILE: could not read /s/dir: is a directory",
        ),
        (
            &[("A_USERNAME", "a"), ("A_PASSWORD", "x"), ("B_USERNAME", "a"), ("B_PASSWORD", "y")],
            "environment B_PASSWORD: A_PASSWORD has another password for the same user `a`; \
             accepted: one password",
        ),
        (
            &[("PGPOOL_PARAMS_LISTEN_ADDRESSES", "a\nb")],
            "environment PGPOOL_PARAMS_LISTEN_ADDRESSES: the value has several lines; accepted: one",
        ),
        (
            &[
                ("PGPOOL_PCP_USER", "u"),
                ("PGPOOL_PCP_PASSWORD", "hunter2"),
                ("PGPOOL_SKIP_PASSWORD_ENCRYPTION", "on"),
            ],
            "environment PGPOOL_PCP_PASSWORD: not an entry of pcp.conf; accepted: the 32 hexadecimal \
             digits of the password's MD5",
        ),
    ];
    for (pairs, wanted) in table {
        let warnings_aside = understand(pairs).err().unwrap_or_default();
        assert_eq!(warnings_aside, [*wanted], "{pairs:?}");
    }
}

#[test]
fn values_that_are_not_utf8_are_told() {
    let pairs = [("PGPOOL_PARAMS_PORT", b"99\xff".to_vec()), ("X_USERNAME", b"\xff".to_vec())];
    let environment: Environment =
        pairs.into_iter().map(|(name, value)| (name, OsString::from_vec(value))).collect();
    let errors = environment.understand(&mut |_| Ok(None)).unwrap_err();
    assert_eq!(
        errors.to_string(),
        "environment PGPOOL_PARAMS_PORT: the value is not UTF-8\n\
         environment X_USERNAME: the value is not UTF-8"
    );
}

#[test]
fn misspelt_names_are_told() {
    for (name, meant) in [
        ("PGPOOL_PARAM_PORT", "PGPOOL_PARAMS_PORT"),
        ("PGPOOL_ENABLE_POOL_PASSWORD", "PGPOOL_ENABLE_POOL_PASSWD"),
        ("PGPOOL_PCP_USERNAME", "PGPOOL_PCP_USER"),
    ] {
        let notices = accepted(&[(name, "x")]).notices;
        let wanted =
            format!("environment {name}: this variable has no effect; did you mean {meant}?");
        assert_eq!(texts(&notices), [wanted]);
    }
    for name in ["PGPOOL_SERVICE_HOST", "PGPOOL_PORT", "PGPOOL_SERVICE_PORT", "PGPOOL_INSTALL_DIR"]
    {
        assert_eq!(accepted(&[(name, "x")]).notices, [], "{name}");
    }
}

proptest! {
    #[test]
    fn any_environment_is_read_without_panic(
        pairs in proptest::collection::vec(
            ("(PGPOOL_(PARAMS_)?)?[A-Z_0-9]{0,12}(_USERNAME|_PASSWORD)?(_FILE)?", "(?s).{0,20}"),
            0..8,
        )
    ) {
        let environment: Environment = pairs.into_iter().collect();
        let _ = environment.understand(&mut |path| match path.len() % 3 {
            0 => Ok(None),
            1 => Ok(Some(path.to_owned())),
            _ => Err("no".to_owned()),
        });
    }

    #[test]
    fn any_password_survives(password in "[^\\x00\r\n]{1,60}") {
        let understood = accepted(&[("A_USERNAME", "a"), ("A_PASSWORD", &password)]);
        prop_assert_eq!(passwords(&understood), [("a", format!("plain {password}"))]);
    }
}
