//! `berth image verify`: what is damaged, and how it comes right again.

use std::path::Path;
use std::process::ExitCode;

use berth_image::depot::{Damage, Part};
use berth_units::{Reference, human};

use super::pull::Source;
use super::{failure, open, pull, waiting, writer};
use crate::failure::{Failure, Kind};
use crate::output::{note, print, printable};

/// Arguments.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Fetch what is damaged again, from where its image comes from
    #[arg(long)]
    repair: bool,
    #[command(flatten)]
    from: Source,
}

/// Reads all, and repairs when it is asked to.
pub fn run(store: &Path, args: &Args) -> Result<ExitCode, Failure> {
    let damages = look(store)?;
    if damages.is_empty() {
        return Ok(ExitCode::SUCCESS);
    }
    if !args.repair {
        note(&format!(
            "help: 'berth image --store {} verify --repair' fetches them again\n",
            store.display()
        ));
        return Ok(Kind::Input.exit_code());
    }
    let depot = open(store)?;
    let index = depot.index().map_err(|error| failure(store, error))?;
    writer(&depot)?.discard(&damages).map_err(|error| failure(store, error))?;
    let mut done = Vec::new();
    for name in damages.iter().flat_map(|damage| &damage.images) {
        let Some(image) = index.images.get(name).filter(|image| !done.contains(&image.digest)) else {
            continue;
        };
        pull::again(&depot, name, image, &args.from).map_err(|failure| {
            failure.hint(format!("if '{}' came from a file, import that again", name.familiar()))
        })?;
        done.push(image.digest.clone());
    }
    match look(store)?.is_empty() {
        true => Ok(ExitCode::SUCCESS),
        false => Ok(Kind::Action.exit_code()),
    }
}

fn look(store: &Path) -> Result<Vec<Damage>, Failure> {
    let depot = open(store)?;
    let _lock = depot.reader(|| waiting(store)).map_err(|error| failure(store, error))?;
    let (damages, files, bytes) = depot.verify(&mut |_, _| {}).map_err(|error| failure(store, error))?;
    for damage in &damages {
        let part = match damage.part {
            Part::Manifest => "manifest",
            Part::Config => "configuration",
            Part::Blob => "layer",
            Part::Layer => "unpacked layer",
        };
        let images: Vec<_> = damage.images.iter().map(Reference::familiar).collect();
        let (digest, path) = (&damage.digest, damage.path.display());
        let text = format!("damaged  {part} {digest} of {} ({path}): {}", images.join(", "), damage.why);
        print(&format!("{}\n", printable(&text)))?;
    }
    match damages.len() {
        0 => print(&format!("verified {files} files, {}: all as they should be\n", human::size(bytes)))?,
        bad => print(&format!("verified {files} files: {bad} damaged\n"))?,
    }
    Ok(damages)
}
