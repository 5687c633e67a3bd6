//! Files out of a container and into it.

use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, symlink};

use berth_qemu_tests::vm::{SOON, Vm};
use berth_qemu_tests::{Outcome, ensure, ensure_eq};
use berth_units::wire::control::State;

use crate::lab::Lab;

fn cp(vm: &Vm, src: &str, dst: &str) -> Outcome {
    vm.berth(&["cp", src, dst], b"")?.ok()?;
    Ok(())
}

/// What a copy that fails says.
fn refused(vm: &Vm, src: &str, dst: &str) -> Outcome<String> {
    let said = vm.berth(&["cp", src, dst], b"")?;
    ensure!(said.code == 4, "{src} to {dst}: code {}, {}", said.code, said.stderr);
    Ok(said.stderr)
}

pub fn files_are_copied_both_ways_and_no_link_leads_out(lab: &mut Lab) -> Outcome {
    let vm = lab.probes()?;
    let dir = vm.dir().join("cp");
    fs::create_dir_all(dir.join("tree/sub"))?;
    let here = |name: &str| dir.join(name).display().to_string();
    vm.berth(&["start", "scribe"], b"")?.ok()?;

    // A file, there and back, larger than anything that is held on the way.
    let text = "a line of sixteen".repeat(100_000);
    fs::write(here("note"), &text)?;
    fs::set_permissions(here("note"), Permissions::from_mode(0o4640))?;
    cp(vm, &here("note"), "scribe:/tmp")?;
    cp(vm, &here("note"), "scribe:/other")?;
    ensure!(vm.probe("scribe", &["read", "/tmp/note"])? == text, "the file has changed on its way");
    cp(vm, "scribe:/other", &here("back"))?;
    ensure!(fs::read_to_string(here("back"))? == text, "the file has changed on its way back");
    ensure_eq!(fs::metadata(here("back"))?.permissions().mode() & 0o7777, 0o640);

    // A directory: made, put into one that is there, and what is in it. Its links are a hostile container's.
    fs::write(here("tree/sub/file"), "below")?;
    symlink("/bin", here("tree/bin"))?;
    symlink("/etc", here("tree/etc"))?;
    symlink("../../../../../../../../etc", here("tree/up"))?;
    cp(vm, &here("tree"), "scribe:/made")?;
    cp(vm, &here("tree"), "scribe:/made")?;
    cp(vm, &here("tree/."), "scribe:/tmp")?;
    for path in ["/made/sub/file", "/made/tree/sub/file", "/tmp/sub/file"] {
        ensure_eq!(vm.probe("scribe", &["read", path])?, "below");
    }
    cp(vm, "scribe:/made", &here("copy"))?;
    ensure_eq!(fs::read_to_string(here("copy/tree/sub/file"))?, "below");
    ensure_eq!(fs::read_link(here("copy/up"))?.display().to_string(), "../../../../../../../../etc");

    // The node has /bin/berth-session, the container has not; both have an /etc.
    let said = refused(vm, "scribe:/made/bin/berth-session", &here("stolen"))?;
    ensure!(said.contains("in 'scribe'") && said.contains("'/made/bin/berth-session'"), "{said}");
    ensure!(said.contains("No such file"), "{said}");
    vm.probe("scribe", &["make-dir", "/etc"])?;
    for link in ["etc", "up"] {
        cp(vm, &here("tree/sub/file"), &format!("scribe:/made/{link}/from-{link}"))?;
        ensure_eq!(vm.probe("scribe", &["read", &format!("/etc/from-{link}")])?, "below");
    }
    let said = refused(vm, &here("tree/sub"), "scribe:/made/tree/bin")?;
    ensure!(said.contains("in 'scribe'"), "{said}");

    // As a tar file.
    let tar = vm.berth(&["cp", "scribe:/made/sub", "-"], b"")?.ok()?;
    vm.berth(&["cp", "-", "scribe:/from-tar"], tar.as_bytes())?.ok()?;
    ensure_eq!(vm.probe("scribe", &["read", "/from-tar/file"])?, "below");
    let tar = vm.berth(&["cp", "scribe:/from-tar/file", "-"], b"")?.ok()?;
    ensure_eq!(tar.get(108..115), Some("0000000"));
    let broken = vm.berth(&["cp", "-", "scribe:/broken"], b"no tar file")?;
    ensure_eq!(broken.code, 4);

    // A paused unit's files are files; a root that is read-only and a unit that is stopped say so.
    vm.berth(&["pause", "scribe"], b"")?.ok()?;
    cp(vm, "scribe:/other", &here("paused"))?;
    vm.berth(&["resume", "scribe"], b"")?.ok()?;
    let said = refused(vm, &here("note"), "echo:/note")?;
    ensure!(said.contains("in 'echo'") && said.contains("Read-only file system"), "{said}");
    let said = refused(vm, &here("missing"), "scribe:/tmp")?;
    ensure!(said.contains("here: ") && said.contains("missing"), "{said}");
    ensure_eq!(vm.berth(&["cp", "scribe:tmp", "."], b"")?.code, 2);
    vm.berth(&["stop", "scribe"], b"")?.ok()?;
    vm.wait_unit("scribe", "stopped", SOON, |unit| unit.state == State::Stopped)?;
    refused(vm, "scribe:/other", &here("stopped"))?;
    Ok(())
}
