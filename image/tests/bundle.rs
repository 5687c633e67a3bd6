//! A bundle of real images: skopeo reads it, and a store takes its images in.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

mod pack;

use std::fs;
use std::process::Command;

use berth_image::bundle::{Bundle, Contents, collect, pack_to};
use berth_image::depot::{Depot, Keep, Limits};
use berth_image::signature::minisign::SecretKey;
use pack::{Layout, Scratch, file, tar};

#[test]
fn peers_and_stores_read_it() {
    let scratch = Scratch::new("bundle");
    let depot = Depot::create(&scratch.0.join("store")).unwrap();
    let how = (Keep::Blobs, Limits { reserve: 0, ..Limits::default() });
    for (name, text) in [("shop/web:1", "one"), ("shop/db:2", "two")] {
        let mut layout = Layout::new(&[tar(&[file("bin/app", text)])]);
        layout.finish(name);
        let path = scratch.0.join("in.tar");
        fs::write(&path, layout.archive()).unwrap();
        depot.writer(|| ()).unwrap().import(&path, "amd64", how).unwrap();
    }
    let index = depot.index().unwrap();
    let images = index.images.iter().map(|(name, image)| collect(&depot, vec![name.clone()], image).unwrap());
    let texts = [("node.toml".to_owned(), "schema = 1\n".to_owned())].into();
    let contents = Contents { texts, images: images.collect(), os: None };
    let (out, key) = (scratch.0.join("shop.bundle"), SecretKey::new(&[3; 40]).unwrap());
    let digest = pack_to(&contents, Some(&key), &out).unwrap();
    let bundle = Bundle::open(&out, &[key.public()]).unwrap();
    assert_eq!((bundle.digest(), bundle.images().len()), (digest, 2));

    for (name, image) in &index.images {
        let source = format!("oci-archive:{}:{name}", out.display());
        let output = Command::new("skopeo").args(["inspect", "--format", "{{.Digest}}", &source]).output();
        let output = output.expect("skopeo is installed");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), image.digest);
        let copy = format!("dir:{}", scratch.0.join("copy").display());
        let policy = ["--insecure-policy", "copy", "-q", &source, &copy];
        let output = Command::new("skopeo").args(policy).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }
    let node = Depot::create(&scratch.0.join("node")).unwrap();
    let how = (Keep::Layers, how.1);
    assert_eq!(node.writer(|| ()).unwrap().import(&out, "amd64", how).unwrap().len(), 2);
    let digests = |depot: &Depot| -> Vec<_> {
        depot.index().unwrap().images.into_iter().map(|(name, image)| (name, image.digest)).collect()
    };
    assert_eq!(digests(&node), digests(&depot));
    // Once it is verified, a change of its file is found or does not matter: the index is the one that was signed.
    let late = Depot::create(&scratch.0.join("late")).unwrap();
    let mut bytes = fs::read(&out).unwrap();
    let at = bytes.windows(10).position(|window| window == b"index.json").unwrap();
    bytes[at + 512..at + 1100].fill(b' ');
    fs::write(&out, &bytes).unwrap();
    let names = late.writer(|| ()).unwrap().import_bundle((&bundle, &out), "amd64", how).unwrap();
    assert_eq!((names.len(), digests(&late)), (2, digests(&depot)));
    let manifest = bytes.windows(15).rposition(|window| window == b"\"schemaVersion\"").unwrap();
    bytes[manifest] = b' ';
    fs::write(&out, &bytes).unwrap();
    let late = Depot::create(&scratch.0.join("later")).unwrap();
    let fault = late.writer(|| ()).unwrap().import_bundle((&bundle, &out), "amd64", how).unwrap_err();
    assert!(pack::chain(&fault).contains("corrupt"), "{fault:?}");
    let taken = digests(&late);
    assert!(taken.len() < 2 && taken.iter().all(|image| digests(&depot).contains(image)), "{taken:?}");
    // Not even a folder is opened as a bundle, and a pipe does not make it wait.
    assert!(Bundle::open(&scratch.0, &[]).is_err());
    let pipe = scratch.0.join("pipe");
    rustix::fs::mknodat(rustix::fs::CWD, &pipe, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(Bundle::open(&pipe, &[]).is_err());
}
