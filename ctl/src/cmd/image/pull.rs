//! `berth image pull`: an image from a registry into the store.

use std::path::{Path, PathBuf};
use std::time::Instant;

use berth_image::depot::{Depot, DepotError, Keep, Limits};
use berth_image::import::architecture;
use berth_image::import::description::Machine;
use berth_image::registry::{Credentials, Pulled, RegistryError, Request, Settings, pull};
use berth_units::wire::image::StoredImage;
use berth_units::{Reference, human};

use super::bars::Bars;
use crate::trust::read_policy;

use super::{How, failure, size, waiting};
use crate::failure::{Cannot, Failure};

/// Where Debian and others have the certificates of all authorities.
const SYSTEM_ROOTS: [&str; 3] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/cert.pem"];

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Image, e.g. registry.example.com/shop/web:1.4
    #[arg(value_parser = Reference::parse)]
    image: Reference,
    /// Which signatures it needs, a TOML file
    #[arg(long, value_name = "FILE", env = "BERTH_POLICY")]
    policy: Option<PathBuf>,
    #[command(flatten)]
    from: Source,
    #[command(flatten)]
    how: How,
}

/// How to speak with a registry.
#[derive(Debug, clap::Args)]
pub struct Source {
    /// Speak HTTP without TLS
    #[arg(long)]
    plain_http: bool,
    /// User and password; the variable keeps them off the command line
    #[arg(long, value_name = "USER:PASS", env = "BERTH_CREDS", hide_env_values = true)]
    creds: Option<String>,
    /// File with user:password
    #[arg(long, value_name = "FILE", conflicts_with = "creds")]
    creds_file: Option<PathBuf>,
    /// Authorities to trust, PEM, in place of the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Certificate of ours, PEM, with its chain
    #[arg(long, value_name = "FILE", requires = "key")]
    cert: Option<PathBuf>,
    /// Its key, PEM
    #[arg(long, value_name = "FILE", requires = "cert")]
    key: Option<PathBuf>,
    /// Asked before the registry, in this order
    #[arg(long, value_name = "[http://]HOST[:PORT]")]
    mirror: Vec<String>,
    /// Most bytes a second, e.g. 2M
    #[arg(long, value_name = "SIZE", value_parser = size)]
    limit_rate: Option<u64>,
    /// Layers at a time
    #[arg(long, value_name = "N", default_value = "3", value_parser = clap::value_parser!(u8).range(1..=16))]
    parallel: u8,
}

impl Source {
    /// Whether something in it is for one registry alone.
    pub fn is_personal(&self) -> bool {
        let credentials = self.creds.is_some() || self.creds_file.is_some();
        credentials || self.plain_http || self.cert.is_some()
    }

    fn settings(&self) -> Result<Settings, Failure> {
        let read =
            |path: &PathBuf| std::fs::read(path).map_err(Cannot::at("read", path)).map_err(Failure::input);
        let creds = match &self.creds_file {
            Some(path) => Some(String::from_utf8_lossy(&read(path)?).trim_end().to_owned()),
            None => self.creds.clone(),
        };
        let credentials = creds.map(|text| match text.split_once(':') {
            Some((user, password)) => {
                Ok(Credentials { user: user.to_owned(), password: password.to_owned() })
            }
            None => Err(Failure::usage("credentials are USER:PASS")),
        });
        let client = match (&self.cert, &self.key) {
            (Some(cert), Some(key)) => Some((read(cert)?, read(key)?)),
            _ => None,
        };
        let roots = match &self.ca {
            Some(path) => read(path)?,
            None => SYSTEM_ROOTS.iter().find_map(|path| std::fs::read(path).ok()).unwrap_or_default(),
        };
        Ok(Settings {
            plain_http: self.plain_http,
            credentials: credentials.transpose()?,
            roots,
            client,
            mirrors: self.mirror.clone(),
            rate: self.limit_rate,
            parallel: self.parallel.into(),
            ..Settings::default()
        })
    }
}

/// Pulls.
pub fn run(store: &Path, args: &Args) -> Result<(), Failure> {
    let depot = Depot::create(store).map_err(|error| failure(store, error))?;
    let start = Instant::now();
    let machine = match &args.how.platform {
        Some((architecture, variant)) => {
            Machine { architecture: architecture.clone(), variant: variant.clone() }
        }
        None => Machine::of(architecture()),
    };
    let (keep, limits) = args.how.keep();
    let names = [args.image.clone()];
    let request = Request { reference: &args.image, names: &names, machine: &machine, keep, limits };
    let pulled = fetch(&depot, &request, (&args.from, args.policy.as_deref()), args.how.quiet)?;
    let (name, digest) = (args.image.familiar(), pulled.digest.to_string());
    let short = human::short_digest(&digest);
    args.how.say(&match pulled.new {
        false => format!("present  {name}  {short}\n"),
        true => {
            let (size, took) = (human::size(pulled.fetched), human::duration(start.elapsed()));
            format!("pulled   {name}  {short}  {size} in {took}\n")
        }
    })
}

/// Pulls what an image of the store has lost.
pub fn again(depot: &Depot, name: &Reference, image: &StoredImage, from: &Source) -> Result<(), Failure> {
    let reference = name.pinned(&image.digest).map_err(Failure::action)?;
    let keep = if image.layers.is_empty() { Keep::Blobs } else { Keep::Layers };
    let machine = Machine::of(architecture());
    let names = [name.clone()];
    let limits = Limits::default();
    let request = Request { reference: &reference, names: &names, machine: &machine, keep, limits };
    fetch(depot, &request, (from, None), false).map(drop)
}

fn fetch(
    depot: &Depot,
    request: &Request<'_>,
    (from, policy): (&Source, Option<&Path>),
    quiet: bool,
) -> Result<Pulled, Failure> {
    let mut settings = from.settings()?;
    if let Some(policy) = policy {
        settings.policy = read_policy(policy)?;
    }
    let mut writer = depot.writer(|| waiting(depot.root())).map_err(|error| failure(depot.root(), error))?;
    let bars = Bars::of_stderr(quiet);
    let result = pull(&mut writer, request, &settings, &bars);
    bars.end();
    result.map_err(|error| refused(depot.root(), request.reference, error))
}

#[derive(Debug, thiserror::Error)]
#[error("cannot pull '{name}'")]
struct CannotPull {
    name: String,
    #[source]
    source: RegistryError,
}

/// Whose fault it is, and what to do about it.
fn refused(store: &Path, reference: &Reference, error: RegistryError) -> Failure {
    let hint = match &error {
        RegistryError::Depot(_) => None,
        RegistryError::Connection { .. } if error.is_tls() => Some(
            "a private authority's certificate is given with --ca FILE; a registry without TLS needs --plain-http",
        ),
        RegistryError::Connection { .. } | RegistryError::Broken { .. } | RegistryError::Busy { .. } => {
            Some("the same command goes on with what is already here")
        }
        RegistryError::NoRoots => Some("install ca-certificates or give --ca FILE"),
        RegistryError::Denied { .. } => Some("--creds USER:PASS or --creds-file FILE; is the name right?"),
        RegistryError::NotFound { .. } => Some("is the name right, and the tag?"),
        _ => None,
    };
    let failure = match error {
        RegistryError::Depot(DepotError::Image(fault)) => {
            let source = RegistryError::Image(fault);
            Failure::input(CannotPull { name: reference.familiar(), source })
        }
        RegistryError::Depot(error) => return failure(store, error),
        error @ (RegistryError::Image(_) | RegistryError::Unsigned(_)) => {
            Failure::input(CannotPull { name: reference.familiar(), source: error })
        }
        source => Failure::action(CannotPull { name: reference.familiar(), source }),
    };
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
