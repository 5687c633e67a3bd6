//! Input that is at fault, seen before anything boots.

use std::fs;
use std::path::Path;
use std::process::Command;

use berth_qemu_tests::appliance::{PROBE_IMAGE, probe_unit};
use berth_qemu_tests::control::berth;
use berth_qemu_tests::{Outcome, ensure, ensure_eq};

use crate::lab::Lab;

pub fn five_faults_are_five_diagnostics(lab: &mut Lab) -> Outcome {
    let appliance = lab.appliance()?;
    appliance.unit("spelling", &probe_unit(&["sleep"], "[memroy]\nmax = \"8M\"\n"))?;
    appliance.unit("value", &probe_unit(&["sleep"], "[memory]\nmax = \"lots\"\n"))?;
    appliance.unit("cycle-a", &probe_unit(&["sleep"], "[depends.cycle-b]\nuntil = \"ready\"\n"))?;
    appliance.unit("cycle-b", &probe_unit(&["sleep"], "[depends.cycle-a]\nuntil = \"ready\"\n"))?;
    appliance.unit("port-a", &probe_unit(&["sleep"], "[ports.p]\nhost = 80\ncontainer = 80\n"))?;
    appliance.unit("port-b", &probe_unit(&["sleep"], "[ports.p]\nhost = 80\ncontainer = 80\n"))?;
    appliance.unit("no-toml", "schema = 1\n[image\n")?;
    let dir = appliance.dir().display().to_string();
    let said = berth(&["check", &dir], b"")?;
    ensure_eq!(said.code, 1);
    let all = format!("{}{}", said.stdout, said.stderr);
    let faults: Vec<&str> = all.lines().filter(|line| line.contains(": error[BU")).collect();
    ensure!(faults.len() == 5, "{} diagnostics:\n{all}", faults.len());
    for word in ["did you mean 'memory'", "'lots'", "cycle", "80", "no-toml.toml:2:"] {
        ensure!(all.contains(word), "no {word:?} in:\n{all}");
    }
    let built = berth(&["build", &dir, "-o", &format!("{dir}/out")], b"")?;
    ensure_eq!(built.code, 1);
    Ok(())
}

pub fn broken_images_are_refused(lab: &mut Lab) -> Outcome {
    let appliance = lab.appliance()?;
    let dir = appliance.dir().to_owned();
    appliance.probe("one", &["sleep"], "")?;
    let archive = fs::read(PROBE_IMAGE)?;
    let link = dir.join("images/probe.tar");
    fs::remove_file(&link)?;

    fs::write(&link, archive.get(..archive.len() / 2).unwrap_or_default())?;
    refused(&dir, &["probe.tar"])?;
    fs::remove_file(&link)?;

    let layout = dir.join("images/probe");
    unpack(&layout)?;
    let blob = largest_blob(&layout)?;
    let mut bytes = fs::read(&blob)?;
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
    fs::write(&blob, bytes)?;
    let digest = blob.file_name().unwrap_or_default().to_string_lossy().into_owned();
    refused(&dir, &[digest.get(..12).unwrap_or("?")])?;
    fs::remove_dir_all(&layout)?;

    climbing_archive(&dir)?;
    refused(&dir, &["climber.tar", "../"])?;
    ensure!(!dir.join("evil").exists(), "a file outside the store was written");
    Ok(())
}

/// A docker-archive whose only layer holds the path `../../evil`.
fn climbing_archive(dir: &Path) -> Outcome {
    let work = dir.join("climber");
    fs::create_dir_all(&work)?;
    fs::write(work.join("evil"), "outside")?;
    run("tar", &work, &["-cPf", "layer.tar", "--transform", "s,^,../../,", "evil"])?;
    let sum = run("sha256sum", &work, &["layer.tar"])?;
    let digest = sum.split_whitespace().next().unwrap_or_default();
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{}},"rootfs":{{"type":"layers","diff_ids":["sha256:{digest}"]}}}}"#
    );
    fs::write(work.join("config.json"), config)?;
    let manifest = r#"[{"Config":"config.json","RepoTags":["berth-tests/probe:1"],"Layers":["layer.tar"]}]"#;
    fs::write(work.join("manifest.json"), manifest)?;
    let archive = ["-cf", "../images/climber.tar", "manifest.json", "config.json", "layer.tar"];
    run("tar", &work, &archive).map(drop)
}

/// Standard output of a program that has to succeed.
fn run(program: &str, dir: &Path, words: &[&str]) -> Outcome<String> {
    let output = Command::new(program).current_dir(dir).args(words).output()?;
    ensure!(output.status.success(), "{program}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(String::from_utf8(output.stdout)?)
}

/// `berth build` fails with 1, says these words, and leaves nothing that could be booted.
fn refused(dir: &Path, words: &[&str]) -> Outcome {
    let out = dir.join("out");
    let said = berth(&["build", &dir.display().to_string(), "-o", &out.display().to_string()], b"")?;
    ensure!(said.code == 1, "{said:?}");
    for word in words {
        ensure!(said.stderr.contains(word), "no '{word}' in: {}", said.stderr);
    }
    ensure!(!out.join("initrd").exists(), "something was built");
    Ok(())
}

fn unpack(layout: &Path) -> Outcome {
    fs::create_dir_all(layout)?;
    let archive = fs::canonicalize(PROBE_IMAGE)?;
    run("tar", layout, &["-xf", &archive.display().to_string()]).map(drop)
}

fn largest_blob(layout: &Path) -> Outcome<std::path::PathBuf> {
    let mut blobs = Vec::new();
    for entry in fs::read_dir(layout.join("blobs/sha256"))? {
        let entry = entry?;
        blobs.push((entry.metadata()?.len(), entry.path()));
    }
    blobs.sort();
    Ok(blobs.pop().ok_or("the layout has no blob")?.1)
}
