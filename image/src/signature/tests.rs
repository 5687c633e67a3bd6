//! Real signatures of minisign and of OpenSSL, and what an attacker would make of them.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use berth_units::Reference;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::json;

use super::cosign::{self, Claim};
use super::minisign::{self, MinisignError, PublicKey, SecretKey};
use super::policy::PolicyError;
use super::*;
use crate::digest::Digest;

/// Made by minisign 0.11 over `test`.
const PUBLIC: &str = "untrusted comment: minisign public key CCA0EA2558D835CF\n\
    RWTPNdhYJeqgzJA6N/4+9wrhQrbk/wG5wpFuvdq7fN4H5L57aLK4juAs\n";
const SECRET: &str = "untrusted comment: minisign encrypted secret key\n\
    RWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAzzXYWCXqoMwj8Nar7+ZjFlYjs1V2Ysw5\
    tecBPABEqhgzs/+vTGH7qpA6N/4+9wrhQrbk/wG5wpFuvdq7fN4H5L57aLK4juAsAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=\n";
const PREHASHED: &str = "untrusted comment: signature from minisign secret key\n\
    RUTPNdhYJeqgzKuTieFydDkLIJTOIQ7YGN/HO0ClMhrMs/zKT5k4QK5wsuBlZAfTtf6XLfQdG+Chff2NZy9tlIyEpgRc8V91/A8=\n\
    trusted comment: berth test\n\
    3O6uhs+nCqDtcW0ViILFeaza8NJrd7PVC6o+9N0N7PDZVla50rQlzbY7XZGio6uSoxgR5z+T3o5fMoUhfNhgAg==\n";
const LEGACY: &str = "untrusted comment: signature from minisign secret key\n\
    RWTPNdhYJeqgzJMx3/bljtOtqAVjQ+vPp5v7ddg491XnanunT79EqvPRrxqC2quHsyNg8FrmdEotwt68y/YtwJqsLym80DE00gk=\n\
    trusted comment: old\n\
    Wot5X/UePBBsJjR+kaLUHN71fsO1MbLU7gXracV8V6MSl1GCbWSkeVz83cGlnzk1G7EL6qCDUfKLPVgB8mp1Cg==\n";

#[test]
fn minisign_s_own_files() {
    let key = PublicKey::parse(PUBLIC).unwrap();
    assert_eq!(key.id().to_string(), "CCA0EA2558D835CF");
    assert_eq!(PublicKey::parse(&key.line()).as_ref(), Ok(&key));
    assert_eq!(PublicKey::parse(&key.file()).as_ref(), Ok(&key));
    for (file, comment) in [(PREHASHED, "berth test"), (LEGACY, "old")] {
        let signature = minisign::Signature::parse(file).unwrap();
        assert_eq!(signature.trusted_comment(), comment);
        assert_eq!(key.verify(b"test", &signature), Ok(()));
        assert_eq!(key.verify(b"Test", &signature), Err(MinisignError::Wrong));
        assert_eq!(minisign::Signature::parse(&signature.file()), Ok(signature));
        let changed = file.replace("comment: berth test", "comment: berth tost").replace(": old", ": new");
        let changed = minisign::Signature::parse(&changed).unwrap();
        assert_eq!(key.verify(b"test", &changed), Err(MinisignError::WrongComment));
    }
    // The same key and comment give what minisign gave.
    let secret = SecretKey::parse(SECRET).unwrap();
    assert_eq!(secret.public(), key);
    assert_eq!(secret.sign(b"test", "berth test"), minisign::Signature::parse(PREHASHED).unwrap());
}

#[test]
fn keys_of_our_own() {
    let secret = SecretKey::new(&std::array::from_fn(|at| u8::try_from(at).unwrap())).unwrap();
    let again = SecretKey::parse(&secret.file()).unwrap();
    assert_eq!(again.public(), secret.public());
    let signature = again.sign(b"bytes", "one line\nand not two");
    assert_eq!(signature.trusted_comment(), "one lineand not two");
    assert_eq!(secret.public().verify(b"bytes", &signature), Ok(()));
    let other = PublicKey::parse(PUBLIC).unwrap();
    assert!(matches!(other.verify(b"bytes", &signature), Err(MinisignError::OtherKey { .. })));
    assert!(!format!("{secret:?}").contains("seed"));
}

#[test]
fn files_of_minisign_that_are_none() {
    let encrypted = SECRET.replace("RWQAAEIy", "RWRTY0Iy");
    assert!(matches!(SecretKey::parse(&encrypted), Err(MinisignError::Password)));
    // A point that is not the seed's would sign what nobody can verify.
    assert!(SecretKey::parse(&SECRET.replace("tecBPABEqhgzs", "tecBPABEqhgzt")).is_err());
    for bad in ["", "x", "untrusted comment: x", &PUBLIC[..80], &format!("{PUBLIC}x\n"), PREHASHED] {
        assert!(PublicKey::parse(bad).is_err(), "{bad}");
        assert!(SecretKey::parse(bad).is_err(), "{bad}");
    }
    let endless = PREHASHED.replace("berth test", &"x".repeat(9000));
    let long = PREHASHED.replace("berth test", &"x".repeat(1025));
    for bad in ["", PUBLIC, &PREHASHED[..200], &format!("{PREHASHED}x\n"), &endless, &long] {
        assert!(minisign::Signature::parse(bad).is_err(), "{bad}");
    }
    let unknown = PREHASHED.replace("RUTPN", "RVTPN");
    assert!(minisign::Signature::parse(&unknown).is_err());
}

/// Made by OpenSSL: the key, the payload and its signature.
const PEM: &str = "-----BEGIN PUBLIC KEY-----\n\
    MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEV2l3NIwZRFI9NraIuKVSmlG0mZs5\n\
    nLPMlf/t1OlrjALlNvf001274wpqFgynR7tEU2HLiNieIvp+fP9Z00Rfvg==\n-----END PUBLIC KEY-----\n";
const PAYLOAD: &str = "{\"critical\":{\"identity\":{\"docker-reference\":\"registry.example.com/shop/web\"},\
    \"image\":{\"docker-manifest-digest\":\
    \"sha256:4b5e57f6eb2f42b9039b3d1e13929295f231749c510cbe341cd68036d9af97e2\"},\
    \"type\":\"cosign container image signature\"},\"optional\":null}";
const OVER_PAYLOAD: &str =
    "MEUCIQCNRhq2jRC8zQI4yhsS6DpU94jbOjNdXKsQm+qfC3poagIgfPSR/4+JXgRtnCHf8xAcM/F5dcShkrbj3Gq8wFqn9Ds=";

#[test]
fn openssl_s_signature() {
    let key = cosign::PublicKey::parse(PEM).unwrap();
    let good = Signature::new(PAYLOAD.into(), OVER_PAYLOAD).unwrap();
    assert!(key.has_signed(&good));
    let claim = Claim::parse(&good.payload).unwrap();
    assert_eq!((claim.digest, claim.name.as_str()), (Digest::of(b"web"), "registry.example.com/shop/web"));
    let policy = policy(&format!("[images.\"registry.example.com\"]\nkeys = ['''{PEM}''']"));
    assert_eq!(
        policy.judge(&web("1.4"), &Digest::of(b"web"), &[good]),
        Ok(Accepted::Signed(key.fingerprint()))
    );
}

#[test]
fn keys_that_are_none() {
    let rsa = PEM.replace("MFkwEwYHKoZIzj0CAQ", "MFkwEwYHKoZIzj0CAR");
    let short = PEM.replace("nLPMlf/t1Olr", "");
    let other_curve = PEM.replace("DAQcDQgAE", "DAQcDQgAD");
    for bad in ["", "x", &rsa, &short, &other_curve, &PEM[1..], &"x".repeat(9000), &PEM.repeat(2)] {
        assert!(cosign::PublicKey::parse(bad).is_err(), "{bad}");
    }
    // 65 bytes that are no point of the curve: a key that no signature is by.
    let none = PEM.replace("nLPMlf/t1Olr", "nLPMlf/t1Ols");
    let good = Signature::new(PAYLOAD.into(), OVER_PAYLOAD).unwrap();
    assert!(!cosign::PublicKey::parse(&none).is_ok_and(|key| key.has_signed(&good)));
}

/// A signer of images.
struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key.as_ref(), &random).unwrap())
    }

    fn pem(&self) -> String {
        let body = PEM.lines().skip(1).take(2).collect::<String>();
        let head = STANDARD.decode(body).unwrap()[..26].to_vec();
        let der = STANDARD.encode([&head, self.0.public_key().as_ref()].concat());
        format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----\n")
    }

    fn sign(&self, payload: &[u8]) -> Signature {
        let der = self.0.sign(&SystemRandom::new(), payload).unwrap().as_ref().to_vec();
        Signature { payload: payload.to_vec(), der }
    }

    fn claim(&self, name: &str, digest: Digest) -> Signature {
        self.sign(payload(name, digest).as_bytes())
    }

    fn policy(&self, tag: &str) -> Policy {
        let keys = self.pem();
        policy(&format!("[images.\"registry.example.com/shop\"]\nkeys = ['''{keys}''']\ntag = \"{tag}\""))
    }
}

fn payload(name: &str, digest: Digest) -> String {
    json!({
        "critical": {
            "identity": {"docker-reference": name},
            "image": {"docker-manifest-digest": digest.to_string()},
            "type": "cosign container image signature",
        },
        "optional": null,
    })
    .to_string()
}

fn policy(text: &str) -> Policy {
    parse(text).unwrap()
}

fn parse(text: &str) -> Result<Policy, PolicyError> {
    Policy::parse(&format!("schema = 1\n{text}"), &mut |_| Err(io::ErrorKind::NotFound.into()))
}

const WEB: &str = "registry.example.com/shop/web";

fn web(tag: &str) -> Reference {
    Reference::parse(&format!("{WEB}:{tag}")).unwrap()
}

#[track_caller]
fn refuses(policy: &Policy, reference: &Reference, signatures: &[Signature], why: Why) {
    let refused = policy.judge(reference, &Digest::of(b"new"), signatures).unwrap_err();
    assert_eq!(refused.why, why);
    assert!(refused.to_string().contains("shop/"), "{refused}");
}

#[test]
fn only_what_a_trusted_key_has_signed_for_this_image() {
    let (signer, stranger, new, old) = (Signer::new(), Signer::new(), Digest::of(b"new"), Digest::of(b"old"));
    let policy = signer.policy("free");
    let good = signer.claim(WEB, new);
    let fingerprint = cosign::PublicKey::parse(&signer.pem()).unwrap().fingerprint();
    assert_eq!(
        policy.judge(&web("2"), &new, std::slice::from_ref(&good)),
        Ok(Accepted::Signed(fingerprint.clone()))
    );
    refuses(&policy, &web("2"), &[], Why::Unsigned);
    // By the wrong key.
    refuses(&policy, &web("2"), &[stranger.claim(WEB, new)], Why::OtherKey);
    // The signature of an older version, given out as this one's.
    refuses(&policy, &web("2"), &[signer.claim(WEB, old)], Why::OtherDigest(old));
    // The manifest swapped for that of another image of the same signer.
    let other = "registry.example.com/shop/db";
    refuses(&policy, &web("2"), &[signer.claim(other, new)], Why::OtherImage(other.to_owned()));
    // A signature over other bytes than those that came with it.
    let swapped = Signature { payload: payload(WEB, new).into(), der: signer.claim(WEB, old).der };
    refuses(&policy, &web("2"), &[swapped], Why::OtherKey);
    // Another tag than the signer meant.
    refuses(&policy, &web("2"), &[signer.claim(&format!("{WEB}:1"), new)], Why::OtherTag("1".to_owned()));
    assert!(policy.judge(&web("1"), &new, &[signer.claim(&format!("{WEB}:1"), new)]).is_ok());
    // Bad ones beside a good one do not matter, and the nearest miss is what is said.
    let many = [stranger.claim(WEB, new), signer.claim(WEB, old), good];
    assert_eq!(policy.judge(&web("2"), &new, &many), Ok(Accepted::Signed(fingerprint)));
    refuses(&policy, &web("2"), &many[..2], Why::OtherDigest(old));
}

#[test]
fn a_bound_tag_ends_the_replay_of_a_whole_older_image() {
    let (signer, old) = (Signer::new(), Digest::of(b"new"));
    // The registry gives out version 1, manifest and signature, as version 2.
    let (named, unnamed) = (signer.claim(&format!("{WEB}:1"), old), signer.claim(WEB, old));
    refuses(&signer.policy("bound"), &web("2"), std::slice::from_ref(&named), Why::OtherTag("1".to_owned()));
    refuses(&signer.policy("bound"), &web("2"), std::slice::from_ref(&unnamed), Why::NoTag);
    assert!(signer.policy("bound").judge(&web("1"), &old, &[named]).is_ok());
    assert!(signer.policy("free").judge(&web("2"), &old, &[unnamed]).is_ok());
}

#[test]
fn payloads_that_claim_nothing() {
    let signer = Signer::new();
    let good = payload(WEB, Digest::of(b"new"));
    for bad in [
        String::new(),
        "{}".to_owned(),
        "[".repeat(60_000),
        good.replace("cosign container image", "atomic container"),
        good.replace("sha256:", "sha512:"),
        good.replace("docker-reference", "reference"),
    ] {
        let refused =
            signer.policy("free").judge(&web("2"), &Digest::of(b"new"), &[signer.sign(bad.as_bytes())]);
        assert!(matches!(refused.unwrap_err().why, Why::Malformed(_)), "{bad:.80}");
    }
    // What is too long is not even hashed.
    let huge = signer.sign(format!("{good}{}", " ".repeat(70_000)).as_bytes());
    refuses(&signer.policy("free"), &web("2"), std::slice::from_ref(&huge), Why::OtherKey);
    assert!(Signature::new(huge.payload, OVER_PAYLOAD).is_none());
    assert!(
        Signature::new(Vec::new(), &"A".repeat(200)).is_none() && Signature::new(Vec::new(), "*").is_none()
    );
    // A name that is none, or leads elsewhere in the normal form.
    for name in ["", "shop/web", "registry.example.com/shop", "registry.example.com/shop/web/..", "SHOP"] {
        let refused = signer.policy("free").judge(
            &web("2"),
            &Digest::of(b"new"),
            &[signer.claim(name, Digest::of(b"new"))],
        );
        assert_eq!(refused.unwrap_err().why, Why::OtherImage(name.to_owned()));
    }
}

#[test]
fn the_longest_table_decides_alone() {
    let (shop, demo) = (Signer::new(), Signer::new());
    let text = format!(
        "default = \"refuse\"\n[images.\"registry.example.com\"]\nunsigned = \"refuse\"\n\
         [images.\"registry.example.com/shop\"]\nkeys = ['''{}''']\n\
         [images.\"registry.example.com/shop/demo\"]\nkeys = ['''{}''']\n\
         [images.\"registry.example.com/free\"]\nunsigned = \"accept\"\n",
        shop.pem(),
        demo.pem()
    );
    let policy = policy(&text);
    let digest = Digest::of(b"x");
    let judge = |name: &str, signer: &Signer| {
        let found = policy.judge(&Reference::parse(name).unwrap(), &digest, &[signer.claim(name, digest)]);
        found.map_err(|refused| refused.why)
    };
    assert!(judge("registry.example.com/shop/web", &shop).is_ok());
    assert_eq!(judge("registry.example.com/shop/web", &demo), Err(Why::OtherKey));
    assert_eq!(judge("registry.example.com/shop/demo/a", &shop), Err(Why::OtherKey));
    assert!(judge("registry.example.com/shop/demo/a", &demo).is_ok());
    assert_eq!(judge("registry.example.com/free/a", &demo), Ok(Accepted::Unchecked));
    let refused = Err(Why::Listed("registry.example.com".to_owned()));
    assert_eq!(judge("registry.example.com/shopping/web", &shop), refused);
    assert_eq!(judge("registry.example.com.evil/shop/web", &shop), Err(Why::Unlisted));
    assert_eq!(judge("nginx", &shop), Err(Why::Unlisted));
    let image = |name| Reference::parse(name).unwrap();
    assert!(policy.needs_signatures(&image("registry.example.com/shop/web")));
    assert!(
        !policy.needs_signatures(&image("registry.example.com/free/a"))
            && !policy.needs_signatures(&image("nginx"))
    );
    assert_eq!(Policy::default().judge(&image("nginx"), &digest, &[]), Ok(Accepted::Unchecked));
}

#[test]
fn policies_that_are_none() {
    let key = format!("keys = ['''{PEM}''']");
    for (text, what) in [
        ("defualt = \"refuse\"".to_owned(), "line 2: unknown field `defualt`"),
        ("default = \"maybe\"".to_owned(), "maybe"),
        ("[images.shop]\nunsigned = \"accept\"".to_owned(), "no registry"),
        (format!("[images.\"registry.example.com/\"]\n{key}"), "no registry"),
        (format!("[images.\"registry.example.com/*\"]\n{key}"), "no registry"),
        (format!("[images.\"registry.example.com/a:1\"]\n{key}"), "no registry"),
        (format!("[images.\"https://registry.example.com\"]\n{key}"), "no registry"),
        ("[images.\"a.b/c\"]\n".to_owned(), "either keys"),
        ("[images.\"a.b/c\"]\nkeys = []".to_owned(), "either keys"),
        (format!("[images.\"a.b/c\"]\n{key}\nunsigned = \"accept\""), "either keys"),
        ("[images.\"a.b/c\"]\nkeys = [\"gone.pub\"]".to_owned(), "gone.pub"),
        ("[images.\"a.b/c\"]\nkeys = [\"-----BEGIN X\"]".to_owned(), "cannot be used"),
        (format!("[images.\"a.b/c\"]\nkeys = {:?}", ["x"; 65]), "more than 64"),
        ("[bundles]\nkeys = [\"gone.pub\"]".to_owned(), "gone.pub"),
        ("[bundles]\nkey = []".to_owned(), "unknown field"),
    ] {
        let fault = parse(&text).unwrap_err().to_string();
        assert!(fault.contains(what), "{text}: {fault}");
    }
    assert!(matches!(Policy::parse("schema = 2", &mut |_| Ok(String::new())), Err(PolicyError::Schema(2))));
    let files = Policy::parse(
        "schema = 1\n[images.\"a.b\"]\nkeys = [\"shop.pub\"]\n[bundles]\nkeys = [\"b.pub\"]",
        &mut |name| Ok(if name == "shop.pub" { PEM } else { PUBLIC }.to_owned()),
    );
    assert_eq!(files.unwrap().bundle_keys(), [PublicKey::parse(PUBLIC).unwrap()]);
}

/// A registry of one repository.
#[derive(Default)]
struct Registry {
    manifests: BTreeMap<String, Vec<u8>>,
    blobs: BTreeMap<Digest, Vec<u8>>,
    referrers: Option<Vec<u8>>,
}

impl Registry {
    /// A manifest of that signature.
    fn describe(&mut self, signature: &Signature) -> Vec<u8> {
        let digest = Digest::of(&signature.payload);
        self.blobs.insert(digest, signature.payload.clone());
        let layer = json!({
            "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
            "digest": digest.to_string(),
            "size": signature.payload.len(),
            "annotations": {"dev.cosignproject.cosign/signature": STANDARD.encode(&signature.der)},
        });
        let config = json!({"mediaType": "application/vnd.oci.image.config.v1+json", "digest": digest.to_string(), "size": 2});
        json!({"schemaVersion": 2, "config": config, "layers": [layer]}).to_string().into_bytes()
    }
}

impl Fetch for Registry {
    type Error = Infallible;

    fn manifest(&mut self, name: &str, _: u64) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.manifests.get(name).cloned())
    }

    fn referrers(&mut self, _: &Digest, _: u64) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.referrers.clone())
    }

    fn blob(&mut self, digest: &Digest, _: u64) -> Result<Option<Vec<u8>>, Infallible> {
        Ok(self.blobs.get(digest).cloned())
    }
}

#[test]
fn signatures_lie_in_a_tag_and_in_referrers() {
    let (signer, image) = (Signer::new(), Digest::of(b"new"));
    let (first, second) = (signer.claim(WEB, image), signer.claim(&format!("{WEB}:2"), image));
    let mut registry = Registry::default();
    assert_eq!(gather(&mut registry, &image), Ok(Vec::new()));
    let manifest = registry.describe(&first);
    registry.manifests.insert(gather::tag(&image), manifest);
    assert_eq!(gather(&mut registry, &image), Ok(vec![first.clone()]));

    let manifest = registry.describe(&second);
    let digest = Digest::of(&manifest).to_string();
    let referrer = |kind: &str| {
        json!({"manifests": [{
            "mediaType": "application/vnd.oci.image.manifest.v1+json",
            "artifactType": kind, "digest": digest, "size": manifest.len(),
        }]})
    };
    registry.manifests.insert(digest.clone(), manifest.clone());
    registry.referrers = Some(referrer("application/vnd.example.sbom").to_string().into());
    assert_eq!(gather(&mut registry, &image), Ok(vec![first.clone()]));
    registry.referrers = Some(referrer("application/vnd.dev.cosign.artifact.sig.v1+json").to_string().into());
    assert_eq!(gather(&mut registry, &image), Ok(vec![first.clone(), second]));

    // A manifest and a payload with other bytes than their digests say are as good as none.
    registry.manifests.insert(digest, b"{}".to_vec());
    assert_eq!(gather(&mut registry, &image), Ok(vec![first.clone()]));
    registry.blobs.insert(Digest::of(&first.payload), b"{}".to_vec());
    assert_eq!(gather(&mut registry, &image), Ok(Vec::new()));
    registry.manifests.insert(gather::tag(&image), b"[[".to_vec());
    registry.referrers = Some(b"{\"manifests\":7}".to_vec());
    assert_eq!(gather(&mut registry, &image), Ok(Vec::new()));
}
