//! The same image in every format gives the same store; names, platforms and what layers mean.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod pack;

use berth_image::digest::Digest;
use berth_image::store::Store;
use berth_image::tree::{Body, Node, NodeId, Tree};
use pack::{
    Item, Layout, Scratch, dir, docker_archive, file, gzip, import_bytes, import_path, item, link, tar,
};
use serde_json::{Value, json};

fn layers() -> Vec<Vec<u8>> {
    vec![
        tar(&[dir("./"), dir("./etc/"), file("./etc/hosts", "lower"), file("/bin/app", "app")]),
        tar(&[dir("etc"), file("etc/.wh.hosts", ""), file("etc/new", "upper")]),
    ]
}

fn names(store: &Store) -> Vec<String> {
    store.images.keys().map(ToString::to_string).collect()
}

#[test]
fn a_layer_may_end_with_its_last_byte_of_data() {
    let whole = tar(&[file("a", &"x".repeat(700))]);
    let cut = 512 + 700;
    let scratch = Scratch::new("padding");
    let store = import_bytes(&scratch, "web.tar", &Layout::new(&[whole[..cut].to_vec()]).archive()).unwrap();
    assert_eq!(names(&store).len(), 1);
    let short = Layout::new(&[whole[..cut - 1].to_vec()]).archive();
    assert!(import_bytes(&scratch, "short.tar", &short).is_err());
}

#[test]
fn every_format_gives_the_same() {
    let scratch = Scratch::new("formats");
    let layout = Layout::new(&layers());
    layout.folder(&scratch.0.join("folder"));
    let docker = docker_archive(&layers(), &["shop/web:1"]);
    let mut both = layout.archive();
    both.truncate(both.len() - 1024);
    both.extend(&docker);
    let stores = [
        import_path(&scratch, &scratch.0.join("folder")),
        import_bytes(&scratch, "oci.tar", &layout.archive()),
        import_bytes(&scratch, "oci.tar.gz", &gzip(&layout.archive())),
        import_bytes(&scratch, "oci.tar.zst", &zstd::encode_all(&layout.archive()[..], 1).unwrap()),
        import_bytes(&scratch, "both.tar", &both),
        import_bytes(&scratch, "docker.tar", &docker),
        import_bytes(&scratch, "docker.tgz", &gzip(&docker)),
    ];
    let diff_ids: Vec<_> = layers().iter().map(|layer| Digest::of(layer)).collect();
    for store in stores.map(Result::unwrap) {
        assert_eq!(names(&store), ["docker.io/shop/web:1"]);
        let image = store.images.values().next().unwrap();
        let found: Vec<_> = image.layers.iter().map(|layer| store.layers[layer].diff_id).collect();
        assert_eq!(found, diff_ids);
        assert_eq!(image.config.cmd, ["/bin/app"]);
        assert_eq!(image.config.volumes, ["/data"]);
        let check = image.config.healthcheck.as_ref().unwrap();
        assert_eq!((check.test.as_deref().unwrap().len(), check.retries, check.interval), (2, Some(5), None));
        assert_eq!(store.layers.keys().len(), 2);
    }
}

#[test]
fn names_are_found() {
    let (ref_name, containerd) = ("org.opencontainers.image.ref.name", "io.containerd.image.name");
    for (file, annotations, expect) in [
        ("x.tar", json!({ref_name: "shop/web:2"}), "docker.io/shop/web:2"),
        ("x.tar", json!({ref_name: "ghcr.example/shop/web"}), "ghcr.example/shop/web:latest"),
        ("x.tar", json!({ref_name: "2", containerd: "docker.io/shop/web:2"}), "docker.io/shop/web:2"),
        ("x.tar", json!({containerd: "docker.io/shop/web:3"}), "docker.io/shop/web:3"),
        ("web.tar", json!({ref_name: "1.4"}), "docker.io/library/web:1.4"),
        ("web.oci.tar.gz", json!({}), "docker.io/library/web:latest"),
        ("web.tar", Value::Null, "docker.io/library/web:latest"),
    ] {
        let scratch = Scratch::new("names");
        let mut layout = Layout::new(&layers());
        let mut descriptor = layout.finish("");
        descriptor["annotations"] = annotations;
        layout.index(vec![descriptor]);
        assert_eq!(names(&import_bytes(&scratch, file, &layout.archive()).unwrap()), [expect]);
    }
    let scratch = Scratch::new("tags");
    let docker = docker_archive(&layers(), &["shop/web:1", "shop/web:latest"]);
    let store = import_bytes(&scratch, "docker.tar", &docker).unwrap();
    assert_eq!(names(&store), ["docker.io/shop/web:1", "docker.io/shop/web:latest"]);
    let store = import_bytes(&scratch, "web.tar", &docker_archive(&layers(), &[])).unwrap();
    assert_eq!(names(&store), ["docker.io/library/web:latest"]);
}

#[test]
fn the_platform_is_chosen() {
    let scratch = Scratch::new("platform");
    let mut layout = Layout::new(&layers());
    let ours = layout.finish("");
    layout.config["architecture"] = json!("arm64");
    let other = layout.finish("");
    let on = |mut descriptor: Value, architecture: &str| {
        descriptor["platform"] = json!({"os": "linux", "architecture": architecture});
        descriptor
    };
    let attestation = on(ours.clone(), "unknown");
    let list = json!({"manifests": [attestation, on(other.clone(), "arm64"), on(ours.clone(), "amd64")]});
    let index = layout.blob("application/vnd.oci.image.index.v1+json", list.to_string().into_bytes());
    layout.index(vec![index]);
    let store = import_bytes(&scratch, "web.tar", &layout.archive()).unwrap();
    assert_eq!(store.images.values().next().unwrap().digest.to_string(), ours["digest"]);
    layout.index(vec![on(other.clone(), "arm64"), on(ours, "amd64")]);
    assert_eq!(names(&import_bytes(&scratch, "web.tar", &layout.archive()).unwrap()).len(), 1);
    layout.index(vec![on(other, "arm64")]);
    let error = import_bytes(&scratch, "web.tar", &layout.archive()).unwrap_err();
    assert!(pack::chain(&error).ends_with("has nothing for linux/amd64"), "{}", pack::chain(&error));
}

fn layer(items: &[Item]) -> Tree {
    let scratch = Scratch::new("layer");
    let store = import_bytes(&scratch, "web.tar", &Layout::new(&[tar(items)]).archive()).unwrap();
    store.layers.into_values().next().unwrap().tree
}

fn at(tree: &Tree, path: &str) -> Option<NodeId> {
    path.split('/').try_fold(Tree::ROOT, |at, name| tree.child(at, name.as_bytes()))
}

fn node<'a>(tree: &'a Tree, path: &str) -> &'a Node {
    tree.node(at(tree, path).unwrap_or_else(|| panic!("no '{path}'")))
}

fn is_opaque(tree: &Tree, path: &str) -> bool {
    node(tree, path).meta.xattrs.get(&b"trusted.overlay.opaque"[..]).is_some_and(|value| value == b"y")
}

fn is_whiteout(tree: &Tree, path: &str) -> bool {
    matches!(node(tree, path).body, Body::Char(0, 0))
}

fn content(tree: &Tree, path: &str) -> String {
    let Body::File(content) = &node(tree, path).body else { panic!("'{path}' is no file") };
    std::io::read_to_string(content.reader()).unwrap()
}

#[test]
fn whiteouts_and_opaque_directories() {
    let tree = layer(&[
        file("gone/.wh.x", ""),
        dir("hidden"),
        file("hidden/.wh..wh..opq", ""),
        dir("hidden"),
        file(".wh..wh.plnk", ""),
        // In the same layer a name wins over its whiteout, but what was below it stays hidden.
        file(".wh.first", ""),
        dir("first"),
        dir("second"),
        file(".wh.second", ""),
        file(".wh.third", ""),
        file("third/implied", "x"),
        file(".wh.file", ""),
        file("file", "x"),
    ]);
    assert!(is_whiteout(&tree, "gone/x"));
    for path in ["hidden", "first", "second", "third"] {
        assert!(is_opaque(&tree, path), "{path}");
    }
    assert!(!is_opaque(&tree, "gone"));
    assert_eq!(content(&tree, "file"), "x");
    assert_eq!(at(&tree, ".wh..wh.plnk"), None);
}

#[test]
fn the_last_of_equal_names_wins() {
    let tree = layer(&[
        file("a", "old"),
        link(b'1', "kept", "./a"),
        file("a", "new"),
        dir("d"),
        file("d/inside", "x"),
        dir("d"),
        dir("e"),
        file("e/inside", "x"),
        file("e", "now a file"),
        link(b'2', "s", "/somewhere"),
        dir("s"),
        file("s/inside", "x"),
    ]);
    assert_eq!((content(&tree, "a"), content(&tree, "kept")), ("new".into(), "old".into()));
    assert_eq!(content(&tree, "d/inside"), "x");
    assert_eq!(content(&tree, "e"), "now a file");
    assert_eq!(content(&tree, "s/inside"), "x");
}

#[test]
fn links_devices_and_attributes() {
    let capability = b"\x01\0\0\x02\0\n\0\0\0\0\0\0\0\0\0\0\0\0\0\0".to_vec(); // with a newline in it
    let tree = layer(&[
        Item { pax: vec![("SCHILY.xattr.security.capability", capability.clone())], ..file("bin/ping", "x") },
        link(b'1', "bin/ping6", "/bin/ping"),
        Item {
            pax: vec![
                ("SCHILY.xattr.user.note", b"n".to_vec()),
                ("SCHILY.xattr.user.overlay.opaque", b"y".to_vec()),
                ("SCHILY.xattr.trusted.overlay.opaque", b"y".to_vec()),
                ("SCHILY.xattr.security.selinux", b"s".to_vec()),
                ("mtime", b"-3.5".to_vec()),
            ],
            ..dir("noted")
        },
        link(b'2', "up", "../../../etc/passwd"),
        item(b'6', "pipe"),
        Item { pax: vec![("path", b"long/".repeat(200).to_vec())], ..dir("x") },
    ]);
    assert_eq!(at(&tree, "bin/ping"), at(&tree, "bin/ping6"));
    assert_eq!(node(&tree, "bin/ping").meta.xattrs[&b"security.capability"[..]], capability);
    let noted = &node(&tree, "noted").meta;
    assert_eq!(noted.xattrs.keys().collect::<Vec<_>>(), [b"user.note"]);
    assert_eq!(noted.mtime, -4);
    assert!(matches!(&node(&tree, "up").body, Body::Symlink(target) if target == b"../../../etc/passwd"));
    assert!(matches!(node(&tree, "pipe").body, Body::Fifo));
    assert!(at(&tree, &["long"; 200].join("/")).is_some());
    // Implied by its entry only.
    let implied = &node(&tree, "bin").meta;
    assert_eq!((implied.mode, implied.uid), (0o755, 0));
}

#[test]
fn implied_directories_repeat_what_is_below() {
    let mode = |mode: u32, uid: u64, item: Item| Item { mode: Some(mode), uid, ..item };
    let base = tar(&[
        mode(0o1777, 0, dir("tmp")),
        mode(0o700, 1000, dir("home/user")),
        mode(0o700, 1000, dir("gone")),
        mode(0o700, 1000, dir("opaque/inner")),
    ]);
    let between = tar(&[file(".wh.gone", ""), file("opaque/.wh..wh..opq", "")]);
    let top = tar(&[
        file("tmp/x", ""),
        file("home/user/x", ""),
        file("gone/x", ""),
        file("opaque/inner/x", ""),
        file("new/x", ""),
    ]);
    let scratch = Scratch::new("implied");
    let all = Layout::new(&[base, between, top.clone()]);
    let mut store = import_bytes(&scratch, "all.tar", &all.archive()).unwrap();
    let image = store.images.values().next().unwrap();
    let tree = &store.layers[&image.layers[2]].tree;
    let meta = |path: &str| (node(tree, path).meta.mode, node(tree, path).meta.uid);
    assert_eq!(meta("tmp"), (0o1777, 0));
    assert_eq!(meta("home/user"), (0o700, 1000));
    for path in ["gone", "opaque/inner", "new"] {
        assert_eq!(meta(path), (0o755, 0), "{path}");
    }
    // The same layer on nothing is another tree, and both are kept.
    std::fs::write(scratch.0.join("web.tar"), docker_archive(&[top], &["web:1"])).unwrap();
    let options = berth_image::import::Options { architecture: "amd64", spool: &scratch.0, limit: 1 << 20 };
    berth_image::import::import(&mut store, &scratch.0.join("web.tar"), &options).unwrap();
    assert_eq!(store.layers.len(), 4);
    assert_eq!(
        store.layers.values().map(|layer| layer.diff_id).collect::<std::collections::BTreeSet<_>>().len(),
        3
    );
}

#[test]
fn equal_names_with_other_content_are_refused() {
    let scratch = Scratch::new("twice");
    let options = berth_image::import::Options { architecture: "amd64", spool: &scratch.0, limit: 1 << 20 };
    let mut store = import_bytes(&scratch, "one.tar", &Layout::new(&layers()).archive()).unwrap();
    std::fs::write(scratch.0.join("two.tar"), docker_archive(&layers(), &["shop/web:1"])).unwrap();
    berth_image::import::import(&mut store, &scratch.0.join("two.tar"), &options).unwrap();
    std::fs::write(scratch.0.join("three.tar"), Layout::new(&layers()[..1]).archive()).unwrap();
    let error = berth_image::import::import(&mut store, &scratch.0.join("three.tar"), &options).unwrap_err();
    let text = pack::chain(&error);
    assert!(text.contains("three.tar': image 'docker.io/shop/web:1' is already there"), "{text}");
    assert_eq!((store.images.len(), store.layers.len()), (1, 2));
}

#[test]
fn the_limit_counts_all_layers() {
    let scratch = Scratch::new("limit");
    std::fs::write(scratch.0.join("web.tar"), Layout::new(&layers()).archive()).unwrap();
    let size: u64 = layers().iter().map(|layer| layer.len() as u64).sum();
    for (limit, fits) in [(size, true), (size - 1, false)] {
        let options = berth_image::import::Options { architecture: "amd64", spool: &scratch.0, limit };
        let result = berth_image::import::import(&mut Store::default(), &scratch.0.join("web.tar"), &options);
        assert_eq!(result.is_ok(), fits, "{limit}");
    }
}
