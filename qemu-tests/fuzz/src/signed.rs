//! Keys, signatures and policies.

use std::collections::BTreeSet;

use berth_image::bundle::{UNITS, parse_index};
use berth_image::digest::Digest;
use berth_image::signature::cosign::{self, Claim};
use berth_image::signature::gather::described;
use berth_image::signature::minisign::{PublicKey, SecretKey, Signature};
use berth_image::signature::{self, Policy};
use berth_units::Reference;

pub const MINISIGN: &[&str] = &[
    "untrusted comment: minisign public key\nRWTPNdhYJeqgzJA6N/4+9wrhQrbk/wG5wpFuvdq7fN4H5L57aLK4juAs\n",
    "untrusted comment: a secret key\nRWQAAEIyAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAzzXYWCXqoMwj8Nar7+Zj\
     FlYjs1V2Ysw5tecBPABEqhgzs/+vTGH7qpA6N/4+9wrhQrbk/wG5wpFuvdq7fN4H5L57aLK4juAsAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA\
     AAAAAAAAAAA=\n",
    "untrusted comment: signature\n\
     RUTPNdhYJeqgzKuTieFydDkLIJTOIQ7YGN/HO0ClMhrMs/zKT5k4QK5wsuBlZAfTtf6XLfQdG+Chff2NZy9tlIyEpgRc8V91/A8=\n\
     trusted comment: berth test\n\
     3O6uhs+nCqDtcW0ViILFeaza8NJrd7PVC6o+9N0N7PDZVla50rQlzbY7XZGio6uSoxgR5z+T3o5fMoUhfNhgAg==\n",
];

pub const COSIGN: &[&str] = &[
    "{\"critical\":{\"identity\":{\"docker-reference\":\"r.example/shop/web:1\"},\"image\":{\"docker-manifest-digest\":\
     \"sha256:4b5e57f6eb2f42b9039b3d1e13929295f231749c510cbe341cd68036d9af97e2\"},\
     \"type\":\"cosign container image signature\"},\"optional\":null}",
    "-----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEV2l3NIwZRFI9NraIuKVSmlG0mZs5\n\
     nLPMlf/t1OlrjALlNvf001274wpqFgynR7tEU2HLiNieIvp+fP9Z00Rfvg==\n-----END PUBLIC KEY-----\n",
    "{\"config\":{\"mediaType\":\"x\",\"digest\":\"y\",\"size\":1},\"layers\":[{\"mediaType\":\
     \"application/vnd.dev.cosign.simplesigning.v1+json\",\"size\":9,\"digest\":\
     \"sha256:4b5e57f6eb2f42b9039b3d1e13929295f231749c510cbe341cd68036d9af97e2\",\
     \"annotations\":{\"dev.cosignproject.cosign/signature\":\"MEUC\"}}]}",
    "schema = 1\ndefault = \"refuse\"\n[images.\"r.example/shop\"]\nkeys = [\"a.pub\"]\ntag = \"bound\"\n\
     [images.\"r.example\"]\nunsigned = \"accept\"\n[bundles]\nkeys = [\"b.pub\"]\n",
];

pub const BUNDLE: &[&str] = &[
    "{\"schemaVersion\":2,\"mediaType\":\"application/vnd.oci.image.index.v1+json\",\"manifests\":[\
     {\"mediaType\":\"application/vnd.berth.units.v1.tar\",\"digest\":\
     \"sha256:4b5e57f6eb2f42b9039b3d1e13929295f231749c510cbe341cd68036d9af97e2\",\"size\":7},\
     {\"mediaType\":\"application/vnd.oci.image.manifest.v1+json\",\"digest\":\
     \"sha256:4b5e57f6eb2f42b9039b3d1e13929295f231749c510cbe341cd68036d9af97e2\",\"size\":9,\"annotations\":\
     {\"io.containerd.image.name\":\"r.example/web:1\",\"org.opencontainers.image.ref.name\":\"r.example/web:1\"}}]}",
];

/// The index of a bundle: what is accepted names units once, and every image once.
pub fn bundle(bytes: &[u8]) {
    let Ok(entries) = parse_index(bytes) else { return };
    assert_eq!(entries.iter().filter(|entry| entry.media_type == UNITS).count(), 1);
    let names: BTreeSet<_> = entries.iter().filter_map(|entry| entry.name.as_ref()).collect();
    assert!(names.len() < entries.len() && entries.len() <= names.len() + 2);
}

/// What is understood is written the same again, and nothing is signed by a key that did not.
pub fn minisign(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let key = PublicKey::parse(&text);
    if let Ok(key) = &key {
        assert_eq!(PublicKey::parse(&key.file()).as_ref(), Ok(key));
        assert_eq!(PublicKey::parse(&key.line()).as_ref(), Ok(key));
    }
    if let Ok(secret) = SecretKey::parse(&text) {
        let signature = secret.sign(bytes, &text);
        assert_eq!(secret.public().verify(bytes, &signature), Ok(()));
        assert_eq!(Signature::parse(&signature.file()), Ok(signature));
        assert!(SecretKey::parse(&secret.file()).is_ok_and(|again| again.public() == secret.public()));
    }
    if let Ok(signature) = Signature::parse(&text) {
        assert_eq!(Signature::parse(&signature.file()).as_ref(), Ok(&signature));
        for key in MINISIGN.first().and_then(|text| PublicKey::parse(text).ok()).iter() {
            assert!(key.verify(bytes, &signature).is_err(), "it cannot have signed itself");
        }
    }
}

/// Payloads, keys, manifests of signatures and policies: no claim is believed that nobody has signed.
pub fn cosign(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let digest = Digest::of(bytes);
    let key = COSIGN.get(1).copied().unwrap_or_default().to_owned();
    if let Ok(key) = cosign::PublicKey::parse(&text) {
        assert_eq!(key.fingerprint().len(), 16);
    }
    for (_, signature) in described(bytes) {
        signature::Signature::new(bytes.to_vec(), &signature);
    }
    if let Ok(policy) = Policy::parse(&text, &mut |_| Ok(key.clone())) {
        let Ok(reference) = Reference::parse("r.example/shop/web:1") else { return };
        let judged = policy.judge(&reference, &digest, &[]);
        assert!(judged.is_err() || !policy.needs_signatures(&reference));
    }
    let Ok(claim) = Claim::parse(bytes) else { return };
    let signed = format!("schema = 1\n[images.\"r.example\"]\nkeys = ['''{key}''']\n");
    let (Ok(policy), Ok(reference)) =
        (Policy::parse(&signed, &mut |_| Ok(String::new())), Reference::parse("r.example/shop/web:1"))
    else {
        return;
    };
    let forged = signature::Signature { payload: bytes.to_vec(), der: bytes.to_vec() };
    assert!(policy.judge(&reference, &claim.digest, &[forged]).is_err());
}
