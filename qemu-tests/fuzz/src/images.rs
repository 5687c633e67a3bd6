//! Readers of what registries and archives send.

use std::fs::File;
use std::io::Write;

use berth_image::digest::Digest;
use berth_image::extent::{Extent, spool};
use berth_image::import::description::{Machine, config_of, describe};
use berth_image::layer::Layer;
use berth_image::manifest::{Index, Manifest};
use berth_image::registry::Challenge;

/// A manifest and a configuration, the latter behind a line feed.
pub const IMAGES: &[&str] = &[
    concat!(
        r#"{"schemaVersion":2,"config":{"mediaType":"application/vnd.oci.image.config.v1+json","#,
        r#""digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":2},"#,
        r#""layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar+gzip","#,
        r#""digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":9}]}"#,
        "\n",
        r#"{"architecture":"amd64","os":"linux","config":{"Env":["A=b"],"Cmd":null,"Volumes":{"/d":{}}},"#,
        r#""rootfs":{"diff_ids":["sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"]}}"#,
    ),
    concat!(
        r#"{"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:00","size":1,"#,
        r#""platform":{"os":"linux","architecture":"amd64","variant":"v2"}}]}"#,
        "\n{}",
    ),
];

/// Headers of registries that want to know who asks.
pub const CHALLENGES: &[&str] = &[
    r#"Bearer realm="https://auth.example/token",service="registry",scope="repository:a/b:pull""#,
    r#"Basic realm="x""#,
    "bearer realm=https://x/,service=y",
];

/// Entries of layers, a line each: `TYPE MODE PATH LINK`, or bytes as they are.
pub const LAYERS: &[&str] = &[
    "5 755 ./ \n5 755 etc \n0 644 etc/passwd \n2 777 bin usr/bin\n1 644 etc/shadow etc/passwd\n",
    "0 4755 usr/bin/su \n0 0 etc/.wh.passwd \n0 0 etc/.wh..wh..opq \n3 600 dev/null \n6 644 pipe \n",
    "2 777 a b\n2 777 b a\n0 644 a/x \n0 644 ../up \n1 644 y ../../etc/shadow\n",
    "raw",
];

/// Indexes of stores.
pub const STORES: &[&str] = &[concat!(
    r#"{"format":1,"images":{"docker.io/a/b:1":{"digest":"sha256:00","layers":["layers/aa.erofs"],"config":{},"#,
    r#""size":3,"made_of":[{"blob":"sha256:00","size":1,"diff_id":"sha256:01","unpacked":3}],"#,
    r#""documents":{"manifest_type":"x","config":"sha256:02"}}}}"#,
)];

/// What is described has as many layers as are named, each with a digest.
pub fn images(bytes: &[u8]) {
    let middle = bytes.iter().position(|byte| *byte == b'\n').unwrap_or(bytes.len());
    let (first, second) = bytes.split_at(middle);
    let machine = Machine::of("amd64");
    if let Ok(index) = serde_json::from_slice::<Index>(first)
        && let Some(chosen) = machine.choose(index)
    {
        assert!(chosen.platform.is_none_or(|platform| machine.fits(&platform)));
    }
    let Ok(manifest) = serde_json::from_slice::<Manifest>(first) else { return };
    let named = manifest.layers.as_ref().map_or(0, Vec::len);
    if config_of(&manifest).is_ok()
        && let Ok((_, layers)) = describe(&manifest, "x", second, &machine)
    {
        assert_eq!(layers.len(), named);
    }
}

/// A challenge that is understood says where the token is.
pub fn challenge(bytes: &[u8]) {
    let header = String::from_utf8_lossy(bytes);
    if let Some(Challenge::Bearer { realm, .. }) = Challenge::parse(&header) {
        assert!(header.contains(&realm));
    }
}

/// Any stream of entries is refused or becomes a tree that can be stored; as an archive it is refused or read.
pub fn layer(bytes: &[u8]) {
    let tar = match bytes.starts_with(b"raw") {
        true => bytes.get(3..).unwrap_or_default().to_vec(),
        false => pack(bytes),
    };
    let Some(extent) = stored(&tar) else { return };
    if let Ok(layer) = Layer::read(extent, Digest::of(&tar)) {
        assert!(layer.memory() >= layer.tree.len());
    }
}

/// An index of a store is read or refused.
pub fn index(bytes: &[u8]) {
    let Ok(index) = serde_json::from_slice::<berth_units::wire::image::Index>(bytes) else { return };
    let again = serde_json::to_vec(&index).unwrap_or_default();
    assert_eq!(serde_json::from_slice(&again).ok(), Some(index));
}

/// Headers with right check sums, so that what is behind them is reached.
fn pack(lines: &[u8]) -> Vec<u8> {
    let mut tar = Vec::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let mut words = line.split(|byte| *byte == b' ');
        let mut word = || words.next().unwrap_or_default();
        let (kind, mode, path, link) = (word(), word(), word(), word());
        let mut block = [0; 512];
        let mut put = |at: usize, room: usize, bytes: &[u8]| {
            for (to, from) in block.iter_mut().skip(at).take(room).zip(bytes) {
                *to = *from;
            }
        };
        put(0, 100, path);
        put(100, 7, mode);
        put(108, 8, b"0000000");
        put(116, 8, b"0000000");
        put(124, 12, b"00000000000");
        put(136, 12, b"00000000000");
        put(148, 8, b"        ");
        put(156, 1, kind);
        put(157, 100, link);
        put(257, 8, b"ustar\x0000");
        let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
        let sum = format!("{sum:06o}\0 ");
        for (to, from) in block.iter_mut().skip(148).zip(sum.bytes()) {
            *to = from;
        }
        tar.extend(block);
    }
    tar
}

fn stored(bytes: &[u8]) -> Option<Extent> {
    let mut file: File = spool(&std::env::temp_dir()).ok()?;
    file.write_all(bytes).ok()?;
    Extent::whole(file).ok()
}
