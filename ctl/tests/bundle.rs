//! `berth keys` and `berth bundle` as a person types them.
#![expect(clippy::unwrap_used, reason = "a test may fail anywhere")]

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory that goes away.
struct Scratch(PathBuf);

impl Drop for Scratch {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).unwrap();
    }
}

/// Exit code, and what was written to both streams.
fn berth(dir: &Path, words: &[&str]) -> (Option<i32>, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_berth")).args(words).current_dir(dir).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[track_caller]
fn says(dir: &Path, words: &[&str], code: i32, parts: &[&str]) {
    let (actual, text) = berth(dir, words);
    assert_eq!(actual, Some(code), "{words:?}: {text}");
    for part in parts {
        assert!(text.contains(part), "{words:?} has no '{part}': {text}");
    }
}

#[test]
fn keys_bundles_and_what_is_refused() {
    let scratch = Scratch(std::env::temp_dir().join(format!("berth-bundle-test-{}", std::process::id())));
    let dir = scratch.0.as_path();
    fs::create_dir_all(dir.join("app/units")).unwrap();
    fs::write(dir.join("app/node.toml"), "schema = 1\nhostname = \"edge\"\n").unwrap();
    fs::write(
        dir.join("app/units/lan.toml"),
        "schema = 1\nkind = \"network\"\nipv4.subnet = \"10.9.0.0/24\"\n",
    )
    .unwrap();

    says(dir, &["keys", "new", "a.key"], 0, &["made     a.key", "made     a.key.pub"]);
    assert_eq!(fs::metadata(dir.join("a.key")).unwrap().mode() & 0o777, 0o600);
    let first = fs::read(dir.join("a.key")).unwrap();
    says(dir, &["keys", "new", "a.key"], 4, &["cannot make 'a.key'"]);
    assert_eq!(fs::read(dir.join("a.key")).unwrap(), first, "a key is never replaced");
    // Where the public half cannot be written no secret one is left.
    fs::create_dir(dir.join("c.key.pub")).unwrap();
    says(dir, &["keys", "new", "c.key"], 4, &["cannot make 'c.key.pub'"]);
    assert!(!dir.join("c.key").exists());
    says(dir, &["keys", "new", "b.key"], 0, &[]);

    fs::write(dir.join("os.efi"), "MZ").unwrap();
    says(
        dir,
        &["bundle", "app", "-o", "one", "--key", "a.key", "--os", "os.efi"],
        0,
        &["bundled  one", "signed by key"],
    );
    says(dir, &["bundle", "app", "-o", "two", "--key", "a.key", "--os", "os.efi"], 0, &[]);
    assert_eq!(fs::read(dir.join("one")).unwrap(), fs::read(dir.join("two")).unwrap());
    let whole = ["units    node.toml", "units    units/lan.toml", "os       "];
    says(dir, &["bundle", "--inspect", "one"], 0, &["not verified: give --pubkey"]);
    says(dir, &["bundle", "--inspect", "one", "--pubkey", "b.key.pub", "--pubkey", "a.key.pub"], 0, &whole);
    says(dir, &["bundle", "--inspect", "one", "--pubkey", "b.key.pub"], 1, &["which is not trusted"]);
    fs::write(dir.join("policy.toml"), "schema = 1\n[bundles]\nkeys = [\"a.key.pub\"]\n").unwrap();
    says(
        dir,
        &["bundle", "--inspect", "one", "--policy", "policy.toml", "--json"],
        0,
        &["\"verified\": true"],
    );
    fs::write(dir.join("policy.toml"), "schema = 1\n").unwrap();
    says(dir, &["bundle", "--inspect", "one", "--policy", "policy.toml"], 1, &["no key for bundles"]);

    says(dir, &["bundle", "app", "-o", "bare"], 0, &["not signed"]);
    says(dir, &["bundle", "--inspect", "bare", "--pubkey", "a.key.pub"], 1, &["is not signed"]);
    let mut bytes = fs::read(dir.join("two")).unwrap();
    let at = bytes.windows(4).rposition(|window| window == b"edge").unwrap();
    bytes[at] = b'E';
    fs::write(dir.join("two"), bytes).unwrap();
    says(dir, &["bundle", "--inspect", "two"], 1, &["blob sha256:", "is damaged"]);

    // What cannot be made leaves what is there, and nothing beside it.
    fs::write(dir.join("app/units/web.toml"), "schema = 1\nimage.ref = \"shop/web:1\"\n").unwrap();
    says(dir, &["bundle", "app", "-o", "one"], 1, &["unit 'web' needs image 'shop/web:1'"]);
    fs::write(dir.join("app/units/web.toml"), "schema = 1\nimage.rf = \"shop/web:1\"\n").unwrap();
    says(dir, &["bundle", "app", "-o", "one"], 1, &["nothing was changed"]);
    says(dir, &["bundle", "--inspect", "one", "--pubkey", "a.key.pub"], 0, &["verified"]);
    let hidden = fs::read_dir(dir)
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().starts_with('.'));
    assert_eq!(hidden.count(), 0);
    says(dir, &["bundle", "app"], 2, &["--out"]);
}
