//! `berth bundle`: makes a bundle of an appliance directory, and says what is in one.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use berth_image::build::sources;
use berth_image::bundle::{Bundle, BundleError, Contents, ImageContent, collect, pack_to};
use berth_image::depot::{Depot, DepotError, Guard, Keep, Limits};
use berth_image::extent::Extent;
use berth_image::import::architecture;
use berth_units::{Reference, human};
use serde_json::json;

use crate::appliance::{Appliance, read_appliance};
use crate::failure::{Cannot, Failure};
use crate::output::{note, print, print_json};
use crate::report;
use crate::trust::{read_policy, read_public, read_secret};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  berth bundle appliance -o shop.bundle --key shop.key\n  \
    berth bundle --inspect shop.bundle --pubkey shop.key.pub\n\n\
    The same input gives the same bytes. Its images can be read by skopeo: skopeo inspect oci-archive:shop.bundle:NAME")]
pub struct Args {
    /// Appliance directory: node.toml, units/*.toml, images/
    #[arg(required_unless_present = "inspect", requires = "out")]
    dir: Option<PathBuf>,
    /// Where to; replaced when it is complete
    #[arg(short, long, value_name = "FILE", requires = "dir")]
    out: Option<PathBuf>,
    /// Secret key to sign with, of 'berth keys new' or minisign
    #[arg(long, value_name = "FILE", requires = "dir")]
    key: Option<PathBuf>,
    /// An OS to go with it: a UKI
    #[arg(long, value_name = "FILE", requires = "dir")]
    os: Option<PathBuf>,
    /// Store to take images from that are not in images/
    #[arg(long, value_name = "DIR", requires = "dir")]
    store: Option<PathBuf>,
    /// Check every byte of a bundle and show what is in it
    #[arg(long, value_name = "FILE", conflicts_with = "dir")]
    inspect: Option<PathBuf>,
    /// Refuse it unless this key has signed it: a file or its line, any of several
    #[arg(long, value_name = "KEY", requires = "inspect")]
    pubkey: Vec<String>,
    /// Refuse it unless a key of the policy has signed it
    #[arg(long, value_name = "FILE", requires = "inspect", conflicts_with = "pubkey")]
    policy: Option<PathBuf>,
    /// With --inspect: print JSON
    #[arg(long, requires = "inspect")]
    json: bool,
}

#[derive(Debug, thiserror::Error)]
enum CannotBundle {
    #[error("cannot bundle '{path}'")]
    Make {
        path: String,
        #[source]
        source: BundleError,
    },
    #[error("'{path}' is refused")]
    Refused {
        path: String,
        #[source]
        source: BundleError,
    },
    #[error("unit '{unit}' needs image '{image}', which is neither in images/ nor in a store")]
    Missing { unit: String, image: String },
    #[error("cannot take the images of '{path}'")]
    Images {
        path: String,
        #[source]
        source: Box<dyn std::error::Error>,
    },
}

/// Does it.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    match (&args.inspect, &args.dir, &args.out) {
        (Some(file), ..) => inspect(args, file)?,
        (None, Some(dir), Some(out)) => make(args, dir, out)?,
        _ => {
            return Err(Failure::usage(
                "a bundle is made of a directory into a file: berth bundle DIR -o FILE",
            ));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn make(args: &Args, dir: &Path, out: &Path) -> Result<(), Failure> {
    let appliance = read_appliance(dir)?;
    let declared = report::check_or_fail(&appliance)?;
    let key = args.key.as_deref().map(read_secret).transpose()?;
    let open = |path: &PathBuf| File::open(path).and_then(Extent::whole).map_err(Cannot::at("read", path));
    let os = args.os.as_ref().map(open).transpose().map_err(Failure::input)?;
    let wanted: BTreeMap<&Reference, &str> =
        declared.units.values().filter_map(|unit| Some((unit.reference()?, unit.name.as_str()))).collect();
    let stores = Stores::open(args, dir, out)?;
    let mut images = Vec::new();
    for (reference, unit) in wanted {
        let missing = || CannotBundle::Missing { unit: unit.to_owned(), image: reference.familiar() };
        images.push(stores.find(reference)?.ok_or_else(|| Failure::input(missing()))?);
    }
    let contents = Contents { texts: texts(&appliance), images, os };
    let digest = pack_to(&contents, key.as_ref(), out).map_err(|source| {
        let path = dir.display().to_string();
        Failure::action(CannotBundle::Make { path, source })
    })?;
    let size = fs::metadata(out).map_or(0, |found| found.len());
    let signed = key.map_or("not signed".to_owned(), |key| format!("signed by key {}", key.public().id()));
    let short = human::short_digest(&digest.to_string()).to_owned();
    print(&format!("bundled  {}  {short}  {}  {signed}\n", out.display(), human::size(size)))
}

/// By place below /etc/berth.
fn texts(appliance: &Appliance) -> BTreeMap<String, String> {
    let node = appliance.node.iter().map(|file| ("node.toml".to_owned(), file.text.clone()));
    let units = appliance.units.iter().map(|(place, file)| (place.clone(), file.text.clone()));
    node.chain(units).collect()
}

/// Where images come from.
struct Stores {
    depots: Vec<(Depot, Guard)>,
    /// Of images/, and gone with this.
    scratch: PathBuf,
}

impl Drop for Stores {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.scratch).unwrap_or_default();
    }
}

impl Stores {
    /// A scratch store beside the bundle with what is in images/, and the one that was named.
    fn open(args: &Args, dir: &Path, out: &Path) -> Result<Self, Failure> {
        let scratch = out.with_file_name(format!(".berth-bundle-{}", std::process::id()));
        let mut stores = Self { depots: Vec::new(), scratch: scratch.clone() };
        let (images, mut warnings) = (dir.join("images"), Vec::new());
        let sources = sources(&images, &mut warnings).map_err(Failure::input)?;
        warnings.iter().for_each(|warning| note(&format!("warning: {warning}\n")));
        if !sources.is_empty() {
            make_scratch(&scratch).map_err(Cannot::at("make", &scratch)).map_err(Failure::action)?;
            let depot = Depot::create(&scratch).map_err(|error| refused(&images, error))?;
            for source in sources {
                let mut writer = depot.writer(|| ()).map_err(|error| refused(&images, error))?;
                let how = (Keep::Blobs, Limits::default());
                writer.import(&source, architecture(), how).map_err(|error| refused(&source, error))?;
            }
            stores.add(depot)?;
        }
        if let Some(store) = &args.store {
            stores.add(Depot::open(store).map_err(|error| refused(store, error))?)?;
        }
        Ok(stores)
    }

    fn add(&mut self, depot: Depot) -> Result<(), Failure> {
        let waiting = || note("waiting for another berth that changes the store\n");
        let guard = depot.reader(waiting).map_err(|error| refused(depot.root(), error))?;
        self.depots.push((depot, guard));
        Ok(())
    }

    /// An image by its name; a pinned one (`name@sha256:…`) also under a name without the digest.
    fn find(&self, wanted: &Reference) -> Result<Option<ImageContent>, Failure> {
        for (depot, _) in &self.depots {
            let index = depot.index().map_err(|error| refused(depot.root(), error))?;
            let same = |name: &Reference, digest: &str| {
                let repository = |of: &Reference| (of.registry().to_owned(), of.repository().to_owned());
                name == wanted || (wanted.digest() == Some(digest) && repository(name) == repository(wanted))
            };
            if let Some((_, image)) = index.images.iter().find(|(name, image)| same(name, &image.digest)) {
                let content = collect(depot, vec![wanted.clone()], image);
                let path = depot.root().display().to_string();
                return content
                    .map(Some)
                    .map_err(|source| Failure::action(CannotBundle::Make { path, source }));
            }
        }
        Ok(None)
    }
}

/// An empty folder of ours: a store that somebody left there would be believed.
fn make_scratch(path: &Path) -> io::Result<()> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    DirBuilder::new().mode(0o700).create(path)
}

fn refused(path: &Path, error: DepotError) -> Failure {
    Failure::input(CannotBundle::Images { path: path.display().to_string(), source: error.into() })
}

fn inspect(args: &Args, file: &Path) -> Result<(), Failure> {
    let mut keys = args.pubkey.iter().map(|key| read_public(key)).collect::<Result<Vec<_>, _>>()?;
    if let Some(policy) = &args.policy {
        keys.extend_from_slice(read_policy(policy)?.bundle_keys());
        if keys.is_empty() {
            return Err(
                Failure::input("the policy has no key for bundles").hint("[bundles] keys = [\"RWQ...\"]")
            );
        }
    }
    let bundle = Bundle::open(file, &keys).map_err(|source| {
        let path = file.display().to_string();
        Failure::input(CannotBundle::Refused { path, source })
    })?;
    if args.json {
        print_json(&described(&bundle, !keys.is_empty()))
    } else {
        print(&text(&bundle, !keys.is_empty()))
    }
}

fn text(bundle: &Bundle, verified: bool) -> String {
    let digest = bundle.digest();
    let mut text = format!("bundle   {digest}\n");
    let signed = match bundle.signature() {
        None => "not signed".to_owned(),
        Some(signature) if verified => format!("by key {}, verified", signature.id()),
        Some(signature) => format!("by key {}, as it says; not verified: give --pubkey", signature.id()),
    };
    // Writing to a String cannot fail.
    writeln!(text, "signed   {signed}").unwrap_or_default();
    for name in bundle.texts().keys() {
        writeln!(text, "units    {name}").unwrap_or_default();
    }
    for image in bundle.images() {
        let (name, digest) = (image.name.familiar(), image.digest.to_string());
        writeln!(text, "image    {name}  {}  {}", human::short_digest(&digest), human::size(image.size))
            .unwrap_or_default();
    }
    if let Some((digest, os)) = bundle.os() {
        let digest = digest.to_string();
        writeln!(text, "os       {}  {}", human::short_digest(&digest), human::size(os.len()))
            .unwrap_or_default();
    }
    text
}

fn described(bundle: &Bundle, verified: bool) -> serde_json::Value {
    let images = bundle.images().iter().map(|image| {
        json!({"name": image.name.to_string(), "digest": image.digest.to_string(), "size": image.size})
    });
    json!({
        "digest": bundle.digest().to_string(),
        "key": bundle.signature().map(|signature| signature.id().to_string()),
        "verified": verified,
        "units": bundle.texts().keys().collect::<BTreeSet<_>>(),
        "images": images.collect::<Vec<_>>(),
        "os": bundle.os().map(|(digest, os)| json!({"digest": digest.to_string(), "size": os.len()})),
    })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn scratch_is_empty_and_ours() {
        let dir = std::env::temp_dir().join(format!("berth-scratch-{}", std::process::id()));
        let (path, theirs) = (dir.join("scratch"), dir.join("theirs"));
        for folder in [&path, &theirs] {
            fs::create_dir_all(folder).unwrap();
            fs::write(folder.join("index.json"), "{}").unwrap();
        }
        let check = || {
            make_scratch(&path).unwrap();
            let meta = fs::symlink_metadata(&path).unwrap();
            assert!(meta.is_dir() && meta.permissions().mode() & 0o077 == 0, "{meta:?}");
            assert_eq!(fs::read_dir(&path).unwrap().count(), 0);
        };
        check();
        fs::remove_dir(&path).unwrap();
        symlink(&theirs, &path).unwrap();
        check();
        assert!(theirs.join("index.json").exists());
        fs::remove_dir_all(&dir).unwrap();
    }
}
