//! A pull from a registry that is honest, or honest but for something.

use std::time::{Duration, Instant};

use berth_image::depot::{Depot, Keep, Limits};
use berth_image::import::description::Machine;
use berth_image::registry::{Pulled, RegistryError, Request, Settings, pull};
use berth_units::Reference;

use crate::pack::{Item, Layout, Scratch, chain, dir, file, item, tar};
use crate::server::{Answer, Asked, serve};

pub const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const INDEX: &str = "application/vnd.oci.image.index.v1+json";

/// Two layers, the upper one of some size and not compressible.
pub fn image() -> Layout {
    let mut state = 1_u32;
    let noise = (0..300_000).map(|_| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    });
    let big = Item { data: noise.collect(), ..item(b'0', "big") };
    Layout::new(&[tar(&[dir("./"), dir("etc"), file("etc/hosts", "x")]), tar(&[big])])
}

/// Answers as an honest registry of that image would, whatever the tag.
pub fn honest(layout: &Layout, asked: &Asked) -> Answer {
    let path = asked.path.split('?').next().unwrap();
    let (kind, name) = path.strip_prefix("/v2/shop/web/").unwrap_or("x/x").split_once('/').unwrap();
    let file =
        |digest: &str| layout.files.get(&format!("blobs/sha256/{}", digest.trim_start_matches("sha256:")));
    let bytes = match (kind, name.starts_with("sha256:")) {
        ("manifests", false) => file(&manifest(layout)),
        ("manifests" | "blobs", true) => file(name),
        _ => None,
    };
    let Some(bytes) = bytes else { return Answer::new(404, r#"{"errors":[{"message":"nothing here"}]}"#) };
    match asked
        .header("range")
        .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok())
    {
        Some(at) => {
            let (len, rest): (usize, &[u8]) = (bytes.len(), &bytes[at..]);
            Answer::new(206, rest).with("Content-Range", format!("bytes {at}-{}/{len}", len - 1))
        }
        None if kind == "manifests" => Answer::new(200, bytes.clone()).with("Content-Type", MANIFEST),
        None => Answer::new(200, bytes.clone()),
    }
}

/// The digest that the layout's index names.
pub fn manifest(layout: &Layout) -> String {
    let index: serde_json::Value = serde_json::from_slice(&layout.files["index.json"]).unwrap();
    index["manifests"][0]["digest"].as_str().unwrap().to_owned()
}

pub struct Bench {
    pub depot: Depot,
    pub settings: Settings,
    pub name: String,
    pub keep: Keep,
    _scratch: Scratch,
}

impl Bench {
    pub fn new(name: &str, address: &str) -> Self {
        let scratch = Scratch::new(&format!("registry-{name}"));
        let depot = Depot::create(&scratch.0.join("store")).unwrap();
        let idle = Duration::from_secs(1);
        let settings = Settings { plain_http: true, tries: 3, idle, ..Settings::default() };
        Self { depot, settings, keep: Keep::Blobs, name: format!("{address}/shop/web:1"), _scratch: scratch }
    }

    pub fn pull(&self) -> Result<Pulled, RegistryError> {
        let reference = Reference::parse(&self.name).unwrap();
        let request = Request {
            reference: &reference,
            names: std::slice::from_ref(&reference),
            machine: &Machine::of("amd64"),
            keep: self.keep,
            limits: Limits { unpacked: 1 << 30, reserve: 0 },
        };
        pull(&mut self.depot.writer(|| {}).unwrap(), &request, &self.settings, &())
    }

    /// The pull fails with all these parts in its message, soon, and leaves no image.
    #[track_caller]
    pub fn refused(&self, parts: &[&str]) {
        let start = Instant::now();
        let text = chain(&self.pull().expect_err("it was pulled"));
        for part in parts {
            assert!(text.contains(part), "no '{part}' in: {text}");
        }
        assert!(start.elapsed() < Duration::from_secs(20), "it took {:?}", start.elapsed());
        assert!(self.depot.index().unwrap().images.is_empty());
    }

    pub fn verified(&self) {
        assert_eq!(self.depot.verify().unwrap().0, []);
    }
}

/// A registry that is honest but for what `change` makes of its answers.
#[track_caller]
pub fn lying(name: &str, change: fn(&Layout, &Asked, Answer) -> Answer, parts: &[&str]) {
    let layout = image();
    let (address, _) = serve(move |asked| change(&layout, asked, honest(&layout, asked)));
    Bench::new(name, &address).refused(parts);
}

pub fn is_layer(layout: &Layout, asked: &Asked) -> bool {
    asked.path.ends_with(&layout.layers[1].to_string())
}
