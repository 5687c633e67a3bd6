//! Archives that are damaged or meant to do harm: each is refused with the blob and the fault named, and nothing is
//! written but nameless temporary files.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod pack;

use std::fs;

use berth_image::digest::Digest;
use pack::{Item, Layout, Scratch, chain, dir, docker_archive, file, import_bytes, item, link, tar};
use serde_json::json;

/// The archive is refused with a message that has all these parts, in this order, and leaves no file behind.
#[track_caller]
fn refused(name: &str, archive: &[u8], parts: &[&str]) {
    let scratch = Scratch::new(&format!("hostile-{name}"));
    let error = import_bytes(&scratch, "web.tar", archive).expect_err("it was accepted");
    let text = chain(&error);
    let mut rest = text.as_str();
    for part in ["web.tar'"].iter().chain(parts) {
        let Some((_, behind)) = rest.split_once(part) else { panic!("no '{part}' in: {text}") };
        rest = behind;
    }
    let left: Vec<_> = fs::read_dir(&scratch.0).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left, ["web.tar"]);
}

/// A layer with these entries is refused, as OCI and as docker-archive.
#[track_caller]
fn layer_refused(name: &str, items: &[Item], parts: &[&str]) {
    let layer = tar(items);
    let layout = Layout::new(std::slice::from_ref(&layer));
    let blob = format!("layer {}", layout.layers[0]);
    refused(&format!("{name}-oci"), &layout.archive(), &[&[blob.as_str()], parts].concat());
    let docker = docker_archive(&[layer], &["web:1"]);
    refused(&format!("{name}-docker"), &docker, &[&["layer 0/layer.tar"], parts].concat());
}

#[test]
fn entries_that_leave_the_root() {
    for (name, path) in [("up", "../x"), ("inner", "a/../../x"), ("absolute", "/../x"), ("last", "a/..")] {
        layer_refused(name, &[file(path, "x")], &[&format!("entry '{path}' leaves the root")]);
    }
    layer_refused("whiteout-up", &[file("../.wh.etc", "")], &["entry '../.wh.etc' leaves the root"]);
    layer_refused("whiteout-dots", &[file(".wh...", "")], &["entry '.wh...' is not a proper whiteout"]);
}

#[test]
fn entries_through_links_and_files() {
    let through = "entry 'etc/passwd' is below a non-directory";
    layer_refused("absolute-link", &[link(b'2', "etc", "/etc"), file("etc/passwd", "x")], &[through]);
    layer_refused("relative-link", &[link(b'2', "etc", "../../etc"), file("etc/passwd", "x")], &[through]);
    layer_refused("file", &[file("etc", "x"), file("etc/passwd", "x")], &[through]);
    layer_refused("fifo", &[item(b'6', "etc"), dir("etc/passwd")], &[through]);
    layer_refused("root", &[link(b'2', "./", "/")], &["entry './' would replace the root"]);
}

#[test]
fn hard_links() {
    let items = [link(b'1', "shadow", "../../etc/shadow")];
    layer_refused("outside", &items, &["entry 'shadow' is a hard link to '../../etc/shadow', which leaves"]);
    let items = [link(b'1', "shadow", "/etc/shadow")];
    layer_refused("absent", &items, &["entry 'shadow' is a hard link to '/etc/shadow', which this layer"]);
    let items = [link(b'2', "etc", "/etc"), link(b'1', "shadow", "etc/shadow")];
    layer_refused("through", &items, &["entry 'shadow' is a hard link to 'etc/shadow', which this layer"]);
    let items = [dir("a"), link(b'1', "a/b", "a")];
    layer_refused("loop", &items, &["entry 'a/b' is a hard link to the directory 'a'"]);
    let items = [file(".wh.x", ""), link(b'1', "y", "x")];
    layer_refused("whiteout", &items, &["entry 'y' is a hard link to 'x', which this layer"]);
}

#[test]
fn lying_sizes() {
    let lying = |size| Item { size: Some(size), ..file("big", "small") };
    layer_refused("beyond", &[lying(1 << 33)], &["it is truncated: data at byte 512"]);
    layer_refused("wrapping", &[lying(u64::MAX)], &["it is truncated: data at byte 512"]);
    let pax = Item { pax: vec![("size", b"99999999".to_vec())], ..file("big", "small") };
    layer_refused("pax", &[pax], &["it is truncated"]);
    let header = Item { size: Some(1 << 40), ..item(b'x', "pax") };
    layer_refused("extension", &[header], &["is damaged: an extension of more than 1 MiB"]);
}

#[test]
fn entries_that_cannot_be() {
    let sparse = Item { pax: vec![("GNU.sparse.major", b"1".to_vec())], ..file("s", "") };
    layer_refused("sparse-pax", &[sparse], &["entry 's' is a sparse file"]);
    layer_refused("sparse-gnu", &[item(b'S', "s")], &["entry 's' is a sparse file"]);
    layer_refused("type", &[item(b'V', "label")], &["entry 'label' has a type"]);
    let long = Item { pax: vec![("path", vec![b'x'; 5000])], ..file("s", "") };
    layer_refused("long", &[long], &["has a name of more than 4096 bytes"]);
    let name = Item { pax: vec![("path", vec![b'x'; 256])], ..file("s", "") };
    layer_refused("name", &[name], &["has a name of more than 255 bytes"]);
    let nul = Item { pax: vec![("path", b"a\0b".to_vec())], ..file("s", "") };
    layer_refused("nul", &[nul], &["entry 'a\\0b' has a NUL"]);
    let owner = Item { pax: vec![("uid", b"4294967296".to_vec())], ..file("s", "") };
    layer_refused("owner", &[owner], &["entry 's' has an owner or group beyond 32 bits"]);
}

#[test]
fn directories_without_end() {
    let deep = |first: u8| {
        let path = [&[first][..], &b"/a".repeat(2047)].concat();
        Item { pax: vec![("path", path)], ..dir("x") }
    };
    let items: Vec<_> = (b'b'..=b'z').map(deep).chain((b'A'..=b'Z').map(deep)).collect();
    layer_refused("deep", &items, &["its names and attributes have more than 256 MiB"]);
}

#[test]
fn damaged_layers() {
    let mut damaged = tar(&[file("a", "x"), file("b", "y")]);
    damaged[1024] ^= 1;
    let layout = Layout::new(&[damaged]);
    refused("checksum", &layout.archive(), &["layer sha256:", "the header at byte 1024 is damaged"]);
}

#[test]
fn corrupt_blobs() {
    let sample = || Layout::new(&[tar(&[file("a", "x")])]);
    let mut layout = sample();
    let blob = layout.layers[0].to_string();
    *layout.layer(0).last_mut().unwrap() ^= 1;
    refused("layer", &layout.archive(), &["layer", &blob, "its content has digest sha256:", "corrupt"]);
    let mut layout = sample();
    layout.layer(0).push(0);
    refused("longer", &layout.archive(), &["layer", &blob, "bytes, ", " are declared"]);
    let mut layout = sample();
    let name = format!("blobs/sha256/{}", layout.layers[0].hex());
    layout.files.remove(&name);
    refused("missing", &layout.archive(), &["layer", &blob, "it is not in the archive"]);
    for what in ["manifest", "configuration"] {
        let mut layout = sample();
        let digest = match what {
            "manifest" => Digest::of(&serde_json::to_vec(&layout.manifest).unwrap()),
            _ => Digest::of(&serde_json::to_vec(&layout.config).unwrap()),
        };
        layout.files.get_mut(&format!("blobs/sha256/{}", digest.hex())).unwrap()[0] ^= 1;
        refused(what, &layout.archive(), &[what, &digest.to_string(), "it is corrupt"]);
    }
}

#[test]
fn layers_that_are_not_those_of_the_configuration() {
    let mut layout = Layout::new(&[tar(&[file("a", "x")])]);
    let other = Digest::of(b"something else").to_string();
    layout.config["rootfs"]["diff_ids"] = json!([other]);
    layout.finish("web:1");
    refused("diff-id", &layout.archive(), &["layer sha256:", "unpacked it has digest", "says", &other]);
    layout.config["rootfs"]["diff_ids"] = json!([]);
    layout.finish("web:1");
    refused("count", &layout.archive(), &["manifest", "it lists 1 layers, the configuration 0"]);
    layout.config["rootfs"]["diff_ids"] = json!(["sha256:../../../etc/passwd"]);
    layout.finish("web:1");
    refused("form", &layout.archive(), &["configuration", "'sha256:../../../etc/passwd' is not a digest"]);
}

#[test]
fn descriptors_that_are_not_acceptable() {
    let mut layout = Layout::new(&[tar(&[file("a", "x")])]);
    layout.manifest["layers"][0]["mediaType"] =
        json!("application/vnd.oci.image.layer.nondistributable.v1.tar");
    layout.finish("web:1");
    refused("foreign", &layout.archive(), &["layer", "its media type 'application/vnd.oci.image.layer.nond"]);
    let mut layout = Layout::new(&[tar(&[file("a", "x")])]);
    layout.manifest["layers"][0]["digest"] = json!("sha256:../../index.json");
    layout.finish("web:1");
    refused("digest", &layout.archive(), &["layer", "'sha256:../../index.json' is not a digest"]);
    let mut layout = Layout::new(&[tar(&[file("a", "x")])]);
    layout.config["architecture"] = json!("s390x");
    layout.finish("web:1");
    refused("machine", &layout.archive(), &["configuration", "it is for linux/s390x, not linux/amd64"]);
    layout.finish("Not A Name:1");
    refused("name", &layout.archive(), &["an image in it has no usable name"]);
}

#[test]
fn indexes_without_end() {
    let mut layout = Layout::new(&[tar(&[])]);
    let mut inner = layout.finish("web:1");
    for _ in 0..5 {
        let index = serde_json::to_vec(&json!({"manifests": [inner]})).unwrap();
        inner = layout.blob("application/vnd.oci.image.index.v1+json", index);
    }
    layout.index(vec![inner]);
    refused("depth", &layout.archive(), &["index sha256:", "nested more than 4 deep"]);
}

#[test]
fn truncated_archives() {
    let layout = Layout::new(&[tar(&[file("a", &"x".repeat(5000))])]);
    let archive = layout.archive();
    let scratch = Scratch::new("truncated");
    let end = archive.len() - 1024;
    for len in (0..end).step_by(97) {
        import_bytes(&scratch, "web.tar", &archive[..len]).expect_err("it was accepted");
    }
    refused("truncated-tar", &archive[..end - 400], &["the archive is refused", "it is truncated: "]);
    let gzip = pack::gzip(&archive);
    refused(
        "truncated-gzip",
        &gzip[..gzip.len() / 2],
        &["the archive is refused", "cannot unpack it as gzip"],
    );
    refused("empty", &[], &["it is neither an OCI layout"]);
    refused("text", &[b'a'; 600], &["the archive is refused", "damaged"]);
    let docker = docker_archive(&[tar(&[file("a", "x")])], &["web:1"]);
    for len in (0..docker.len() - 1024).step_by(97) {
        import_bytes(&scratch, "web.tar", &docker[..len]).expect_err("it was accepted");
    }
}

#[test]
fn docker_archives_with_other_content() {
    let config = br#"{"architecture":"amd64","os":"linux","rootfs":{"diff_ids":[]}}"#;
    let name: &'static str = format!("{}.json", Digest::of(b"other").hex()).leak();
    let manifest = json!([{"Config": name, "RepoTags": ["web:1"], "Layers": []}]).to_string();
    let items = [Item { data: config.to_vec(), ..item(b'0', name) }, file("manifest.json", &manifest)];
    refused("docker-config", &tar(&items), &["configuration", name, "it is corrupt"]);
    // Paths are looked up among the archive's entries, never on this machine.
    let manifest = json!([{"Config": "../../../etc/passwd", "Layers": []}]).to_string();
    let items = [link(b'2', "etc/passwd", "/etc/hostname"), file("manifest.json", &manifest)];
    refused("docker-path", &tar(&items), &["configuration ../../../etc/passwd", "it is not in the archive"]);
    let items = [link(b'2', "a", "b"), link(b'2', "b", "a"), file("manifest.json", r#"[{"Config": "a"}]"#)];
    refused("docker-loop", &tar(&items), &["configuration a", "it is not in the archive"]);
}

#[test]
fn folders_are_not_left_through_links() {
    let scratch = Scratch::new("folder-links");
    let layout = Layout::new(&[tar(&[file("a", "x")])]);
    let (real, linked) = (scratch.0.join("real"), scratch.0.join("linked"));
    layout.folder(&real);
    layout.folder(&linked);
    pack::import_path(&scratch, &real).unwrap();
    fs::remove_dir_all(linked.join("blobs")).unwrap();
    std::os::unix::fs::symlink(real.join("blobs"), linked.join("blobs")).unwrap();
    let error = pack::import_path(&scratch, &linked).expect_err("it was accepted");
    assert!(chain(&error).contains("cannot read"), "{}", chain(&error));
}

#[test]
fn many_layers_of_long_names_do_not_fill_the_memory() {
    // Each directory of a path is remembered with its whole path: 5 KB of a layer take 4 MB.
    let layer = |number: u32| {
        let entry = |n: u32| Item {
            pax: vec![("path", format!("{number}.{n}{}", "/a".repeat(2000)).into_bytes())],
            ..dir("long")
        };
        tar(&(0..30).map(entry).collect::<Vec<_>>())
    };
    let layers: Vec<_> = (0..6).map(layer).collect();
    let scratch = Scratch::new("memory");
    import_bytes(&scratch, "web.tar", &docker_archive(&layers[..2], &["web:1"])).unwrap();
    refused(
        "memory",
        &docker_archive(&layers, &["web:1"]),
        &["layer 4/layer.tar", "have more than 1024 MiB"],
    );
}
