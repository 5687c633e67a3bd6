//! Pulls under a policy: only what a trusted key has signed for that name comes in, and nothing else is even fetched.

use std::sync::{Arc, OnceLock};

use crate::bench::{Bench, honest, image, manifest};
use crate::server::{Answer, serve};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use berth_image::digest::Digest;
use berth_image::signature::Policy;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_ASN1_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::json;

/// Of every key on P-256 in DER, before its point.
const HEAD: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgA";

struct Signer(EcdsaKeyPair);

impl Signer {
    fn new() -> Self {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, &random).unwrap();
        Self(EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_ASN1_SIGNING, key.as_ref(), &random).unwrap())
    }

    fn policy(&self, scope: &str) -> Policy {
        let head = STANDARD.decode(format!("{HEAD}A")).unwrap()[..26].to_vec();
        let der = STANDARD.encode([&head, self.0.public_key().as_ref()].concat());
        let pem = format!("-----BEGIN PUBLIC KEY-----\n{der}\n-----END PUBLIC KEY-----");
        let text = format!("schema = 1\ndefault = \"refuse\"\n[images.\"{scope}\"]\nkeys = ['''{pem}''']\n");
        Policy::parse(&text, &mut |_| Ok(String::new())).unwrap()
    }
}

/// How a signature is published.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Tag,
    Referrer,
    None,
}

/// A registry whose image `shop/web` is signed by `signer` as `name`, with the digest that `digest` makes of its own.
fn registry(
    place: Place,
    signer: &Arc<Signer>,
    name: &'static str,
    digest: fn(&str) -> String,
) -> (String, Arc<std::sync::Mutex<Vec<String>>>) {
    let (layout, signer, address) = (image(), signer.clone(), Arc::new(OnceLock::<String>::new()));
    let own = manifest(&layout);
    let known = address.clone();
    let published = OnceLock::new();
    let (found, log) = serve(move |asked| {
        let (payload, document) = published.get_or_init(|| {
            let payload = json!({
                "critical": {
                    "identity": {"docker-reference": format!("{}/{name}", known.get().unwrap())},
                    "image": {"docker-manifest-digest": digest(&own)},
                    "type": "cosign container image signature",
                },
            });
            let payload = payload.to_string().into_bytes();
            let der = signer.0.sign(&SystemRandom::new(), &payload).unwrap();
            let layer = json!({
                "mediaType": "application/vnd.dev.cosign.simplesigning.v1+json",
                "digest": Digest::of(&payload).to_string(), "size": payload.len(),
                "annotations": {"dev.cosignproject.cosign/signature": STANDARD.encode(der.as_ref())},
            });
            let config = json!({"mediaType": "application/vnd.oci.empty.v1+json", "digest": own, "size": 2});
            let document = json!({
                "schemaVersion": 2, "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "config": config, "layers": [layer],
            });
            (payload, document.to_string().into_bytes())
        });
        let tag = format!("manifests/{}.sig", own.replace(':', "-"));
        if asked.path.contains("/referrers/") && place == Place::Referrer {
            let manifest = json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json", "size": document.len(),
                "artifactType": "application/vnd.dev.cosign.artifact.sig.v1+json",
                "digest": Digest::of(document).to_string(),
            });
            return Answer::new(200, json!({"manifests": [manifest]}).to_string());
        }
        if asked.path.ends_with(&tag) {
            return if place == Place::Tag {
                Answer::new(200, document.clone())
            } else {
                Answer::new(404, "")
            };
        }
        if asked.path.ends_with(&Digest::of(document).to_string()) {
            return Answer::new(200, document.clone());
        }
        if asked.path.ends_with(&Digest::of(payload).to_string()) {
            return Answer::new(200, payload.clone());
        }
        honest(&layout, asked)
    });
    address.set(found.clone()).unwrap();
    (found, log)
}

#[track_caller]
fn refused(address: &str, log: &std::sync::Mutex<Vec<String>>, policy: Policy, why: &str) {
    let mut bench = Bench::new(&address.replace(':', "-"), address);
    bench.settings.policy = policy;
    bench.refused(&["shop/web:1' is refused", why]);
    let asked = log.lock().unwrap();
    let blobs = asked.iter().filter(|path| path.contains("/blobs/")).count();
    assert!(blobs <= 1, "a payload at most is fetched: {asked:?}");
}

#[test]
fn a_signed_image_comes_in() {
    for place in [Place::Tag, Place::Referrer] {
        let signer = Arc::new(Signer::new());
        let (address, _) = registry(place, &signer, "shop/web", str::to_owned);
        let mut bench = Bench::new(&address.replace(':', "-"), &address);
        bench.settings.policy = signer.policy(&address);
        assert!(bench.pull().unwrap().new);
        bench.verified();
    }
}

#[test]
fn others_do_not() {
    let signer = Arc::new(Signer::new());
    let other = |_: &str| Digest::of(b"another").to_string();
    let (address, log) = registry(Place::None, &signer, "shop/web", str::to_owned);
    refused(&address, &log, signer.policy(&address), "it is not signed");
    refused(&address, &log, signer.policy("registry.example.com"), "the policy does not name it");
    let (address, log) = registry(Place::Tag, &signer, "shop/web", str::to_owned);
    refused(&address, &log, Signer::new().policy(&address), "no trusted key has signed it");
    let (address, log) = registry(Place::Tag, &signer, "shop/web", other);
    refused(&address, &log, signer.policy(&address), "its signature is for another manifest");
    let (address, log) = registry(Place::Referrer, &signer, "shop/db", str::to_owned);
    refused(&address, &log, signer.policy(&address), "shop/db'");
    let (address, log) = registry(Place::Tag, &signer, "shop/web:2", str::to_owned);
    refused(&address, &log, signer.policy(&address), "its signature is for the tag '2'");
}

/// What lies in the store already gets no further name by a reference that the policy refuses.
#[test]
fn an_image_that_is_there_is_judged_all_the_same() {
    let signer = Arc::new(Signer::new());
    let (address, _) = registry(Place::None, &signer, "shop/web", str::to_owned);
    let mut bench = Bench::new(&address.replace(':', "-"), &address);
    assert!(bench.pull().unwrap().new);
    bench.settings.policy = signer.policy(&address);
    bench.name = format!("{address}/shop/web:2");
    assert!(bench.pull().is_err());
    assert_eq!(bench.depot.index().unwrap().images.len(), 1);
}
