//! Packs archives for the tests: layers, images and archives of all formats, whole or with a fault in them.
#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, reason = "a test's own tools fail by panicking")]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use berth_image::digest::Digest;
use berth_image::import::{ImportError, Options, UNPACKED_LIMIT, import};
use berth_image::store::Store;
use serde_json::{Value, json};

/// A directory that goes away with the test.
pub struct Scratch(pub PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("berth-image-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        drop(fs::remove_dir_all(&self.0));
    }
}

/// One tar entry, of any content: nothing is checked.
pub struct Item {
    pub path: &'static str,
    pub kind: u8,
    pub link: &'static str,
    pub data: Vec<u8>,
    /// Instead of the data's length.
    pub size: Option<u64>,
    pub pax: Vec<(&'static str, Vec<u8>)>,
    /// Instead of 0644 and 0755.
    pub mode: Option<u32>,
    pub uid: u64,
}

pub fn item(kind: u8, path: &'static str) -> Item {
    Item { path, kind, link: "", data: Vec::new(), size: None, pax: Vec::new(), mode: None, uid: 0 }
}

pub fn file(path: &'static str, data: &str) -> Item {
    Item { data: data.into(), ..item(b'0', path) }
}

pub fn dir(path: &'static str) -> Item {
    item(b'5', path)
}

pub fn link(kind: u8, path: &'static str, link: &'static str) -> Item {
    Item { link, ..item(kind, path) }
}

/// A tar stream with its end marker.
pub fn tar(items: &[Item]) -> Vec<u8> {
    let mut out = Vec::new();
    for item in items {
        if !item.pax.is_empty() {
            let records: Vec<u8> = item.pax.iter().flat_map(|(key, value)| record(key, value)).collect();
            entry(&mut out, &Item { data: records, ..self::item(b'x', "pax") });
        }
        entry(&mut out, item);
    }
    out.extend([0; 1024]);
    out
}

fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let len = (1..).find(|len| rest + len.to_string().len() == *len).unwrap();
    [len.to_string().as_bytes(), b" ", key.as_bytes(), b"=", value, b"\n"].concat()
}

fn entry(out: &mut Vec<u8>, item: &Item) {
    let mut header = tar::Header::new_gnu();
    let old = header.as_old_mut();
    old.name[..item.path.len()].copy_from_slice(item.path.as_bytes());
    old.linkname[..item.link.len()].copy_from_slice(item.link.as_bytes());
    old.linkflag = [item.kind];
    header.set_mode(item.mode.unwrap_or(if item.kind == b'5' { 0o755 } else { 0o644 }));
    header.set_uid(item.uid);
    header.set_gid(0);
    header.set_mtime(1_700_000_000);
    header.set_size(item.size.unwrap_or(item.data.len() as u64));
    header.set_cksum();
    out.extend(header.as_bytes());
    out.extend(&item.data);
    out.resize(out.len().next_multiple_of(512), 0);
}

pub fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// An image as the files of an OCI layout: a test may change them before they are packed.
pub struct Layout {
    pub files: BTreeMap<String, Vec<u8>>,
    /// Digests of the layers' blobs.
    pub layers: Vec<Digest>,
    pub manifest: Value,
    pub config: Value,
}

impl Layout {
    /// Layers lowest first, each a tar stream; stored as gzip.
    pub fn new(layers: &[Vec<u8>]) -> Self {
        let mut layout =
            Self { files: BTreeMap::new(), layers: Vec::new(), manifest: Value::Null, config: Value::Null };
        let diff_ids: Vec<_> = layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
        layout.config = json!({
            "architecture": "amd64", "os": "linux",
            "config": {"Env": ["A=b"], "Cmd": ["/bin/app"], "Entrypoint": null, "Volumes": {"/data": {}},
                "Healthcheck": {"Test": ["CMD", "/check"], "Retries": 5}},
            "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let descriptors: Vec<_> = layers
            .iter()
            .map(|layer| {
                let descriptor = layout.blob("application/vnd.oci.image.layer.v1.tar+gzip", gzip(layer));
                layout.layers.push(Digest::parse(descriptor["digest"].as_str().unwrap()).unwrap());
                descriptor
            })
            .collect();
        layout.manifest = json!({"schemaVersion": 2, "layers": descriptors});
        layout.finish("shop/web:1");
        layout
    }

    /// Adds a blob; returns its descriptor.
    pub fn blob(&mut self, media_type: &str, bytes: Vec<u8>) -> Value {
        let digest = Digest::of(&bytes);
        let size = bytes.len();
        self.files.insert(format!("blobs/sha256/{}", digest.hex()), bytes);
        json!({"mediaType": media_type, "digest": digest.to_string(), "size": size})
    }

    /// Writes configuration, manifest and index as they are now.
    pub fn finish(&mut self, name: &str) -> Value {
        let config = serde_json::to_vec(&self.config).unwrap();
        self.manifest["config"] = self.blob("application/vnd.oci.image.config.v1+json", config);
        let manifest = serde_json::to_vec(&self.manifest).unwrap();
        let mut descriptor = self.blob("application/vnd.oci.image.manifest.v1+json", manifest);
        descriptor["annotations"] = json!({"org.opencontainers.image.ref.name": name});
        self.index(vec![descriptor.clone()]);
        descriptor
    }

    pub fn index(&mut self, manifests: Vec<Value>) {
        let index = json!({"schemaVersion": 2, "manifests": manifests});
        self.files.insert("index.json".into(), serde_json::to_vec(&index).unwrap());
        self.files.insert("oci-layout".into(), br#"{"imageLayoutVersion": "1.0.0"}"#.to_vec());
    }

    /// The blob file of a layer.
    pub fn layer(&mut self, index: usize) -> &mut Vec<u8> {
        let name = format!("blobs/sha256/{}", self.layers[index].hex());
        self.files.get_mut(&name).unwrap()
    }

    /// As an oci-archive.
    pub fn archive(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, data) in &self.files {
            let path: &'static str = name.clone().leak();
            entry(&mut out, &Item { data: data.clone(), ..item(b'0', path) });
        }
        out.extend([0; 1024]);
        out
    }

    /// As a folder.
    pub fn folder(&self, path: &Path) {
        for (name, data) in &self.files {
            fs::create_dir_all(path.join(name).parent().unwrap()).unwrap();
            fs::write(path.join(name), data).unwrap();
        }
    }
}

/// A docker-archive of plain layers.
pub fn docker_archive(layers: &[Vec<u8>], tags: &[&str]) -> Vec<u8> {
    let config = serde_json::to_vec(&Layout::new(layers).config).unwrap();
    let name = format!("{}.json", Digest::of(&config).hex());
    let mut items = vec![Item { data: config, ..item(b'0', name.clone().leak()) }];
    let mut paths = Vec::new();
    for (number, layer) in layers.iter().enumerate() {
        let path: &'static str = format!("{number}/layer.tar").leak();
        items.push(Item { data: layer.clone(), ..item(b'0', path) });
        paths.push(path);
    }
    let manifest = json!([{"Config": name, "RepoTags": tags, "Layers": paths}]);
    items.push(file("manifest.json", &manifest.to_string()));
    tar(&items)
}

/// Imports one file for linux/amd64 into an empty store.
pub fn import_bytes(scratch: &Scratch, name: &str, bytes: &[u8]) -> Result<Store, ImportError> {
    let path = scratch.0.join(name);
    fs::write(&path, bytes).unwrap();
    import_path(scratch, &path)
}

pub fn import_path(scratch: &Scratch, path: &Path) -> Result<Store, ImportError> {
    let options = Options { architecture: "amd64", spool: &scratch.0, limit: UNPACKED_LIMIT };
    let mut store = Store::default();
    import(&mut store, path, &options).map(|()| store)
}

/// An error with all its causes.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
