//! Secrets and configuration: who waits for them, what is inside, who is told, and that no disk has them.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use berth_qemu_tests::appliance::probe_unit_with;
use berth_qemu_tests::vm::{Options, SOON, Vm};
use berth_qemu_tests::{Outcome, ensure, ensure_eq};
use berth_units::Name;
use berth_units::wire::control::{ReloadState, SecretStatus, State};

use crate::lab::Lab;

/// Halves, so that no program that is compiled from this text holds the whole.
const SECRETS: [(&str, &str); 2] = [("first-hidden-", "5e4c7a90b1"), ("second-hidden-", "c83f6d2e17")];
/// Written to a volume: the search of the disk has to find it.
const CONTROL: &str = "in-the-open-4b1d9f";

const KEEPER: &str = "[security]\nprofile = \"privileged\"\n\
                      [mounts.data]\nbind = \"/data\"\ntarget = \"/node-data\"\nread_only = false\n\
                      [mounts.cgroup]\nbind = \"/sys/fs/cgroup\"\ntarget = \"/cgroup\"\nread_only = false\n";
const VAULT: &str = "[secrets.password]\nuid = 1000\ngid = 2000\nmode = \"0440\"\n\
                     [secrets.token]\nsource = \"password\"\nenv = \"TOKEN\"\n\
                     [configs.motd]\nsource = \"motd\"\ntarget = \"/etc/motd\"\n\
                     [configs.own]\ncontent = \"port = 80\\n\"\ntarget = \"/own/site.conf\"\nmode = \"0640\"\n\
                     [mounts.open]\nvolume = \"open\"\ntarget = \"/open\"\n";
const MOTD: &str = "schema = 1\nkind = \"config\"\ntemplate = true\n\
                    content = \"{{ unit }}@{{ node }} {{ env.LEVEL }} {{ secret.password }}!\"\n";
/// Its secret is a file of the node.
const FILED: &str = "schema = 1\nkind = \"secret\"\nsource = \"file\"\npath = \"/data/filed.key\"\n";
/// It reads a file of the node again when it is told to.
const FOLLOWER: &str = "[ready]\nwhen = \"notify\"\n[reload]\nsignal = \"SIGHUP\"\n\
                        [configs.site]\nfile = \"/data/site.conf\"\ntarget = \"/etc/site.conf\"\ntemplate = true\n";
const PASSWORD: &str = "schema = 1\nkind = \"secret\"\nsource = \"node\"\nallow = [\"vault\", \"patient\"]\n";

fn boot(lab: &mut Lab) -> Outcome<Vm> {
    let appliance = lab.appliance()?;
    appliance.probe("keeper", &["sleep"], KEEPER)?;
    let env_file = "splay = \"1s\"\nenv_files = [{ path = \"/data/vault.env\" }]\n";
    appliance.unit("vault", &probe_unit_with(env_file, &["sleep"], VAULT))?;
    let patient = "[secrets.password]\n";
    appliance.unit("patient", &probe_unit_with("on_change = \"none\"\n", &["sleep"], patient))?;
    appliance.probe("other", &["sleep"], "[configs.own]\ncontent = \"x\"\ntarget = \"/x\"\n")?;
    appliance.unit("motd", MOTD)?;
    appliance.unit("password", PASSWORD)?;
    appliance.unit("filed", FILED)?;
    let reader = "splay = \"0s\"\n";
    appliance.unit("reader", &probe_unit_with(reader, &["sleep"], "[secrets.filed]\n"))?;
    let top = "on_change = \"reload\"\nsplay = \"0s\"\n";
    appliance.unit("follower", &probe_unit_with(top, &["reloader"], FOLLOWER))?;
    lab.boot(&appliance, &Options::default())
}

/// Its file changes, also after its supervisor has been replaced: the process goes on and is told.
fn check_reload(vm: &mut Vm) -> Outcome {
    let change = |vm: &Vm, text: &str| {
        vm.probe("keeper", &["write", "/node-data/new.conf", text])?;
        vm.probe("keeper", &["rename", "/node-data/new.conf", "/node-data/site.conf"])
    };
    change(vm, "{{ unit }} one and more\n")?;
    vm.wait_ready(&["follower"])?;
    let pid = vm.pid("follower")?;
    let has = |vm: &mut Vm, expect: &'static str| {
        vm.wait_for(expect, SOON, |vm| {
            let found = vm.probe("follower", &["read", "/etc/site.conf"])?;
            let reload = vm.unit("follower")?.reload.map(|reload| reload.state);
            Ok((found == expect && reload == Some(ReloadState::Done)).then_some(()))
        })
    };
    change(vm, "{{ unit }} two\n")?;
    has(vm, "follower two\n")?;
    let before = vm.status()?.node.restarts.get("supervise").copied();
    drop(vm.probe("keeper", &["write", "/cgroup/system/supervise/cgroup.kill", "1"]));
    vm.wait_for("the next supervisor", SOON, |vm| {
        Ok((vm.status()?.node.restarts.get("supervise").copied() > before).then_some(()))
    })?;
    change(vm, "{{ unit }} three\n")?;
    has(vm, "follower three\n")?;
    let follower = vm.unit("follower")?;
    ensure_eq!((follower.pid, follower.restarts, follower.state), (Some(pid), 0, State::Ready));
    Ok(())
}

fn secret(which: usize) -> String {
    let (first, second) = SECRETS.get(which).copied().unwrap_or_default();
    format!("{first}{second}")
}

/// What everybody who may look at the node is told.
fn told(vm: &Vm) -> Outcome<String> {
    let mut all = vm.console();
    for words in [
        &["status", "--json"][..],
        &["status", "vault"],
        &["inspect", "vault"],
        &["inspect", "patient"],
        &["events", "--json"],
        &["why", "vault"],
        &["secret", "ls"],
        &["secret", "ls", "--json"],
        &["logs", "vault"],
    ] {
        all.push_str(&vm.berth(words, b"")?.ok()?);
    }
    Ok(all)
}

/// Whether a file holds these bytes. Pieces overlap: what lies over a boundary is found, too.
fn holds(path: &Path, wanted: &[u8]) -> Outcome<bool> {
    let mut file = File::open(path)?;
    let (mut piece, mut kept) = (vec![0; 4 << 20], 0);
    loop {
        let len = file.read(piece.get_mut(kept..).ok_or("no room")?)?;
        if len == 0 {
            return Ok(false);
        }
        let filled = kept + len;
        // Most of a new disk is nothing.
        if piece.get(..filled).is_some_and(|bytes| bytes.iter().all(|byte| *byte == 0)) {
            kept = 0;
            continue;
        }
        if piece.get(..filled).ok_or("no room")?.windows(wanted.len()).any(|bytes| bytes == wanted) {
            return Ok(true);
        }
        let from = filled.saturating_sub(wanted.len() - 1);
        piece.copy_within(from..filled, 0);
        kept = filled - from;
    }
}

fn check_waiting(vm: &mut Vm) -> Outcome {
    vm.wait_ready(&["keeper", "other"])?;
    let waits = |vm: &mut Vm, unit: &str, why: &'static str| {
        vm.wait_unit(unit, "waiting", SOON, move |unit| {
            unit.state == State::Waiting && unit.why.as_deref().is_some_and(|said| said.contains(why))
        })
    };
    waits(vm, "patient", "waits for secret 'password'")?;
    waits(vm, "vault", "waits for env file '/data/vault.env'")?;
    waits(vm, "reader", "waits for secret 'filed': '/data/filed.key'")?;
    // One that is being written is none yet.
    vm.probe("keeper", &["write", "/node-data/filed.key", ""])?;
    waits(vm, "reader", "waits for secret 'filed': '/data/filed.key'")?;
    vm.probe("keeper", &["write", "/node-data/filed.key", "in a file"])?;
    vm.wait_ready(&["reader"])?;
    ensure_eq!(vm.probe("reader", &["read", "/run/secrets/filed"])?, "in a file");
    let nothing = vm.berth(&["secret", "set", "password"], b"")?;
    ensure!(nothing.code != 0 && nothing.stderr.contains("at least one byte"), "{nothing:?}");
    // As a program would that replaces it.
    vm.probe("keeper", &["write", "/node-data/new.env", "# of the site\nLEVEL='deep'\n"])?;
    vm.probe("keeper", &["rename", "/node-data/new.env", "/node-data/vault.env"])?;
    waits(vm, "vault", "waits for secret 'password'")?;
    let listed: Vec<SecretStatus> = serde_json::from_str(&vm.berth(&["secret", "ls", "--json"], b"")?.ok()?)?;
    let units = vec![Name::parse("patient")?, Name::parse("vault")?];
    let name = Name::parse("password")?;
    let listed: Vec<_> = listed.into_iter().filter(|secret| secret.name == name).collect();
    ensure_eq!(listed, [SecretStatus { name, source: "node".to_owned(), present: false, units }]);
    let too_long = vm.berth(&["secret", "set", "password"], &vec![b'x'; (64 << 10) + 1])?;
    ensure!(too_long.code != 0, "a secret of more than 64 KiB was taken");
    Ok(())
}

fn check_inside(vm: &Vm, value: &str) -> Outcome {
    let read = ["exec", "-T", "-u", "1000:2000", "vault", "--", "/probe", "read", "/run/secrets/password"];
    ensure_eq!(vm.berth(&read, b"")?.ok()?, value);
    // Its root is nobody special.
    ensure!(vm.probe("vault", &["read", "/run/secrets/password"]).is_err(), "everybody can read it");
    ensure_eq!(vm.probe("vault", &["mode", "/run/secrets/password"])?.trim(), "440 1000 2000");
    ensure_eq!(vm.probe("vault", &["read", "/etc/motd"])?, format!("vault@probe-node deep {value}!"));
    ensure_eq!(vm.probe("vault", &["mode", "/etc/motd"])?.trim(), "444 0 0");
    ensure_eq!(vm.probe("vault", &["read", "/own/site.conf"])?, "port = 80\n");
    ensure_eq!(vm.probe("vault", &["mode", "/own/site.conf"])?.trim(), "640 0 0");
    let environ = vm.probe("vault", &["read", "/proc/1/environ"])?;
    for variable in [format!("TOKEN={value}"), "LEVEL=deep".to_owned()] {
        ensure!(environ.split('\0').any(|known| known == variable), "{variable} is not in '{environ}'");
    }
    ensure_eq!(vm.probe("patient", &["mode", "/run/secrets/password"])?.trim(), "400 0 0");
    Ok(())
}

/// The supervisor dies around the command: what was answered holds, and without an answer it is the old one or the new
/// one, whole.
fn check_kills(vm: &mut Vm) -> Outcome {
    let kill = ["write", "/cgroup/system/supervise/cgroup.kill", "1"];
    let inside = |vm: &Vm| -> Outcome<String> {
        let read =
            ["exec", "-T", "-u", "1000:2000", "vault", "--", "/probe", "read", "/run/secrets/password"];
        vm.berth(&read, b"")?.ok()
    };
    for round in 0..4 {
        let value = format!("round-{round}-{}", "x".repeat(20_000));
        let (said, before) = (inside(vm)?, vm.status()?.node.restarts.get("supervise").copied());
        let set = std::thread::scope(|scope| {
            let set = scope.spawn(|| {
                vm.berth(&["secret", "set", "password"], value.as_bytes()).map_err(|error| error.to_string())
            });
            if round % 2 == 0 {
                // As soon as the answer is there; otherwise at any time.
                while !set.is_finished() {
                    std::thread::yield_now();
                }
            }
            // It goes through the supervisor that dies.
            drop(vm.probe("keeper", &kill));
            set.join()
        });
        let is_set = set.map_err(|_| "the thread panicked")?.is_ok_and(|said| said.code == 0);
        vm.wait_for("the next supervisor", SOON, |vm| {
            Ok((vm.status()?.node.restarts.get("supervise").copied() > before).then_some(()))
        })?;
        if is_set {
            vm.wait_for("the new value", SOON, |vm| Ok((inside(vm)? == value).then_some(())))?;
        } else {
            let found = inside(vm)?;
            ensure!(found == said || found == value, "{} bytes are neither old nor new", found.len());
        }
    }
    Ok(())
}

pub fn secrets_reach_their_units_and_no_disk(lab: &mut Lab) -> Outcome {
    let mut vm = boot(lab)?;
    check_waiting(&mut vm)?;
    check_reload(&mut vm)?;
    let [one, two] = [secret(0), secret(1)];
    vm.berth(&["secret", "set", "password"], one.as_bytes())?.ok()?;
    vm.wait_ready(&["vault", "patient"])?;
    check_inside(&vm, &one)?;

    // The same once more is no change; another one is, for those who want to know.
    let pids =
        |vm: &Vm| -> Outcome<[i32; 3]> { Ok([vm.pid("vault")?, vm.pid("patient")?, vm.pid("other")?]) };
    let before = pids(&vm)?;
    vm.berth(&["secret", "set", "password"], one.as_bytes())?.ok()?;
    ensure_eq!(pids(&vm)?, before);
    vm.berth(&["secret", "set", "password"], two.as_bytes())?.ok()?;
    let [old, patient, other] = before;
    vm.wait_unit("vault", "started anew", SOON, |unit| {
        unit.state == State::Ready && unit.pid.is_some_and(|pid| pid != old)
    })?;
    check_inside(&vm, &two)?;
    let [_, patient_now, other_now] = pids(&vm)?;
    ensure_eq!([patient_now, other_now], [patient, other]);
    ensure_eq!(vm.probe("patient", &["read", "/run/secrets/password"])?, one);
    ensure_eq!(vm.unit("vault")?.restarts, 0);

    let said = told(&vm)?;
    ensure!(said.contains("secret 'password' was set"), "the console does not say that it was set");
    for value in [&one, &two] {
        ensure!(!said.contains(value.as_str()), "somebody told '{value}'");
    }
    vm.probe("vault", &["append", "/open/note", CONTROL])?;
    check_kills(&mut vm)?;
    vm.berth(&["secret", "rm", "password"], b"")?.ok()?;
    vm.wait_unit("vault", "ready without it", SOON, |unit| unit.state == State::Ready)?;
    ensure_eq!(vm.unit("patient")?.pid, Some(patient));
    vm.power_off()?;
    let disk = vm.data();
    ensure!(holds(&disk, CONTROL.as_bytes())?, "what is in a volume is not on the disk");
    for value in [one, two] {
        ensure!(!holds(&disk, value.as_bytes())?, "'{value}' is on the disk");
        let digits: String = value.bytes().map(|byte| format!("{byte:02x}")).collect();
        ensure!(!holds(&disk, digits.as_bytes())?, "'{value}' is on the disk in digits");
    }
    Ok(())
}
