//! `berth image` against Debian's docker-registry, with TLS, a password and a multi-platform image; killed in the middle.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "tests fail by panicking"
)]

#[path = "../../image/tests/pack/mod.rs"]
mod pack;

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use berth_image::digest::Digest;
use pack::{Item, Layout, Scratch, dir, file, item, tar};
use serde_json::{Value, json};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const CREDS: &str = "shop:open-sesame";
/// bcrypt of the password above.
const HTPASSWD: &str = "shop:$2y$05$abcdefghijklmnopqrstuutXu9KzOt.1yBoZUeFWoT/914/JfszCO\n";

/// A registry that runs until the test ends, with `shop/web:1` for amd64 and arm64 in it.
struct Registry {
    scratch: Scratch,
    process: Child,
    host: String,
    /// Of the image for amd64.
    digest: String,
}

impl Drop for Registry {
    fn drop(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }
}

fn succeed(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An authority and a certificate of it for 127.0.0.1.
fn certify(dir: &Path) {
    let new = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"];
    let mut openssl = Command::new("openssl");
    let authority = ["-x509", "-days", "2", "-subj", "/CN=authority", "-keyout", "ca.key", "-out", "ca.crt"];
    succeed(openssl.current_dir(dir).arg("req").args(new).args(authority));
    let request = ["-subj", "/CN=registry", "-keyout", "key.pem", "-out", "request.pem"];
    succeed(Command::new("openssl").current_dir(dir).arg("req").args(new).args(request));
    fs::write(dir.join("extensions"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n").unwrap();
    let sign = "x509 -req -in request.pem -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out cert.pem";
    succeed(Command::new("openssl").current_dir(dir).args(sign.split(' ')));
    fs::create_dir(dir.join("trust")).unwrap();
    fs::copy(dir.join("ca.crt"), dir.join("trust/ca.crt")).unwrap();
}

fn noise(seed: u32, len: usize) -> Vec<u8> {
    let mut state = seed;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    (0..len).map(|_| next()).collect()
}

/// An OCI layout with an index of two platforms; returns the digest of the manifest for amd64.
fn make_image(dir: &Path) -> String {
    let big = |number: u32| Item { data: noise(number, 3_000_000), ..item(b'0', "big") };
    let layers: Vec<_> = (1..=4).map(|number| tar(&[pack::dir("srv"), big(number)])).collect();
    let base = tar(&[self::dir("./"), file("etc-hosts", "x")]);
    let mut layout = Layout::new(&[vec![base], layers].concat());
    let mut entries = Vec::new();
    for architecture in ["amd64", "arm64"] {
        layout.config["architecture"] = json!(architecture);
        let mut descriptor = layout.finish("x");
        descriptor["platform"] = json!({"os": "linux", "architecture": architecture});
        descriptor.as_object_mut().unwrap().remove("annotations");
        entries.push(descriptor);
    }
    let digest = entries[0]["digest"].as_str().unwrap().to_owned();
    let index =
        json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": entries}).to_string().into_bytes();
    let mut top = json!({"mediaType": INDEX, "digest": Digest::of(&index).to_string(), "size": index.len()});
    top["annotations"] = json!({"org.opencontainers.image.ref.name": "web"});
    layout.files.insert(format!("blobs/sha256/{}", Digest::of(&index).hex()), index);
    layout.index(vec![top]);
    layout.folder(dir);
    digest
}

fn program() -> PathBuf {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/registry/usr/bin/docker-registry");
    assert!(path.exists(), "there is no {}: make setup fetches it", path.display());
    path
}

impl Registry {
    fn start(name: &str) -> Self {
        let scratch = Scratch::new(&format!("real-{name}"));
        let dir = &scratch.0;
        certify(dir);
        fs::write(dir.join("htpasswd"), HTPASSWD).unwrap();
        let host = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
        let at = |name: &str| dir.join(name).display().to_string();
        let config = json!({
            "version": "0.1", "log": {"level": "error"},
            "storage": {"filesystem": {"rootdirectory": at("data")}},
            "auth": {"htpasswd": {"realm": "shop", "path": at("htpasswd")}},
            "http": {"addr": host, "secret": "x", "tls": {"certificate": at("cert.pem"), "key": at("key.pem")}},
        });
        fs::write(dir.join("config.yml"), config.to_string()).unwrap();
        let mut command = Command::new(program());
        let command = command.arg("serve").arg(dir.join("config.yml"));
        let process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let digest = make_image(&dir.join("layout"));
        let registry = Self { process, host, digest, scratch };
        let end = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(&registry.host).is_err() {
            assert!(Instant::now() < end, "the registry does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        let mut skopeo = Command::new("skopeo");
        skopeo.args(["--insecure-policy", "copy", "-q", "--all", "--dest-creds", CREDS, "--dest-cert-dir"]);
        skopeo.arg(registry.path("trust")).arg(format!("oci:{}:web", registry.path("layout").display()));
        succeed(skopeo.arg(format!("docker://{}/shop/web:1", registry.host)));
        registry
    }

    fn path(&self, name: &str) -> PathBuf {
        self.scratch.0.join(name)
    }

    fn image(&self) -> String {
        format!("{}/shop/web:1", self.host)
    }

    /// `berth image --store STORE ARGS` with the authority and the password.
    fn berth(&self, args: &[&str]) -> Command {
        let mut command = berth(&self.path("store"), args);
        command.args(["--creds", CREDS, "--ca"]).arg(self.path("ca.crt"));
        command
    }
}

fn berth(store: &Path, args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_berth"));
    command.arg("image").arg("--store").arg(store).args(args).env_remove("BERTH_CREDS");
    command
}

fn text(output: &Output) -> String {
    [&output.stdout[..], &output.stderr[..]].map(String::from_utf8_lossy).concat()
}

#[track_caller]
fn fails(command: &mut Command, code: i32, parts: &[&str]) {
    let output = command.output().unwrap();
    for part in parts {
        assert!(text(&output).contains(part), "no '{part}' in: {}", text(&output));
    }
    assert_eq!(output.status.code(), Some(code), "{}", text(&output));
}

#[track_caller]
fn works(command: &mut Command) -> String {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", text(&output));
    text(&output)
}

#[test]
fn a_real_registry() {
    let registry = Registry::start("pull");
    let (image, store) = (registry.image(), registry.path("store"));
    let ca = registry.path("ca.crt").display().to_string();
    fails(&mut berth(&store, &["pull", "--creds", CREDS, &image]), 4, &["cannot speak with", "--ca FILE"]);
    fails(&mut berth(&store, &["pull", "--ca", &ca, &image]), 4, &["refuses access to 'shop/web'"]);
    let wrong = ["pull", "--ca", &ca, "--creds", "shop:wrong", &image];
    fails(&mut berth(&store, &wrong), 4, &["refuses access to 'shop/web'", "authentication required"]);
    fails(&mut registry.berth(&["pull", &format!("{image}2")]), 4, &["has no image '12' of 'shop/web'"]);

    let said = works(&mut registry.berth(&["pull", &image]));
    assert!(said.contains("pulled") && said.contains(&registry.digest[7..19]), "{said}");
    assert!(works(&mut registry.berth(&["pull", &image])).contains("present"));
    let list: Value = serde_json::from_str(&works(&mut berth(&store, &["ls", "--json"]))).unwrap();
    assert_eq!(list["images"][0]["digest"], json!(registry.digest));

    // The other platform shares its layers; by digest it is the same image.
    let said = works(&mut registry.berth(&["pull", "--platform", "linux/arm64", &image]));
    assert!(said.contains("pulled") && said.contains(" 0 in "), "{said}");
    works(&mut registry.berth(&["pull", &format!("{image}@{}", registry.digest)]));
    let none = ["pull", "--platform", "linux/riscv64", &image];
    fails(&mut registry.berth(&none), 1, &["has nothing for linux/riscv64"]);

    // Unpacked, as a node has it.
    works(&mut registry.berth(&["pull", "--unpack", &image]));
    let inspected: Value = serde_json::from_str(&works(&mut berth(&store, &["inspect", &image]))).unwrap();
    assert!(inspected["layers"][4]["path"].as_str().unwrap().ends_with(".erofs"), "{inspected}");
    works(&mut berth(&store, &["verify"]));
}

#[test]
fn damage_is_fetched_again() {
    let registry = Registry::start("repair");
    let (image, store) = (registry.image(), registry.path("store"));
    works(&mut registry.berth(&["pull", &image]));
    let list: Value = serde_json::from_str(&works(&mut berth(&store, &["ls", "--json"]))).unwrap();
    let layer = list["images"][0]["layers"][2]["digest"].as_str().unwrap().to_owned();
    let blob = store.join("blobs/sha256").join(&layer[7..]);
    let whole = fs::read(&blob).unwrap();
    let mut rotten = whole.clone();
    rotten[1_000_000] ^= 4;
    fs::write(&blob, rotten).unwrap();
    fails(&mut berth(&store, &["verify"]), 1, &["damaged  layer", &layer, "shop/web:1", "verify --repair"]);
    let out = registry.path("out.tar").display().to_string();
    fails(&mut berth(&store, &["export", &image, &out]), 4, &["missing or damaged", "--repair"]);
    assert!(!registry.path("out.tar").exists());
    let said = works(&mut registry.berth(&["verify", "--repair"]));
    assert!(said.contains("all as they should be"), "{said}");
    assert_eq!(fs::read(&blob).unwrap(), whole);
    works(&mut berth(&store, &["export", &image, &out]));
}

/// Killed twenty times at any moment: it goes on with what is there, and the store is never wrong.
#[test]
fn killed_in_the_middle() {
    let registry = Registry::start("kill");
    let (image, store) = (registry.image(), registry.path("store"));
    fs::create_dir_all(&store).unwrap();
    let mut resumed = 0;
    let waits = noise(7, 20);
    for wait in waits {
        let mut pull = registry.berth(&["pull", "--limit-rate", "12M", "--unpack", &image]);
        let mut child = pull.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(u64::from(wait) * 4));
        child.kill().unwrap();
        child.wait().unwrap();
        resumed += usize::from(fs::read_dir(store.join("partial")).is_ok_and(|dir| dir.count() > 0));
        works(&mut berth(&store, &["verify"]));
        if fs::read_to_string(store.join("index.json")).is_ok_and(|index| index.contains(&registry.digest)) {
            works(&mut berth(&store, &["rm", &image]));
            works(&mut berth(&store, &["prune"]));
        }
    }
    assert!(resumed >= 5, "{resumed} of 20 were killed with half a layer");
    works(&mut registry.berth(&["pull", "--unpack", &image]));
    works(&mut berth(&store, &["verify"]));
    let left = |name: &str| fs::read_dir(store.join(name)).unwrap().count();
    assert_eq!((left("partial"), left("tmp"), left("layers")), (0, 0, 5));
}
