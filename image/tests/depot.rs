//! A store in a folder: what goes in comes out, what is damaged is found, and what a killed writer left does no harm.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod pack;

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use berth_image::depot::{Depot, DepotError, Keep, Limits, Part, Writer};
use pack::{Layout, Scratch, chain, dir, docker_archive, file, gzip, tar};

fn base() -> Vec<u8> {
    tar(&[dir("./"), dir("etc"), file("etc/hosts", "lower"), file("bin/app", "app")])
}

/// Says nothing about the root and about `etc`: those are the base's.
fn top(text: &str) -> Vec<u8> {
    tar(&[file("etc/new", text)])
}

fn image(name: &str, text: &str) -> Layout {
    let mut layout = Layout::new(&[base(), top(text)]);
    layout.finish(name);
    layout
}

fn import(depot: &Depot, bytes: &[u8], keep: Keep) -> Result<Vec<String>, DepotError> {
    let path = depot.root().join("../in.tar");
    fs::write(&path, bytes).unwrap();
    let mut writer = depot.writer(|| panic!("nobody else writes")).unwrap();
    let names = writer.import(&path, "amd64", (keep, Limits { reserve: 0, ..Limits::default() }))?;
    Ok(names.into_iter().map(|(name, new)| format!("{} {new}", name.familiar())).collect())
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files
}

fn damages(depot: &Depot) -> Vec<(Part, String)> {
    let (damages, ..) = depot.verify().unwrap();
    damages.into_iter().map(|damage| (damage.part, damage.why)).collect()
}

#[test]
fn what_is_exported_is_what_came_in() {
    let scratch = Scratch::new("depot-export");
    let depot = Depot::create(&scratch.0.join("store")).unwrap();
    let layout = image("shop/web:1", "one");
    assert_eq!(import(&depot, &layout.archive(), Keep::Blobs).unwrap(), ["shop/web:1 true"]);
    assert_eq!(import(&depot, &gzip(&layout.archive()), Keep::Blobs).unwrap(), ["shop/web:1 false"]);
    let (name, stored) = depot.find("shop/web:1").unwrap();
    assert_eq!(stored.made_of.len(), 2);
    assert_eq!(depot.find(&stored.digest[7..19]).unwrap().0, name);
    let out = scratch.0.join("out.tar");
    depot.export(&name, &stored, &out).unwrap();
    let first = fs::read(&out).unwrap();
    depot.export(&name, &stored, &out).unwrap();
    assert_eq!(fs::read(&out).unwrap(), first, "the same image gives the same bytes");
    let other = Depot::create(&scratch.0.join("other")).unwrap();
    assert_eq!(import(&other, &first, Keep::Blobs).unwrap(), ["shop/web:1 true"]);
    assert_eq!(other.index().unwrap(), depot.index().unwrap());

    // A peer reads it, and finds the same manifest.
    let source = format!("oci-archive:{}", out.display());
    let output = Command::new("skopeo").args(["inspect", "--format", "{{.Digest}}", &source]).output();
    let output = output.expect("skopeo is installed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), stored.digest);
}

/// What a peer makes of an image, in each of its formats, is the same image.
#[test]
fn formats_of_a_peer() {
    let scratch = Scratch::new("depot-peer");
    let path = |name: &str| scratch.0.join(name).display().to_string();
    fs::write(path("in.tar"), image("shop/web:1", "one").archive()).unwrap();
    for (number, (format, name)) in
        [("docker-archive", "shop/web:1"), ("oci-archive", "shop/web:1"), ("oci", "shop/web:1")]
            .iter()
            .enumerate()
    {
        let to = path(&format!("out{number}"));
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["--insecure-policy", "copy", "-q", &format!("oci-archive:{}", path("in.tar"))]);
        let output = skopeo.arg(format!("{format}:{to}:{name}")).output().expect("skopeo is installed");
        assert!(output.status.success(), "{format}: {}", String::from_utf8_lossy(&output.stderr));
        let depot = Depot::create(&scratch.0.join(format!("store{number}"))).unwrap();
        let limits = Limits { reserve: 0, ..Limits::default() };
        let names = writer(&depot).import(Path::new(&to), "amd64", (Keep::Layers, limits)).unwrap();
        assert_eq!(names[0].0.familiar(), "shop/web:1", "{format}");
        let stored = depot.find("shop/web:1").unwrap().1;
        let diff_ids: Vec<_> = stored.made_of.iter().map(|layer| layer.diff_id.clone()).collect();
        let expected = [base(), top("one")].map(|layer| berth_image::digest::Digest::of(&layer).to_string());
        assert_eq!(diff_ids, expected, "{format}");
        assert_eq!(damages(&depot), []);
    }
}

/// Many files cost time and some memory, no more.
#[test]
fn a_hundred_thousand_files() {
    let scratch = Scratch::new("depot-many");
    let depot = Depot::create(&scratch.0.join("store")).unwrap();
    let paths = (0..100_000).map(|number| &*format!("{}/{number}", number % 300).leak());
    let layer = tar(&paths.map(|path| file(path, "x")).collect::<Vec<_>>());
    import(&depot, &Layout::new(&[layer]).archive(), Keep::Layers).unwrap();
    assert_eq!(depot.find("shop/web:1").unwrap().1.made_of[0].unpacked, 100_000 * 1024 + 1024);
    assert_eq!(damages(&depot), []);
}

#[test]
fn images_of_docker_save_get_a_manifest() {
    let scratch = Scratch::new("depot-docker");
    let depot = Depot::create(&scratch.0.join("store")).unwrap();
    let archive = docker_archive(&[base(), top("x")], &["shop/web:1", "shop/web:latest"]);
    assert_eq!(import(&depot, &archive, Keep::Blobs).unwrap(), ["shop/web:1 true", "shop/web:latest true"]);
    let digest = depot.find("shop/web:1").unwrap().1.digest;
    assert_eq!(depot.find("shop/web").unwrap().1.digest, digest);
    assert_eq!(import(&depot, &archive, Keep::Blobs).unwrap(), ["shop/web:1 false", "shop/web:latest false"]);
    let (name, stored) = depot.find("shop/web:1").unwrap();
    let out = scratch.0.join("out.tar");
    depot.export(&name, &stored, &out).unwrap();
    let other = Depot::create(&scratch.0.join("other")).unwrap();
    import(&other, &fs::read(&out).unwrap(), Keep::Blobs).unwrap();
    assert_eq!(other.find("shop/web:1").unwrap().1.digest, digest);
    assert_eq!(damages(&depot), []);
}

#[test]
fn layers_are_shared_and_take_directories_from_below() {
    let scratch = Scratch::new("depot-layers");
    let depot = Depot::create(&scratch.0.join("store")).unwrap();
    import(&depot, &image("web:1", "one").archive(), Keep::Layers).unwrap();
    let blobs = files(&depot.root().join("blobs/sha256")).len();
    assert_eq!(blobs, 2, "manifest and configuration");
    // The base is known and not kept as a blob: the layer above asks for its directories all the same.
    import(&depot, &image("web:2", "two").archive(), Keep::Layers).unwrap();
    assert_eq!(files(&depot.root().join("layers")).len(), 3);
    let index = depot.index().unwrap();
    let layers: Vec<_> = index.images.values().map(|image| image.layers.clone()).collect();
    assert_eq!(layers[0][0], layers[1][0]);
    assert_ne!(layers[0][1], layers[1][1]);
    assert_eq!(damages(&depot), []);
    // As if it had been imported alone.
    let other = Depot::create(&scratch.0.join("other")).unwrap();
    import(&other, &image("web:2", "two").archive(), Keep::Layers).unwrap();
    assert_eq!(other.find("web:2").unwrap().1, depot.find("web:2").unwrap().1);
    let (name, stored) = depot.find("web:2").unwrap();
    let refused = depot.export(&name, &stored, &scratch.0.join("out.tar"));
    assert!(matches!(refused, Err(DepotError::NotKept(_))), "{refused:?}");
    assert!(!scratch.0.join("out.tar").exists());
}

#[test]
fn damage_is_found_named_and_mended() {
    for keep in [Keep::Blobs, Keep::Layers] {
        let scratch = Scratch::new(&format!("depot-damage-{keep:?}"));
        let depot = Depot::create(&scratch.0.join("store")).unwrap();
        let archive = image("web:1", "one").archive();
        import(&depot, &archive, keep).unwrap();
        let before = depot.index().unwrap();
        let all = [files(&depot.root().join("blobs/sha256")), files(&depot.root().join("layers"))].concat();
        assert_eq!(all.len(), 4);
        for path in all {
            // One bit, in the middle.
            let bytes = fs::read(&path).unwrap();
            let middle = bytes.len() / 2;
            let disk = File::options().write(true).open(&path).unwrap();
            disk.write_all_at(&[bytes[middle] ^ 1], middle as u64).unwrap();
            let found = damages(&depot);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(found[0].1.starts_with("its content has digest sha256:"), "{found:?}");
            let (damages, ..) = depot.verify().unwrap();
            assert_eq!(damages[0].images[0].familiar(), "web:1");
            writer(&depot).discard(&damages).unwrap();
            assert_eq!(damages_text(&depot), ["it is missing"]);
            import(&depot, &archive, keep).unwrap();
            assert_eq!(self::damages(&depot), []);
            assert_eq!(fs::read(&path).unwrap(), bytes);
        }
        assert_eq!(depot.index().unwrap(), before);
    }
}

fn damages_text(depot: &Depot) -> Vec<String> {
    damages(depot).into_iter().map(|(_, why)| why).collect()
}

fn writer(depot: &Depot) -> Writer<'_> {
    depot.writer(|| panic!("nobody else writes")).unwrap()
}

#[test]
fn forgetting_frees_what_nobody_needs() {
    let scratch = Scratch::new("depot-prune");
    let depot = Depot::create(&scratch.0.join("store")).unwrap();
    import(&depot, &image("web:1", "one").archive(), Keep::Blobs).unwrap();
    let one = files(&depot.root().join("blobs/sha256"));
    import(&depot, &image("web:2", "two").archive(), Keep::Blobs).unwrap();
    fs::write(depot.root().join("partial/aa"), "half").unwrap();
    // Two writers' leftovers: one that is swept at once, one that nothing names.
    fs::write(depot.root().join("tmp/1-1"), "killed").unwrap();
    let two = writer(&depot).remove("web:2").unwrap().1;
    assert!(files(&depot.root().join("tmp")).is_empty());
    let stray = depot.root().join("layers/aa.erofs");
    fs::write(&stray, "killed").unwrap();
    let swept = writer(&depot).prune().unwrap();
    // Manifest, configuration and one layer of the two, the half-pulled blob and the stray layer.
    assert_eq!(swept.files, 5);
    assert_eq!(files(&depot.root().join("blobs/sha256")), one);
    assert!(!stray.exists() && damages(&depot).is_empty());
    assert_eq!(writer(&depot).prune().unwrap().files, 0);
    let error = depot.find("web:2").unwrap_err();
    assert!(matches!(&error, DepotError::NoImage { names, .. } if names == &["web:1"]), "{error}");
    assert!(depot.find(&two.digest).is_err());
}

#[test]
fn one_writer_at_a_time() {
    let scratch = Scratch::new("depot-lock");
    let depot = Depot::create(&scratch.0.join("store")).unwrap();
    let first = writer(&depot);
    let other = Depot::open(depot.root()).unwrap();
    let (told, tell) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let second = scope.spawn(|| drop(other.writer(|| told.send(()).unwrap()).unwrap()));
        tell.recv().unwrap();
        assert!(!second.is_finished());
        drop(first);
    });
}

#[test]
fn a_refused_image_leaves_the_store_as_it_was() {
    let scratch = Scratch::new("depot-refused");
    let depot = Depot::create(&scratch.0.join("store")).unwrap();
    import(&depot, &image("web:1", "one").archive(), Keep::Blobs).unwrap();
    let before = depot.index().unwrap();
    let mut flipped = image("web:2", "two");
    let at = flipped.layer(1).len() / 2;
    flipped.layer(1)[at] ^= 1;
    let mut lying = image("web:3", "three");
    lying.config["rootfs"]["diff_ids"][1] = lying.config["rootfs"]["diff_ids"][0].clone();
    lying.finish("web:3");
    let escape = Layout::new(&[tar(&[file("../x", "y")])]);
    for (bytes, part) in [
        (flipped.archive(), "it is corrupt"),
        (lying.archive(), "unpacked it has digest"),
        (escape.archive(), "leaves the root"),
        (vec![0; 4096], "neither an OCI layout"),
    ] {
        for keep in [Keep::Blobs, Keep::Layers] {
            let text = chain(&import(&depot, &bytes, keep).unwrap_err());
            assert!(text.contains("in.tar'") && text.contains(part), "{text}");
            assert_eq!(depot.index().unwrap(), before);
            assert!(files(&depot.root().join("tmp")).is_empty());
        }
    }
    writer(&depot).prune().unwrap();
    assert_eq!(damages(&depot), []);
}

#[test]
fn a_full_disk_is_said_and_not_filled() {
    let scratch = Scratch::new("depot-space");
    let depot = Depot::create(&scratch.0.join("store")).unwrap();
    let path = scratch.0.join("web.tar");
    fs::write(&path, image("web:1", "one").archive()).unwrap();
    let limits = Limits { reserve: depot.free().unwrap() * 2, ..Limits::default() };
    let error = writer(&depot).import(&path, "amd64", (Keep::Blobs, limits)).unwrap_err();
    assert!(matches!(error, DepotError::Space { .. }), "{error:?}");
    assert!(error.to_string().contains("more of free space are needed"), "{error}");
}

#[test]
fn a_foreign_index_is_refused() {
    let scratch = Scratch::new("depot-index");
    let depot = Depot::create(&scratch.0.join("store")).unwrap();
    for (text, part) in [("{", "is not the index"), (r#"{"format":2,"images":{}}"#, "has format 2")] {
        fs::write(depot.root().join("index.json"), text).unwrap();
        let error = depot.index().unwrap_err();
        assert!(error.to_string().contains(part), "{error}");
        assert!(depot.writer(|| {}).is_err());
    }
    assert!(fs::metadata(depot.root().join("index.json")).unwrap().size() > 5);
}
