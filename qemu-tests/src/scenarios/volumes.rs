//! Volumes: their size, what becomes of them, and how they go to another node.

use berth_qemu_tests::appliance::{Appliance, probe_unit};
use berth_qemu_tests::vm::{Options, SOON, Vm};
use berth_qemu_tests::{Outcome, ensure, ensure_eq};
use berth_units::wire::control::{VolumeStatus, Volumes};

use crate::lab::Lab;

const MIB: u64 = 1 << 20;
/// EDQUOT: what ext4 says for a project that is full.
const FULL: &str = "122";

/// Files of the set: the keeper of the node, two units with a volume each.
fn set(size: &str) -> Vec<(&'static str, String)> {
    let keeper = "[security]\nprofile = \"privileged\"\n[update]\nhealthy_for = \"1s\"\n\
                  [mounts.data]\nbind = \"/data\"\ntarget = \"/node-data\"\nread_only = false\n";
    let with = |volume: &str| format!("[mounts.own]\nvolume = \"{volume}\"\ntarget = \"/own\"\n");
    vec![
        ("keeper", probe_unit(&["sleep"], keeper)),
        ("clerk", probe_unit(&["sleep"], &with("books"))),
        ("neighbour", probe_unit(&["sleep"], &with("shelf"))),
        ("books", format!("schema = 1\nkind = \"volume\"\nmode = \"0750\"\nsize = \"{size}\"\n")),
    ]
}

/// A set in the place of the one on the data disk.
fn put_set(vm: &Vm, number: u32, files: &[(&'static str, String)]) -> Outcome {
    let new = format!("/node-data/set-{number}");
    vm.probe("keeper", &["make-dir", &new])?;
    for (name, text) in files {
        vm.probe("keeper", &["write", &format!("{new}/{name}.toml"), text])?;
    }
    let verb = if number == 1 { "rename" } else { "exchange" };
    vm.probe("keeper", &[verb, &new, "/node-data/units"]).map(drop)
}

/// Bytes of the volume that a unit has at /own, and bytes free.
fn space(vm: &Vm, unit: &str) -> Outcome<(u64, u64)> {
    let said = vm.probe(unit, &["space", "/own"])?;
    let (total, free) = said.trim().split_once(' ').ok_or("two numbers")?;
    Ok((total.parse()?, free.parse()?))
}

/// Fills the volume: bytes that went in.
fn fill(vm: &Vm, unit: &str, file: &str) -> Outcome<u64> {
    let said = vm.probe(unit, &["fill", file])?;
    let (written, errno) = said.trim().split_once(' ').ok_or("two numbers")?;
    ensure_eq!(errno, FULL);
    Ok(written.parse()?)
}

pub fn volume_size_holds_and_changes_live(lab: &mut Lab) -> Outcome {
    let appliance = lab.appliance()?;
    write(&appliance, &set("8M"))?;
    let mut vm = lab.boot(&appliance, &Options::default())?;
    vm.wait_ready(&["keeper", "clerk", "neighbour"])?;
    ensure_eq!(space(&vm, "clerk")?.0, 8 * MIB);
    let written = fill(&vm, "clerk", "/own/one")?;
    ensure!((7 * MIB..=8 * MIB).contains(&written), "{written} bytes went into 8 MiB");
    // The neighbour has all that is left of the disk.
    ensure!(space(&vm, "neighbour")?.1 > 100 * MIB, "the neighbour has no room");
    vm.probe("neighbour", &["append", "/own/note", "still writing"])?;

    let pid = vm.pid("clerk")?;
    put_set(&vm, 1, &set("16M"))?;
    vm.wait_for("the new size", SOON, |vm| Ok((space(vm, "clerk")?.0 == 16 * MIB).then_some(())))?;
    let more = fill(&vm, "clerk", "/own/two")?;
    ensure!((7 * MIB..=9 * MIB).contains(&more), "{more} more bytes went into 16 MiB");
    put_set(&vm, 2, &set("4M"))?;
    vm.wait_for_console("more than its new size 4M", SOON)?;
    ensure_eq!(space(&vm, "clerk")?.0, 16 * MIB);
    ensure_eq!(vm.pid("clerk")?, pid);

    vm.cut_power()?;
    vm.start_again()?;
    vm.wait_ready(&["keeper", "clerk", "neighbour"])?;
    ensure_eq!(space(&vm, "clerk")?.0, 16 * MIB);
    ensure_eq!(fill(&vm, "clerk", "/own/three")? / MIB, 0);
    vm.power_off()
}

fn write(appliance: &Appliance, files: &[(&'static str, String)]) -> Outcome {
    for (name, text) in files {
        appliance.unit(name, text)?;
    }
    Ok(())
}

/// What `berth volume ls` knows of a volume.
fn volume(vm: &Vm, name: &str) -> Outcome<Option<VolumeStatus>> {
    let all: Volumes = serde_json::from_str(&vm.berth(&["volume", "ls", "--json"], b"")?.ok()?)?;
    Ok(all.volumes.into_iter().find(|volume| volume.name.as_str() == name))
}

/// A command that has to fail, and say this.
fn refused(vm: &Vm, words: &[&str], stdin: &[u8], why: &str) -> Outcome {
    let said = vm.berth(words, stdin)?;
    ensure_eq!(said.code, 4);
    ensure!(said.stderr.contains(why), "{words:?} says: {}", said.stderr);
    Ok(())
}

pub fn volumes_are_copied_replaced_and_deleted(lab: &mut Lab) -> Outcome {
    let appliance = lab.appliance()?;
    let mut files = set("8M");
    let scribe = "[mounts.own]\nvolume = \"notes\"\ntarget = \"/own\"\n";
    files.push(("scribe", probe_unit(&["sleep"], scribe)));
    files.push(("notes", "schema = 1\nkind = \"volume\"\nretain = \"delete\"\n".to_owned()));
    write(&appliance, &files)?;
    let mut vm = lab.boot(&appliance, &Options::default())?;
    vm.wait_ready(&["keeper", "clerk", "neighbour", "scribe"])?;
    vm.probe("clerk", &["make-dir", "/own/a/b"])?;
    vm.probe("clerk", &["append", "/own/a/b/ledger", "one"])?;
    let books = volume(&vm, "books")?.ok_or("no volume 'books'")?;
    ensure_eq!((books.size, books.limit), (Some(8 * MIB), Some(8 * MIB)));
    ensure!(books.used.is_some_and(|used| used > 0 && used < MIB), "it holds {:?}", books.used);
    ensure_eq!(books.used_by.iter().map(|unit| unit.as_str()).collect::<Vec<_>>(), ["clerk"]);

    let tar = vm.berth(&["volume", "export", "books"], b"")?.ok()?;
    refused(&vm, &["volume", "rm", "-f", "books"], b"", "mounted by clerk")?;
    refused(&vm, &["volume", "import", "books"], tar.as_bytes(), "mounted by clerk")?;
    vm.probe("clerk", &["append", "/own/a/b/ledger", "two"])?;
    vm.berth(&["stop", "clerk"], b"")?.ok()?;
    // A stream that is not whole changes nothing.
    let half = tar.as_bytes().get(..tar.len() / 2).unwrap_or_default();
    refused(&vm, &["volume", "import", "books"], half, "not a whole tar file")?;
    vm.berth(&["start", "clerk"], b"")?.ok()?;
    ensure_eq!(vm.probe("clerk", &["read", "/own/a/b/ledger"])?, "one\ntwo\n");
    vm.berth(&["stop", "clerk"], b"")?.ok()?;
    vm.berth(&["volume", "import", "books"], tar.as_bytes())?.ok()?;
    vm.berth(&["start", "clerk"], b"")?.ok()?;
    ensure_eq!(vm.probe("clerk", &["read", "/own/a/b/ledger"])?, "one\n");
    ensure_eq!(space(&vm, "clerk")?.0, 8 * MIB);
    let written = fill(&vm, "clerk", "/own/rest")?;
    ensure!((7 * MIB..=8 * MIB).contains(&written), "{written} bytes went into 8 MiB");

    vm.berth(&["stop", "clerk"], b"")?.ok()?;
    refused(&vm, &["volume", "rm", "books"], b"", "is declared")?;
    vm.berth(&["volume", "rm", "-f", "books"], b"")?.ok()?;
    vm.berth(&["start", "clerk"], b"")?.ok()?;
    ensure_eq!(vm.probe("clerk", &["list", "/own"])?, "");
    ensure_eq!(fill(&vm, "clerk", "/own/all")? / MIB, 7);

    vm.probe("scribe", &["append", "/own/x", "y"])?;
    put_set(&vm, 1, files.get(..1).unwrap_or_default())?;
    vm.wait_for("the end of the volume 'notes'", SOON, |vm| {
        Ok(volume(vm, "notes")?.is_none().then_some(()))
    })?;
    let books = volume(&vm, "books")?.ok_or("volume 'books' was not kept")?;
    ensure!(!books.declared && books.used > Some(7 * MIB), "the kept volume is {books:?}");
    vm.wait_for("the end of 'clerk'", SOON, |vm| {
        Ok(volume(vm, "books")?.is_some_and(|books| books.used_by.is_empty()).then_some(()))
    })?;
    vm.berth(&["volume", "rm", "books"], b"")?.ok()?;
    vm.wait_for("an empty trash", SOON, |vm| {
        let left = vm.probe("keeper", &["list", "/node-data/volumes"])?;
        if left.trim() == "shelf" { Ok(Some(())) } else { Err(left.into()) }
    })?;
    vm.power_off()
}
