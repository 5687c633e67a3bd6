//! `berth image verify`: what is damaged, and how it comes right again.

use std::collections::BTreeSet;
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
    if args.from.is_personal() {
        of_one_registry(damages.iter().flat_map(|damage| &damage.images))?;
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

/// A password for one registry is not for another one to see.
fn of_one_registry<'a>(images: impl Iterator<Item = &'a Reference>) -> Result<(), Failure> {
    let registries: BTreeSet<_> = images.map(Reference::registry).collect();
    if registries.len() < 2 {
        return Ok(());
    }
    let list = registries.into_iter().collect::<Vec<_>>().join(", ");
    let text = format!(
        "credentials, --cert and --plain-http are for one registry, and what is damaged is of {list}"
    );
    Err(Failure::usage(text)
        .hint("repair without them, or first forget the images of all registries but one ('berth image rm', then 'prune'), and pull them again"))
}

fn look(store: &Path) -> Result<Vec<Damage>, Failure> {
    let depot = open(store)?;
    let _lock = depot.reader(|| waiting(store)).map_err(|error| failure(store, error))?;
    let (damages, files, bytes) = depot.verify().map_err(|error| failure(store, error))?;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_for_one_registry() {
        let check = |names: &[&str]| {
            let names: Vec<_> = names.iter().map(|name| Reference::parse(name).unwrap()).collect();
            of_one_registry(names.iter())
        };
        assert!(check(&["reg.example.com/a:1", "reg.example.com/b/c:2"]).is_ok());
        let failure = check(&["reg.example.com/a:1", "reg.example.com:5000/a:1"]).unwrap_err();
        assert_eq!(failure.kind, Kind::Usage);
    }
}
