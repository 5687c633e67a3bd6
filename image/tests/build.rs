//! The builder as a whole: with a kernel made up for the test, and with the real one where `make setup` has put it.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod pack;

use std::fs;
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use berth_image::build::{Firmware, NEEDED_MODULES, NETWORK_MODULES};
use berth_image::{Build, BuildError, Built, build};
use berth_units::gpt::{SECTOR, START_SECTORS, Table};
use berth_units::spec::{Declared, Unit};
use berth_units::{Name, Reference};
use pack::{Layout, Scratch, chain, docker_archive, file, tar};

const PROGRAMS: [&str; 8] = [
    "berth-init",
    "berth-supervise",
    "berth-check",
    "berth-log",
    "berth-netd",
    "berth-session",
    "berth-modules",
    "berth",
];
/// Programs and a kernel without modules, below `root`.
fn prepare(root: &Path) {
    fs::create_dir_all(root.join("node")).unwrap();
    fs::create_dir_all(root.join("kernel/modules/kernel")).unwrap();
    fs::create_dir_all(root.join("appliance/images")).unwrap();
    for program in PROGRAMS {
        fs::write(root.join("node").join(program), program).unwrap();
    }
    fs::write(root.join("kernel/vmlinuz"), "a kernel").unwrap();
    let needed = NEEDED_MODULES.iter().chain(NETWORK_MODULES);
    let builtin: String = needed.map(|name| format!("kernel/{name}.ko\n")).collect();
    fs::write(root.join("kernel/modules/modules.builtin"), builtin).unwrap();
}

fn declared(references: &[&str]) -> Declared {
    let mut declared = Declared::default();
    for (number, reference) in references.iter().enumerate() {
        let name = Name::parse(&format!("unit-{number}")).unwrap();
        declared.units.insert(name.clone(), Unit::new(name, Reference::parse(reference).unwrap()));
    }
    declared
}

fn run(root: &Path, kernel: PathBuf, references: &[&str]) -> Result<Built, BuildError> {
    run_set(root, kernel, &declared(references))
}

fn run_set(root: &Path, kernel: PathBuf, declared: &Declared) -> Result<Built, BuildError> {
    run_firmware(root, kernel, declared, None)
}

fn run_firmware(
    root: &Path,
    kernel: PathBuf,
    declared: &Declared,
    firmware: Option<Firmware<'_>>,
) -> Result<Built, BuildError> {
    let units =
        ["units/web.toml", "units/web.d/1.toml"].map(|place| (place.to_owned(), "schema = 1\n".to_owned()));
    build(&Build {
        appliance: &root.join("appliance"),
        node_toml: "schema = 1\n",
        units: &units,
        declared,
        out: &root.join("out"),
        node_binaries: &root.join("node"),
        kernel: &kernel,
        firmware,
    })
}

fn layers() -> Vec<Vec<u8>> {
    vec![tar(&[file("bin/app", "app")]), tar(&[file("etc/new", "upper")])]
}

fn unpack(initrd: &Path) -> String {
    let packed = fs::File::open(initrd).unwrap();
    let mut bytes = Vec::new();
    zstd::stream::read::Decoder::new(packed).unwrap().read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn names(directory: &Path) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[test]
fn the_same_input_gives_the_same_bytes() {
    let scratch = Scratch::new("build-same");
    prepare(&scratch.0);
    let images = scratch.0.join("appliance/images");
    fs::write(images.join("web.tar"), Layout::new(&layers()).archive()).unwrap();
    fs::write(images.join("other.tar"), docker_archive(&layers()[..1], &["other:1", "unused:1"])).unwrap();
    fs::write(images.join("README"), "text").unwrap();
    let outputs = ["kernel", "initrd", "factory.erofs"];
    let built = |_| {
        let built = run(&scratch.0, scratch.0.join("kernel"), &["shop/web:1", "other:1"]).unwrap();
        (built, outputs.map(|name| fs::read(scratch.0.join("out").join(name)).unwrap()))
    };
    let [(first, first_bytes), (second, second_bytes)] = [0, 1].map(built);
    assert_eq!(first, second);
    assert!(first_bytes == second_bytes);
    assert_eq!(names(&scratch.0.join("out")), ["factory.erofs", "initrd", "kernel"]);
    assert_eq!(first.images.len(), 2);
    assert_eq!(first.warnings.len(), 1, "{:?}", first.warnings);
    assert!(first.warnings[0].contains("README"), "{:?}", first.warnings);
    let initrd = unpack(&first.initrd.path);
    for name in [
        "init\0",
        "bin/berth-netd\0",
        "dev/console\0",
        "etc/berth/units/web.toml\0",
        "etc/berth/units/web.d/1.toml\0",
        "lib/modules/berth.load\0",
    ] {
        assert!(initrd.contains(name), "{name:?}");
    }
}

/// The smallest EFI program that the builder takes: one section, room for ten.
fn stub() -> Vec<u8> {
    let mut stub = vec![0; 0x600];
    let words: [(usize, &[u8]); 10] = [
        (0x3C, &[0x40]),
        (0x40, b"PE\0\0\x64\x86\x01"),
        (0x40 + 20, &[240]),
        (0x58, &[0x0B, 0x02]),
        (0x58 + 32, &[0, 0x10]),
        (0x58 + 36, &[0, 2]),
        (0x58 + 60, &[0, 4]),
        (0x148, b".text"),
        (0x148 + 8, &[1, 0, 0, 0, 0, 0x10]),
        (0x148 + 16, &[0, 2, 0, 0, 0, 4]),
    ];
    for (at, bytes) in words {
        stub[at..at + bytes.len()].copy_from_slice(bytes);
    }
    stub
}

fn same_content(first: &Path, second: &Path) -> bool {
    let [first, second] = [first, second].map(|path| fs::File::open(path).unwrap());
    let size = first.metadata().unwrap().len();
    let (mut left, mut right) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    size == second.metadata().unwrap().len()
        && (0..size).step_by(1 << 20).all(|at| {
            let len = (size - at).min(1 << 20) as usize;
            first.read_exact_at(&mut left[..len], at).unwrap();
            second.read_exact_at(&mut right[..len], at).unwrap();
            left[..len] == right[..len]
        })
}

#[test]
fn what_firmware_boots_is_the_same_each_time() {
    let scratch = Scratch::new("build-firmware");
    prepare(&scratch.0);
    let (boot, data, out) = (scratch.0.join("boot"), scratch.0.join("data"), scratch.0.join("out"));
    fs::create_dir(&boot).unwrap();
    fs::write(boot.join("systemd-stub.efi"), stub()).unwrap();
    fs::write(boot.join("systemd-boot.efi"), "a loader").unwrap();
    fs::write(&data, vec![7; 3 << 20]).unwrap();
    let firmware = Some(Firmware { boot: &boot, data: &data });
    let build = || run_firmware(&scratch.0, scratch.0.join("kernel"), &declared(&[]), firmware).unwrap();
    let (os, disk) = build().firmware.unwrap();
    assert_eq!(names(&out), ["disk.raw", "factory.erofs", "initrd", "kernel", "os.efi"]);
    fs::rename(&os.path, scratch.0.join("os-1")).unwrap();
    fs::rename(&disk.path, scratch.0.join("disk-1")).unwrap();
    build();
    assert!(same_content(&os.path, &scratch.0.join("os-1")));
    assert!(same_content(&disk.path, &scratch.0.join("disk-1")));
    let text = String::from_utf8_lossy(&fs::read(&os.path).unwrap()).into_owned();
    assert!(
        text.contains("ID=berth\nPRETTY_NAME=") && !text.contains("VERSION"),
        "os-release has no version"
    );
    assert!(text.contains("quiet panic=5 gpt"));
    // The table holds, both copies of it, and its last partition begins with what was given.
    let file = fs::File::open(&disk.path).unwrap();
    let mut start = vec![0; (START_SECTORS * SECTOR) as usize];
    file.read_exact_at(&mut start, 0).unwrap();
    let table = Table::parse(&start).unwrap();
    assert_eq!(table.sectors * SECTOR, disk.size);
    let mut end = table.end();
    let wanted = end.clone();
    file.read_exact_at(&mut end, disk.size - wanted.len() as u64).unwrap();
    assert_eq!(end, wanted);
    let last = table.partitions.last().unwrap().as_ref().unwrap();
    assert_eq!(
        (last.name.as_str(), last.sectors.end - last.sectors.start),
        ("berth-data", (3 << 20) / SECTOR)
    );
    let mut first = [0; 2];
    file.read_exact_at(&mut first, last.sectors.start * SECTOR).unwrap();
    assert_eq!(first, [7, 7]);
    // Sparse: loader, os.efi, the store and what was given.
    let blocks = std::os::unix::fs::MetadataExt::blocks(&fs::metadata(&disk.path).unwrap());
    assert!(blocks * 512 < 8 << 20, "{blocks} blocks");
    fs::write(boot.join("systemd-stub.efi"), "no program").unwrap();
    let error = run_firmware(&scratch.0, scratch.0.join("kernel"), &declared(&[]), firmware).unwrap_err();
    assert!(chain(&error).contains("systemd-stub.efi': it is no EFI program"), "{}", chain(&error));
}

#[test]
fn missing_images_are_named_and_the_old_build_stays() {
    let scratch = Scratch::new("build-missing");
    prepare(&scratch.0);
    let archive = scratch.0.join("appliance/images/web.tar");
    fs::write(&archive, Layout::new(&layers()).archive()).unwrap();
    run(&scratch.0, scratch.0.join("kernel"), &["shop/web:1"]).unwrap();
    let old = fs::read(scratch.0.join("out/factory.erofs")).unwrap();
    let error = run(&scratch.0, scratch.0.join("kernel"), &["shop/wbe:1"]).unwrap_err();
    let text = chain(&error);
    assert!(text.starts_with("unit 'unit-0' needs image 'shop/wbe:1', which is not in '"), "{text}");
    assert!(text.ends_with("appliance/images': it holds 'shop/web:1'"), "{text}");
    fs::write(&archive, "no archive").unwrap();
    let error = run(&scratch.0, scratch.0.join("kernel"), &["shop/web:1"]).unwrap_err();
    assert!(chain(&error).contains("images/web.tar'"), "{}", chain(&error));
    fs::remove_file(&archive).unwrap();
    fs::remove_file(scratch.0.join("node/berth-log")).unwrap();
    let error = run(&scratch.0, scratch.0.join("kernel"), &[]).unwrap_err();
    assert!(chain(&error).contains("node/berth-log'"), "{}", chain(&error));
    assert_eq!(names(&scratch.0.join("out")), ["factory.erofs", "initrd", "kernel"]);
    assert!(fs::read(scratch.0.join("out/factory.erofs")).unwrap() == old);
}

#[test]
fn a_service_finds_its_program_in_the_os_image() {
    let scratch = Scratch::new("build-service");
    prepare(&scratch.0);
    let root = scratch.0.join("appliance/root");
    let mut declared = declared(&["any"]);
    let unit = declared.units.values_mut().next().unwrap();
    unit.image = None;
    unit.process.entrypoint = Some(vec!["/opt/agent".to_owned()]);
    let build = || run_set(&scratch.0, scratch.0.join("kernel"), &declared);
    let text = chain(&build().unwrap_err());
    assert!(text.starts_with("unit 'unit-0' runs '/opt/agent', which is not in the OS image"), "{text}");
    fs::create_dir_all(root.join("opt")).unwrap();
    fs::create_dir_all(root.join("bin")).unwrap();
    fs::write(root.join("opt/agent"), "the agent").unwrap();
    std::os::unix::fs::symlink("/opt/agent", root.join("bin/agent")).unwrap();
    let initrd = unpack(&build().unwrap().initrd.path);
    for name in ["opt/agent\0", "the agent", "bin/agent\0", "bin/berth-netd\0"] {
        assert!(initrd.contains(name), "{name:?}");
    }
    for (path, why) in [
        ("bin/berth-log", "the node has one of that name"),
        ("init", "the node has one of that name"),
        ("bin/berth/x", "the node has a file of that name"),
        ("etc/berth/units/x.toml", "nothing of an appliance lies there"),
        ("data/x", "nothing of an appliance lies there"),
    ] {
        let file = root.join(path);
        fs::create_dir_all(file.parent().unwrap()).unwrap();
        fs::write(&file, "").unwrap();
        let text = chain(&build().unwrap_err());
        assert!(text.contains(why), "{path}: {text}");
        let first = root.join(path.split('/').next().unwrap());
        if path.contains("bin/berth/") {
            fs::remove_dir_all(root.join("bin/berth")).unwrap();
        } else if first.is_dir() && !path.starts_with("bin") {
            fs::remove_dir_all(first).unwrap();
        } else {
            fs::remove_file(&file).unwrap();
        }
    }
    build().unwrap();
}

#[test]
fn a_pinned_reference_needs_that_very_image() {
    let scratch = Scratch::new("build-pinned");
    prepare(&scratch.0);
    let layout = Layout::new(&layers());
    fs::write(scratch.0.join("appliance/images/web.tar"), layout.archive()).unwrap();
    let digest = berth_image::digest::Digest::of(&serde_json::to_vec(&layout.manifest).unwrap());
    for (reference, fits) in [
        (format!("shop/web@{digest}"), true),
        (format!("shop/web:1@{digest}"), true),
        (format!("shop/web:2@{digest}"), false),
        (format!("shop/we@{digest}"), false),
        (format!("shop/web@sha256:{}", "0".repeat(64)), false),
    ] {
        let result = run(&scratch.0, scratch.0.join("kernel"), &[&reference]);
        assert_eq!(result.is_ok(), fits, "{reference}");
        let Ok(built) = result else { continue };
        assert_eq!(built.images[0].reference, Reference::parse(&reference).unwrap());
        assert!(built.warnings.is_empty(), "{:?}", built.warnings);
    }
}

#[test]
fn the_real_kernel_fits() {
    let kernel = Path::new(env!("CARGO_MANIFEST_DIR")).join("../bin/kernel");
    if !kernel.join("vmlinuz").exists() {
        eprintln!("skipped: no kernel, 'make setup' fetches it");
        return;
    }
    let scratch = Scratch::new("build-real");
    prepare(&scratch.0);
    let built = run(&scratch.0, kernel, &[]).unwrap();
    println!(
        "kernel {}, initrd {} ({} unpacked), modules {:?}",
        built.kernel.size, built.initrd.size, built.root_size, built.modules
    );
    let initrd = unpack(&built.initrd.path);
    for name in ["erofs.ko", "overlay.ko", "veth.ko", "nft_masq.ko"] {
        assert!(initrd.contains(&format!("lib/modules/{name}\0")), "{name}");
    }
    // The programs themselves get what remains of 26 MB.
    assert!(built.kernel.size + built.initrd.size < 18 << 20);
}
