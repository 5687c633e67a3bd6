//! Pulls from registries that are slow, wrong or hostile: an error that says what is wrong, or the right image.

use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::bench::{Bench, INDEX, MANIFEST, honest, image, is_layer, lying, manifest};
use crate::server::{Answer, Asked, serve};
use berth_image::depot::Keep;
use berth_image::digest::Digest;
use berth_image::registry::Pulled;
use serde_json::json;

#[test]
fn an_honest_registry() {
    let layout = image();
    let expected = manifest(&layout);
    let (address, log) = serve(move |asked| honest(&layout, asked));
    let bench = Bench::new("honest", &address);
    let pulled = bench.pull().unwrap();
    assert!(pulled.new && pulled.fetched > 300_000);
    assert_eq!(pulled.digest.to_string(), expected);
    bench.verified();
    let asked = log.lock().unwrap().len();
    assert_eq!(bench.pull().unwrap(), Pulled { new: false, fetched: 0, ..pulled });
    assert_eq!(log.lock().unwrap().len(), asked + 1, "the manifest alone is asked for");
}

#[test]
fn wrong_bytes() {
    lying(
        "flipped",
        |layout, asked, mut answer| {
            if is_layer(layout, asked) {
                answer.body[1000] ^= 1;
            }
            answer
        },
        &["layer sha256:", "it is corrupt"],
    );
    lying(
        "config",
        |layout, asked, mut answer| {
            if asked.path.contains("blobs")
                && !layout.layers.iter().any(|layer| asked.path.ends_with(&layer.to_string()))
            {
                answer.body[10] ^= 1;
            }
            answer
        },
        &["configuration sha256:", "it is corrupt"],
    );
    lying(
        "json",
        |_, _, answer| Answer { body: vec![b'{'; answer.body.len()], ..answer },
        &["not the JSON document"],
    );
}

/// A pinned reference takes no other manifest.
#[test]
fn a_pinned_reference() {
    let layout = image();
    let right = manifest(&layout);
    let (address, _) = serve(move |asked| honest(&layout, asked));
    let mut bench = Bench::new("pin", &address);
    bench.name = format!("{address}/shop/web:1@{right}");
    assert!(bench.pull().unwrap().new);
    let other = image();
    let (address, _) = serve(move |_| {
        honest(&other, &Asked { path: "/v2/shop/web/manifests/1".to_owned(), headers: Vec::new() })
    });
    let mut bench = Bench::new("swapped", &address);
    bench.name = format!("{address}/shop/web@{}", Digest::of(b"another"));
    bench.refused(&["manifest sha256:", "it is corrupt"]);
}

#[test]
fn wrong_lengths() {
    lying(
        "short",
        |layout, asked, answer| match is_layer(layout, asked) {
            true => Answer { length: Some(answer.body.len() - 5), body: answer.body[5..].to_vec(), ..answer },
            false => answer,
        },
        &["breaks the protocol", "bytes left, not"],
    );
    lying(
        "endless",
        |layout, asked, answer| match is_layer(layout, asked) {
            true => Answer { length: None, endless: true, ..answer },
            false => answer,
        },
        &["is longer than the"],
    );
    lying(
        "endless-manifest",
        |_, _, answer| Answer { length: None, endless: true, body: vec![b' '; 1 << 16], ..answer },
        &["is longer than 4 MiB"],
    );
    lying(
        "truncated",
        |layout, asked, mut answer| {
            if is_layer(layout, asked) {
                answer.body.truncate(if asked.header("range").is_some() { 0 } else { 5000 });
            }
            answer
        },
        &["the connection to"],
    );
}

#[test]
fn wrong_ranges() {
    // The first answer breaks off, the next ones go on at another place than was asked for.
    lying(
        "range",
        |layout, asked, mut answer| {
            if is_layer(layout, asked) {
                match asked.header("range") {
                    Some(_) => answer.headers = vec![("Content-Range".to_owned(), "bytes 0-9/10".to_owned())],
                    None => answer.body.truncate(100_000),
                }
            }
            answer
        },
        &["it was asked for bytes from", "it sends 'bytes 0-9/10'"],
    );
}

#[test]
fn slow_registries() {
    lying(
        "drip",
        |layout, asked, answer| match is_layer(layout, asked) {
            true => Answer { drip: Some(Duration::from_millis(100)), ..answer },
            false => answer,
        },
        &["the connection to", "too slow"],
    );
    lying("silent", |_, _, answer| Answer { drip: Some(Duration::from_secs(60)), ..answer }, &["127.0.0.1"]);
}

#[test]
fn busy_registries_are_asked_again_and_resumed() {
    let layout = image();
    let count = AtomicUsize::new(0);
    let (address, log) = serve(move |asked| {
        let number = count.fetch_add(1, Ordering::Relaxed);
        let mut answer = honest(&layout, asked);
        match number {
            0 => return Answer::new(429, "").with("Retry-After", "0"),
            1 => return Answer::new(503, ""),
            _ => {}
        }
        if is_layer(&layout, asked) {
            // Never more than 100 kB at a time.
            answer.body.truncate(100_000);
        }
        answer
    });
    let bench = Bench::new("busy", &address);
    bench.pull().unwrap();
    bench.verified();
    let log = log.lock().unwrap();
    assert!(log.iter().filter(|path| path.contains("manifests")).count() == 3, "{log:?}");
    assert!(log.iter().filter(|path| path.contains("blobs")).count() >= 6, "{log:?}");
    drop(log);
    let (address, log) = serve(|_| Answer::new(500, ""));
    Bench::new("down", &address).refused(&["not able to answer now (HTTP 500)"]);
    assert_eq!(log.lock().unwrap().len(), 3);
}

#[test]
fn a_half_pulled_layer_is_taken_up_or_thrown_away() {
    for (name, rotten) in [("resume", false), ("rotten", true)] {
        let layout = image();
        let (digest, mut half) = (layout.layers[1], layout.files.clone());
        let half = half.remove(&format!("blobs/sha256/{}", digest.hex())).unwrap();
        let size = half.len();
        let (address, log) = serve(move |asked| honest(&layout, asked));
        let bench = Bench::new(name, &address);
        let mut half = half[..200_000].to_vec();
        if rotten {
            half[100_000..].fill(0);
        }
        fs::write(bench.depot.root().join("partial").join(digest.hex()), half).unwrap();
        let pulled = bench.pull().unwrap();
        assert!(pulled.fetched < (size as u64) - 190_000, "{}", pulled.fetched);
        bench.verified();
        let asked = log.lock().unwrap();
        let times = asked.iter().filter(|path| path.ends_with(&digest.to_string())).count();
        assert_eq!(times, if rotten { 2 } else { 1 });
        assert!(fs::read_dir(bench.depot.root().join("partial")).unwrap().next().is_none());
    }
}

#[test]
fn mirrors_come_first_and_are_not_trusted() {
    let layout = Arc::new(image());
    let behind = layout.clone();
    let (address, log) = serve(move |asked| honest(&behind, asked));
    // A mirror that has the manifest, a wrong configuration, and half of the layers.
    let mirrored = layout.clone();
    let (mirror, mirror_log) = serve(move |asked| {
        assert!(asked.path.contains("?ns=127.0.0.1:") && asked.header("authorization").is_none());
        let path = asked.path.split('?').next().unwrap().to_owned();
        let plain = Asked { path, headers: Vec::new() };
        match plain.path.contains("manifests") || plain.path.ends_with(&mirrored.layers[0].to_string()) {
            true => honest(&mirrored, &plain),
            false => Answer::new(200, vec![b'x'; honest(&mirrored, &plain).body.len()]),
        }
    });
    let mut bench = Bench::new("mirror", &address);
    bench.settings.mirrors = vec![format!("http://{mirror}")];
    bench.settings.tries = 1;
    assert!(bench.pull().unwrap().new);
    bench.verified();
    let asked = log.lock().unwrap().clone();
    // The configuration and the upper layer were wrong, and are taken from the registry.
    assert!(!asked.iter().any(|path| path.contains("manifests")), "{asked:?}");
    assert!(mirror_log.lock().unwrap().len() >= 4);
    assert_eq!(asked.len(), 2, "{asked:?}");
    let (dead, dead_log) = serve(|_| Answer::new(502, ""));
    bench.settings.mirrors = vec![format!("http://{dead}")];
    assert!(!bench.pull().unwrap().new);
    assert!(!dead_log.lock().unwrap().is_empty());
    bench.verified();
}

#[test]
fn documents_of_two_minds() {
    lying(
        "both",
        |layout, asked, answer| {
            if !asked.path.contains("manifests") {
                return answer;
            }
            let mut value = layout.manifest.clone();
            value["manifests"] = json!([]);
            Answer::new(200, value.to_string()).with("Content-Type", INDEX)
        },
        &["media type"],
    );
    lying(
        "contradiction",
        |layout, asked, answer| match asked.path.contains("manifests") {
            true => {
                let mut value = layout.manifest.clone();
                value["mediaType"] = json!(MANIFEST);
                Answer::new(200, value.to_string()).with("Content-Type", INDEX)
            }
            false => answer,
        },
        &["media type"],
    );
    lying(
        "schema-1",
        |_, _, _| Answer::new(200, r#"{"schemaVersion":1,"fsLayers":[]}"#),
        &["media type '' is not supported"],
    );
    lying(
        "index-loop",
        |_, _, _| {
            let descriptor = json!({"mediaType": INDEX, "digest": Digest::of(b"x").to_string(), "size": 2});
            Answer::new(200, json!({"mediaType": INDEX, "manifests": [descriptor]}).to_string())
        },
        &["manifest sha256:"],
    );
}

#[test]
fn what_a_manifest_cannot_ask_for() {
    lying(
        "huge",
        |layout, asked, answer| match asked.path.contains("manifests") {
            true => {
                let mut value = layout.manifest.clone();
                value["layers"][1]["size"] = json!(u64::MAX);
                Answer::new(200, value.to_string()).with("Content-Type", MANIFEST)
            }
            false => answer,
        },
        &["layer sha256:", "it unpacks to more than"],
    );
    lying(
        "foreign",
        |layout, asked, answer| match asked.path.contains("manifests") {
            true => {
                let mut value = layout.manifest.clone();
                value["layers"][0]["mediaType"] =
                    json!("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip");
                Answer::new(200, value.to_string()).with("Content-Type", MANIFEST)
            }
            false => answer,
        },
        &["foreign.diff.tar.gzip' is not supported"],
    );
}

#[test]
fn huge_headers() {
    lying("header", |_, _, answer| answer.with("X-Long", "x".repeat(1 << 20)), &["127.0.0.1"]);
    lying(
        "many",
        |_, _, mut answer| {
            answer.headers = (0..5000).map(|number| (format!("X-{number}"), "y".to_owned())).collect();
            answer
        },
        &["127.0.0.1"],
    );
}

/// The platform is chosen from an index, and the index is kept for who checks signatures.
#[test]
fn a_multi_platform_index() {
    let mut layout = image();
    let own = manifest(&layout);
    let size = layout.files[&format!("blobs/sha256/{}", &own[7..])].len();
    let platform = |architecture: &str, digest: &str| {
        json!({"mediaType": MANIFEST, "digest": digest, "size": size,
            "platform": {"os": "linux", "architecture": architecture}})
    };
    let other = Digest::of(b"elsewhere").to_string();
    let index = json!({"schemaVersion": 2, "mediaType": INDEX,
        "manifests": [platform("arm64", &other), platform("amd64", &own)]});
    let index = index.to_string().into_bytes();
    let digest = Digest::of(&index).to_string();
    layout.index(vec![json!({"mediaType": INDEX, "digest": digest, "size": index.len()})]);
    layout.files.insert(format!("blobs/sha256/{}", &digest[7..]), index);
    let (address, _) = serve(move |asked| {
        let mut answer = honest(&layout, asked);
        if asked.path.ends_with("/1") {
            answer.headers = vec![("Content-Type".to_owned(), INDEX.to_owned())];
        }
        answer
    });
    let bench = Bench::new("index", &address);
    assert_eq!(bench.pull().unwrap().digest.to_string(), own);
    let stored = bench.depot.index().unwrap().images.into_values().next().unwrap();
    assert_eq!(stored.documents.unwrap().indexes, [digest]);
    bench.verified();
}

#[test]
fn nobody_there() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    drop(listener);
    let mut bench = Bench::new("nobody", &address);
    bench.refused(&["cannot speak with '127.0.0.1:"]);
    bench.settings.plain_http = false;
    bench.refused(&["there is no root certificate"]);
}

/// A node's store keeps no blobs: what it has unpacked is not fetched again for the layers above.
#[test]
fn a_base_is_fetched_once() {
    let first = image();
    let mut second = image();
    second.config["config"]["Cmd"] = json!(["/bin/other"]);
    second.finish("shop/web:2");
    let layers = first.layers.clone();
    let (address, log) = serve(move |asked| match asked.path.contains("/v2/shop/web/manifests/2") {
        true => honest(&second, &Asked { path: "/v2/shop/web/manifests/1".to_owned(), headers: Vec::new() }),
        false if honest(&first, asked).status == 404 => honest(&second, asked),
        false => honest(&first, asked),
    });
    let mut bench = Bench::new("base", &address);
    bench.keep = Keep::Layers;
    bench.pull().unwrap();
    // The upper one is lost: it is fetched again, and takes the root's metadata from the unpacked base.
    let stored = bench.depot.index().unwrap().images.into_values().next().unwrap();
    fs::remove_file(bench.depot.root().join(&stored.layers[1])).unwrap();
    bench.name = format!("{address}/shop/web:2");
    assert!(bench.pull().unwrap().new);
    bench.verified();
    let times =
        |layer: &Digest| log.lock().unwrap().iter().filter(|path| path.ends_with(&layer.to_string())).count();
    assert_eq!((times(&layers[0]), times(&layers[1])), (1, 2));
    let images = bench.depot.index().unwrap().images;
    assert!(images.len() == 2 && images.values().all(|image| image.layers == stored.layers));
}
