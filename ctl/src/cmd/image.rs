//! `berth image`: images of a store in a folder.

mod bars;
mod list;
mod pull;
mod verify;

use std::error::Error;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use berth_image::depot::{Depot, DepotError, Keep, Limits, Writer};
use berth_image::import::architecture;
use berth_units::human;

use crate::failure::Failure;
use crate::output::{note, print};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  berth image --store images pull registry.example.com/shop/web:1.4\n  \
    berth image --store images import web.tar\n  berth image --store images ls\n  \
    berth image --store images export shop/web:1.4 web.tar\n  berth image --store images verify --repair")]
pub struct Args {
    /// Folder of the store; `pull` and `import` make it
    #[arg(long, env = "BERTH_STORE", value_name = "DIR")]
    store: PathBuf,
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Fetch an image from a registry
    Pull(pull::Args),
    /// Take in the images of a file: docker save, podman save, skopeo, an OCI layout
    Import {
        /// Archive (docker-archive or oci-archive, compressed or not) or layout folder
        file: PathBuf,
        #[command(flatten)]
        how: How,
    },
    /// List images
    Ls {
        /// Print JSON; its members are described in docs/contract.md
        #[arg(long)]
        json: bool,
    },
    /// Print all that is known of an image as JSON
    Inspect {
        /// Its name, or its digest
        image: String,
    },
    /// Write an image to a file as an oci-archive
    Export {
        /// Its name, or its digest
        image: String,
        /// Where to; replaced when it is complete
        file: PathBuf,
    },
    /// Forget images; `prune` then frees their space
    Rm {
        /// Names or digests
        #[arg(required = true)]
        images: Vec<String>,
    },
    /// Read and hash every file again; name what is damaged
    Verify(verify::Args),
    /// Remove what no image needs, half-pulled layers too
    Prune,
}

/// How images come in.
#[derive(Debug, clap::Args)]
struct How {
    /// Of a multi-platform image: os/architecture[/variant]
    #[arg(long, value_name = "PLATFORM", value_parser = platform)]
    platform: Option<(String, Option<String>)>,
    /// Keep layers unpacked, as a node does, and not as they were received
    #[arg(long)]
    unpack: bool,
    /// Bytes of the disk that stay free, e.g. 1G
    #[arg(long, value_name = "SIZE", default_value = "64M", value_parser = size)]
    reserve: u64,
    /// Say nothing unless it fails
    #[arg(short, long)]
    quiet: bool,
}

impl How {
    fn keep(&self) -> (Keep, Limits) {
        let keep = if self.unpack { Keep::Layers } else { Keep::Blobs };
        (keep, Limits { reserve: self.reserve, ..Limits::default() })
    }

    fn architecture(&self) -> &str {
        self.platform.as_ref().map_or(architecture(), |(architecture, _)| architecture)
    }

    fn say(&self, text: &str) -> Result<(), Failure> {
        if self.quiet { Ok(()) } else { print(text) }
    }
}

fn platform(text: &str) -> Result<(String, Option<String>), String> {
    let parts: Vec<_> = text.split('/').collect();
    match parts.as_slice() {
        ["linux", architecture] => Ok(((*architecture).to_owned(), None)),
        ["linux", architecture, variant] => Ok(((*architecture).to_owned(), Some((*variant).to_owned()))),
        _ => Err("linux/amd64 and linux/arm64/v8 are platforms".to_owned()),
    }
}

fn size(text: &str) -> Result<u64, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let shift = match text.get(digits.len()..) {
        Some("") => 0,
        Some("K") => 10,
        Some("M") => 20,
        Some("G") => 30,
        _ => return Err("a size is a number with K, M or G behind it".to_owned()),
    };
    let number: u64 = digits.parse().map_err(|_| "a size is a number with K, M or G behind it".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "it is too large".to_owned())
}

/// Does it.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let store = &args.store;
    match &args.what {
        What::Pull(pull) => pull::run(store, pull)?,
        What::Import { file, how } => import(store, file, how)?,
        What::Ls { json } => list::list(&open(store)?, *json)?,
        What::Inspect { image } => list::inspect(&open(store)?, image)?,
        What::Export { image, file } => {
            let depot = open(store)?;
            let _lock = depot.reader(|| waiting(store)).map_err(|error| failure(store, error))?;
            let (name, image) = depot.find(image).map_err(|error| failure(store, error))?;
            depot.export(&name, &image, file).map_err(|error| failure(store, error))?;
        }
        What::Rm { images } => {
            let depot = open(store)?;
            let mut writer = writer(&depot)?;
            for image in images {
                let (name, _) = writer.remove(image).map_err(|error| failure(store, error))?;
                print(&format!("removed  {}\n", name.familiar()))?;
            }
        }
        What::Verify(verify) => return verify::run(store, verify),
        What::Prune => {
            let depot = open(store)?;
            let swept = writer(&depot)?.prune().map_err(|error| failure(store, error))?;
            print(&format!("pruned   {} files, {}\n", swept.files, human::size(swept.bytes)))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn import(store: &Path, file: &Path, how: &How) -> Result<(), Failure> {
    let depot = Depot::create(store).map_err(|error| failure(store, error))?;
    let mut writer = writer(&depot)?;
    let names = writer.import(file, how.architecture(), how.keep()).map_err(|error| failure(store, error))?;
    for (name, new) in names {
        let size = writer.index().images.get(&name).map_or(0, |image| image.size);
        let word = if new { "imported" } else { "present" };
        how.say(&format!("{word:<8} {}  {}\n", name.familiar(), human::size(size)))?;
    }
    Ok(())
}

/// A store that must be there.
fn open(store: &Path) -> Result<Depot, Failure> {
    Depot::open(store).map_err(|error| {
        failure(store, error)
            .hint("'berth image --store DIR pull' and 'import' make a store; is the folder right?")
    })
}

fn writer(depot: &Depot) -> Result<Writer<'_>, Failure> {
    depot.writer(|| waiting(depot.root())).map_err(|error| failure(depot.root(), error))
}

fn waiting(store: &Path) {
    note(&format!("waiting for another berth that changes '{}'\n", store.display()));
}

/// Whose fault it is, and what to do about it.
fn failure(store: &Path, error: DepotError) -> Failure {
    let store = store.display();
    match &error {
        DepotError::NoImage { names, .. } => {
            let hint = match names.as_slice() {
                [] => "the store has no image yet".to_owned(),
                names => format!("it has {}", names.join(", ")),
            };
            Failure::input(error).hint(hint)
        }
        DepotError::Space { .. } => {
            let hint = format!("free some: 'berth image --store {store} prune' removes what no image needs");
            Failure::action(error).hint(hint)
        }
        DepotError::Damaged(_) => Failure::action(error)
            .hint(format!("'berth image --store {store} verify --repair' finds and fetches what is damaged")),
        DepotError::NotKept(_) => Failure::action(error)
            .hint("pull or import it without --unpack into another store and export it there"),
        DepotError::Image(_)
        | DepotError::Import(_)
        | DepotError::Index { .. }
        | DepotError::Format { .. } => Failure::input(error),
        DepotError::Io { .. } | DepotError::Layer { .. } => Failure::action(Box::<dyn Error>::from(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn platforms_and_sizes() {
        assert_eq!(platform("linux/amd64"), Ok(("amd64".to_owned(), None)));
        assert_eq!(platform("linux/arm/v7"), Ok(("arm".to_owned(), Some("v7".to_owned()))));
        assert!(platform("amd64").is_err() && platform("windows/amd64").is_err());
        assert_eq!((size("64M"), size("7"), size("1G")), (Ok(64 << 20), Ok(7), Ok(1 << 30)));
        assert!(size("x").is_err() && size("99999999999G").is_err() && size("1T").is_err());
    }
}
