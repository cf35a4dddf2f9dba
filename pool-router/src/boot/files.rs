//! Which files are read.

use std::sync::Arc;

use zeroize::Zeroizing;

use super::Read;
use crate::cli::{Cli, DEFAULT_FOLDERS};
use crate::config::{Given, Level, Notice, Origin};

/// Key and certificate in the configuration folder: as Pgpool-II's image reads them, and as that of
/// 2021 names its own.
const CERTIFICATES: [(&str, &str); 2] =
    [("tls/tls.key", "tls/tls.crt"), ("certs/server.key", "certs/server.crt")];

/// What Pgpool-II's image sets without a `pgpool.conf`, as far as it is not the default anyway.
const IMAGE_DEFAULTS: [(&str, &str); 3] =
    [("listen_addresses", "*"), ("sr_check_period", "0"), ("failover_on_backend_error", "off")];

/// Where everything is.
pub(super) struct Files {
    /// The name and the text of `pgpool.conf`; `None`: the environment says all.
    pub(super) config: Option<(String, String)>,
    /// Where `pgpool.conf` was looked for, if there is none.
    pub(super) searched: Vec<String>,
    /// A missing `pool_hba.conf` may be stood in for.
    pub(super) may_make_hba: bool,
    /// What `-F` names.
    pub(super) pcp: Option<String>,
    hba: Option<String>,
    folder: String,
    /// The folder is a configuration folder as the image's is, not only that of a file.
    whole_folder: bool,
}

impl Files {
    pub(super) fn find(cli: &Cli, read: &mut Read<'_>) -> Result<Self, String> {
        let whole_folder = cli.config_file.is_none() || cli.config_dir.is_some();
        let mut files = Self {
            config: None,
            searched: Vec::new(),
            may_make_hba: whole_folder && cli.hba_file.is_none(),
            pcp: cli.pcp_file.clone(),
            hba: cli.hba_file.clone(),
            folder: String::new(),
            whole_folder,
        };
        if let Some(path) = &cli.config_file {
            let text = read(path).and_then(|text| text.ok_or_else(|| "no such file".to_owned()));
            let text = text.map_err(|why| format!("could not read {path}: {why}"))?;
            files.folder = match (&cli.config_dir, path.rsplit_once('/')) {
                (Some(folder), _) => folder.clone(),
                (None, Some((folder, _))) => folder.to_owned(),
                (None, None) => ".".to_owned(),
            };
            files.config = Some((path.clone(), text));
            return Ok(files);
        }
        files.searched = match &cli.config_dir {
            Some(folder) => vec![folder.clone()],
            None => DEFAULT_FOLDERS.map(str::to_owned).to_vec(),
        };
        for folder in &files.searched {
            let path = format!("{folder}/pgpool.conf");
            match read(&path) {
                Ok(Some(text)) => {
                    files.config = Some((path, text));
                    files.folder.clone_from(folder);
                    return Ok(files);
                }
                Ok(None) => {}
                Err(why) => return Err(format!("could not read {path}: {why}")),
            }
        }
        // The other files may be there without it.
        files.folder = files.searched.first().cloned().unwrap_or_default();
        Ok(files)
    }

    /// A path of the configuration: relative ones (`pool_passwd`, `ssl_key`) are relative to the
    /// folder of `pgpool.conf`.
    pub(super) fn beside(&self, path: &str) -> String {
        if path.starts_with('/') || self.folder == "." {
            path.to_owned()
        } else {
            format!("{}/{path}", self.folder)
        }
    }

    /// The file of authentication rules.
    pub(super) fn hba(&self) -> String {
        self.hba.clone().unwrap_or_else(|| self.beside("pool_hba.conf"))
    }

    /// The file of user name maps, beside the one of authentication rules.
    pub(super) fn ident(&self) -> String {
        match self.hba().rsplit_once('/') {
            Some((folder, _)) => format!("{folder}/pool_ident.conf"),
            None => "pool_ident.conf".to_owned(),
        }
    }

    /// The file of PCP users.
    pub(super) fn pcp(&self) -> String {
        self.pcp.clone().unwrap_or_else(|| self.beside("pcp.conf"))
    }

    /// What a key and a certificate in the configuration folder set: as in the image, TLS is on,
    /// whatever file and environment say.
    pub(super) fn mounted_certificate(
        &self,
        read: &mut Read<'_>,
        notices: &mut Vec<Notice>,
    ) -> Option<[Given; 3]> {
        if !self.whole_folder {
            return None;
        }
        for (key, certificate) in CERTIFICATES.map(|(a, b)| (self.beside(a), self.beside(b))) {
            // One that cannot be read is there, and a fault for whoever uses it.
            let mut exists =
                |path: &str| !matches!(read(path).map(|text| text.map(Zeroizing::new)), Ok(None));
            let (has_key, has_certificate) = (exists(&key), exists(&certificate));
            let missing = match (has_key, has_certificate) {
                (false, false) => continue,
                (true, true) => {
                    let origin = Origin::whole(&Arc::from(certificate.as_str()));
                    notices.push(Notice {
                        level: Level::Notice,
                        origin: Some(origin.clone()),
                        text: "this certificate is used: ssl is on".to_owned(),
                    });
                    let given = |name: &str, value: &str| Given {
                        name: name.to_owned(),
                        value: Zeroizing::new(value.to_owned()),
                        origin: origin.clone(),
                    };
                    return Some([
                        given("ssl", "on"),
                        given("ssl_key", &key),
                        given("ssl_cert", &certificate),
                    ]);
                }
                (true, false) => certificate,
                (false, true) => key,
            };
            notices.push(Notice {
                level: Level::Warning,
                origin: None,
                text: format!("the certificate there is not used: there is no {missing}"),
            });
        }
        None
    }

    /// Values for what nothing else sets.
    pub(super) fn defaults(&self, given: &[Given]) -> Vec<Given> {
        if self.config.is_some() {
            return Vec::new();
        }
        let has_first = given.iter().any(|g| g.name.eq_ignore_ascii_case("backend_hostname0"));
        let weight = has_first.then_some(("backend_weight0", "1"));
        IMAGE_DEFAULTS
            .into_iter()
            .chain(weight)
            .map(|(name, value)| Given {
                name: name.to_owned(),
                value: Zeroizing::new(value.to_owned()),
                origin: Origin::Image,
            })
            .collect()
    }
}
