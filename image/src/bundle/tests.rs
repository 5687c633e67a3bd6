//! Bundles as they are made, and as nobody should get away with making them.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use berth_units::Reference;
use serde_json::{Value, json};

use super::*;
use crate::digest::Digest;
use crate::extent::{Extent, spool};
use crate::signature::minisign::{PublicKey, SecretKey};

fn extent(bytes: &[u8]) -> Extent {
    let mut file = spool(&std::env::temp_dir()).unwrap();
    file.write_all(bytes).unwrap();
    Extent::whole(file).unwrap()
}

fn key(seed: u8) -> SecretKey {
    SecretKey::new(&[seed; 40]).unwrap()
}

fn trusted() -> Vec<PublicKey> {
    vec![key(7).public()]
}

fn descriptor(kind: &str, bytes: &[u8]) -> Value {
    let media_type = format!("application/vnd.oci.image.{kind}");
    json!({"mediaType": media_type, "digest": Digest::of(bytes).to_string(), "size": bytes.len()})
}

/// An image of one layer: what is in it does not matter here.
fn image(name: &str, layer: &[u8]) -> ImageContent {
    let config = b"{\"os\":\"linux\"}";
    let manifest = json!({
        "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": descriptor("config.v1+json", config), "layers": [descriptor("layer.v1.tar", layer)],
    });
    ImageContent {
        names: vec![Reference::parse(name).unwrap()],
        media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
        manifest: manifest.to_string().into_bytes(),
        blobs: [config.as_slice(), layer].map(|bytes| (Digest::of(bytes), extent(bytes))).into(),
    }
}

fn contents() -> Contents {
    let texts = [("node.toml", "schema = 1\n"), ("units/web.toml", "schema = 1\nimage.ref = \"web:1\"\n")];
    Contents {
        texts: texts.map(|(name, text)| (name.to_owned(), text.to_owned())).into(),
        images: vec![image("web:1", b"layer of web"), image("db:2", b"layer of db")],
        os: Some(extent(b"MZ and so on")),
    }
}

fn packed(contents: &Contents, key: Option<&SecretKey>) -> Vec<u8> {
    let mut bytes = Vec::new();
    pack(contents, key, &mut bytes).unwrap();
    bytes
}

fn open(bytes: &[u8]) -> Result<Bundle, BundleError> {
    Bundle::read(&extent(bytes), &trusted())
}

#[track_caller]
fn refused(bytes: &[u8], word: &str) {
    let fault = open(bytes).unwrap_err();
    let text =
        format!("{fault} {}", std::error::Error::source(&fault).map(ToString::to_string).unwrap_or_default());
    assert!(text.contains(word), "{text}");
}

#[test]
fn what_goes_in_comes_out() {
    let contents = contents();
    let bytes = packed(&contents, Some(&key(7)));
    assert_eq!(bytes, packed(&contents, Some(&key(7))), "the same input gives the same bytes");
    let bundle = open(&bytes).unwrap();
    assert_eq!(bundle.texts(), &contents.texts);
    let images: Vec<_> = bundle.images().iter().map(|image| (image.name.familiar(), image.size)).collect();
    assert_eq!(images, [("db:2".to_owned(), 11), ("web:1".to_owned(), 12)]);
    for (found, given) in bundle.images().iter().rev().zip(&contents.images) {
        assert_eq!(bundle.blob(&found.digest).unwrap().read_all(1 << 20).unwrap(), given.manifest);
        assert!(given.blobs.keys().all(|digest| bundle.blob(digest).is_some()));
    }
    let (digest, os) = bundle.os().unwrap();
    assert_eq!((digest, os.read_all(100).unwrap()), (Digest::of(b"MZ and so on"), b"MZ and so on".to_vec()));
    assert_eq!(bundle.verify(&trusted()).unwrap().id(), key(7).public().id());
    let comment = format!("berth bundle {}", bundle.digest());
    assert_eq!(bundle.signature().unwrap().trusted_comment(), comment);
    // Everything but node.toml may be absent.
    let little = Contents { images: Vec::new(), os: None, ..contents };
    assert!(open(&packed(&little, Some(&key(7)))).is_ok_and(|bundle| bundle.os().is_none()));
}

#[test]
fn only_what_a_trusted_key_has_signed() {
    let unsigned = packed(&contents(), None);
    assert!(Bundle::read(&extent(&unsigned), &[]).is_ok());
    assert!(matches!(open(&unsigned), Err(BundleError::Unsigned)));
    assert!(matches!(open(&packed(&contents(), Some(&key(8)))), Err(BundleError::Untrusted { .. })));
    // The signature of one bundle before another one, by the same key.
    let mut other = contents();
    other.texts.insert("units/evil.toml".to_owned(), "schema = 1\n".to_owned());
    let (good, other) = (packed(&contents(), Some(&key(7))), packed(&other, Some(&key(7))));
    refused(&[&good[..1024], &other[1024..]].concat(), "not over these bytes");
    // A stranger's key that has the id of a trusted one.
    let mut bytes = [9; 40];
    bytes[..8].fill(7);
    refused(&packed(&contents(), Some(&SecretKey::new(&bytes).unwrap())), "not over these bytes");
}

#[test]
fn every_byte_counts() {
    let contents = Contents { images: vec![image("web:1", b"layer")], os: None, ..contents() };
    let bytes = packed(&contents, Some(&key(7)));
    // Every third, so that the next header has its other bytes changed.
    for at in (0..bytes.len()).step_by(3) {
        let mut changed = bytes.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(open(&changed).is_err(), "byte {at} of {} can be changed", bytes.len());
    }
    for len in (0..bytes.len()).step_by(256) {
        assert!(open(&bytes[..len]).is_err(), "cut at {len}");
    }
    refused(&[&bytes[..], b"\0"].concat(), "its end");
    refused(&[&bytes[..], &[0; 512]].concat(), "its end");
}

#[test]
fn a_damaged_blob_is_named() {
    let bytes = packed(&contents(), Some(&key(7)));
    let at = bytes.windows(12).position(|window| window == b"layer of web").unwrap();
    let mut changed = bytes.clone();
    changed[at] = b'L';
    refused(&changed, &Digest::of(b"layer of web").to_string());
}

/// Entries of a bundle, to be put together in other ways.
fn entries(bytes: &[u8]) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(bytes);
    let read = |entry: std::io::Result<tar::Entry<'_, &[u8]>>| {
        let mut entry = entry.unwrap();
        let mut data = Vec::new();
        entry.read_to_end(&mut data).unwrap();
        (String::from_utf8(entry.path_bytes().into_owned()).unwrap(), data)
    };
    archive.entries().unwrap().map(read).collect()
}

fn joined(entries: &[(String, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (name, data) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(data.len() as u64);
        header.set_cksum();
        bytes.extend(header.as_bytes());
        bytes.extend(data);
        bytes.resize(bytes.len().next_multiple_of(512), 0);
    }
    bytes.extend([0; 1024]);
    bytes
}

#[test]
fn entries_that_no_bundle_has() {
    let good = entries(&packed(&contents(), Some(&key(7))));
    assert!(open(&joined(&good)).is_ok());
    let with = |at: usize, name: &str, data: &[u8]| {
        let mut entries = good.clone();
        entries.insert(at, (name.to_owned(), data.to_vec()));
        joined(&entries)
    };
    let last = good.len();
    let blob = format!("blobs/sha256/{}", Digest::of(b"x").hex());
    for name in
        ["../../etc/passwd", "/etc/passwd", "blobs/sha256/../x", "blobs/sha256/x", "blobs/", "README", ""]
    {
        assert!(open(&with(last, name, b"x")).is_err(), "{name}");
    }
    refused(&with(0, &good[0].0, &good[0].1), "does not belong there");
    refused(&with(3, "index.json", b"{}"), "does not belong there");
    refused(&with(last, &good[last - 1].0, &good[last - 1].1), "does not belong there");
    let place = good.iter().position(|(name, _)| name.starts_with("blobs/") && *name > blob).unwrap_or(last);
    refused(&with(place, &blob, b"x"), "belongs to nothing");
    refused(&joined(&[&good[..last - 1]].concat()), "is missing");
    refused(&joined(&good[1..]), "not signed");
    refused(&joined(&[&good[..1], &good[2..]].concat()), "does not belong there");
    refused(&joined(&good[..2]), "no 'index.json'");
    refused(&joined(&[]), "no 'oci-layout'");
    refused(&with(0, "berth.sig", &[b'x'; 9000]), "too long");
    // A header that lies about the size of the file.
    let mut lying = joined(&good);
    lying[124..136].copy_from_slice(b"77777777777\0");
    let mut header = tar::Header::new_gnu();
    header.as_mut_bytes().copy_from_slice(&lying[..512]);
    header.set_cksum();
    lying[..512].copy_from_slice(header.as_bytes());
    refused(&lying, "cut off");
}

/// A bundle around that index, signed, with those blobs besides.
fn around(index: &Value, blobs: &[&[u8]]) -> Vec<u8> {
    let index = index.to_string().into_bytes();
    let signature = key(7).sign(&index, "berth bundle").file().into_bytes();
    let mut entries = vec![
        ("berth.sig".to_owned(), signature),
        ("oci-layout".to_owned(), LAYOUT.to_vec()),
        ("index.json".to_owned(), index),
    ];
    let blobs: BTreeMap<_, _> = blobs.iter().map(|blob| (Digest::of(blob).hex(), blob.to_vec())).collect();
    entries.extend(blobs.into_iter().map(|(hex, blob)| (format!("blobs/sha256/{hex}"), blob)));
    joined(&entries)
}

fn line(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(bytes).to_string(), "size": bytes.len()})
}

fn index(lines: &[Value]) -> Value {
    json!({"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": lines})
}

#[test]
fn signed_nonsense_is_nonsense() {
    let empty = joined(&[]);
    let units = line(UNITS, &empty);
    assert!(open(&around(&index(std::slice::from_ref(&units)), &[&empty])).is_ok());
    let image = |name: &str, bytes: &[u8]| {
        let mut image = line("application/vnd.oci.image.manifest.v1+json", bytes);
        image["annotations"] =
            json!({"org.opencontainers.image.ref.name": name, "io.containerd.image.name": name});
        image
    };
    let named = image("docker.io/library/web:1", b"{}");
    let mut sized = units.clone();
    sized["size"] = json!(7);
    for (lines, word) in [
        (vec![], "names no units"),
        (vec![units.clone(), units.clone()], "there twice"),
        (vec![units.clone(), named.clone(), named.clone()], "there twice"),
        (vec![sized], "7 are declared"),
        (vec![units.clone(), named], "missing field"),
        (vec![units.clone(), image("web", b"{}")], "neither units"),
        (vec![units.clone(), image("../web", b"{}")], "not an image reference"),
        (vec![units.clone(), line("application/vnd.oci.image.manifest.v1+json", b"{}")], "neither units"),
        (vec![units.clone(), line("text/plain", b"{}")], "neither units"),
        (vec![units.clone(), line(OS, b"gone")], "is missing"),
        (vec![json!({"mediaType": UNITS, "digest": "sha512:0", "size": 0})], "not a digest"),
    ] {
        refused(&around(&index(&lines), &[&empty, b"{}"]), word);
    }
    let config = json!({"config": line("text/plain", b"{}"), "layers": null}).to_string().into_bytes();
    let lines = [units, image("docker.io/library/web:1", &config)];
    refused(&around(&index(&lines), &[&empty, b"{}", &config]), "neither a configuration nor a layer");
    refused(&around(&json!([]), &[&empty]), "index.json");
}

#[test]
fn units_stay_in_their_place() {
    let text = |name: &str, text: &[u8]| (name.to_owned(), text.to_vec());
    for (entries, word) in [
        (vec![text("../etc/passwd", b"x")], "no place"),
        (vec![text("/units/a.toml", b"x")], "no place"),
        (vec![text("units/a.toml/..", b"x")], "no place"),
        (vec![text("units/.a.toml", b"x")], "no place"),
        (vec![text("units/a.d/b/c.toml", b"x")], "no place"),
        (vec![text("units/a.sh", b"x")], "no place"),
        (vec![text("units/a.toml", b"x"), text("units/a.toml", b"y")], "twice"),
        (vec![text("units/a.toml", b"\xff")], "UTF-8"),
        (vec![text("units/a.toml", &vec![b'x'; (1 << 20) + 1])], "too much"),
    ] {
        let units = joined(&entries);
        refused(&around(&index(&[line(UNITS, &units)]), &[&units]), word);
    }
    for name in
        ["node.toml", "node.d/1.toml", "units/web@a.toml", "units/web@.d/10-x.toml", "units/_all.d/1.toml"]
    {
        let units = joined(&[text(name, b"schema = 1\n")]);
        assert!(open(&around(&index(&[line(UNITS, &units)]), &[&units])).is_ok(), "{name}");
    }
}
