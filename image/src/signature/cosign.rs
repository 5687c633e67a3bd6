//! Keys and payloads of `cosign sign --key` (sigstore/cosign, specs/SIGNATURE_SPEC.md).
//!
//! The payload is a small JSON document, *simple signing*, that names a manifest by digest and the repository it is
//! for; the signature is ECDSA on P-256 with SHA-256 over its bytes as they are. Certificates and transparency logs
//! are not looked at: a node without a network cannot.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ring::signature::{ECDSA_P256_SHA256_ASN1, UnparsedPublicKey};
use serde::Deserialize;

use crate::digest::Digest;

/// Longest payload, bytes. What cosign writes has some 300.
pub const MAX_PAYLOAD: u64 = 64 << 10;
/// Longest public key file, bytes.
pub const MAX_KEY: u64 = 8192;
/// Longest signature: two numbers of 33 bytes in DER.
const MAX_SIGNATURE: usize = 72;
/// A key on P-256 in DER up to its uncompressed point (RFC 5480): algorithm, curve, a bit string of 66 bytes.
const P256: [u8; 26] = [
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];
const BEGIN: &str = "-----BEGIN PUBLIC KEY-----";
const END: &str = "-----END PUBLIC KEY-----";
const TYPE: &str = "cosign container image signature";

/// Why a text is not a [`PublicKey`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("it is not a public key of cosign: {0}")]
pub struct KeyError(&'static str);

/// A point on P-256.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKey {
    point: Vec<u8>,
    digest: Digest,
}

impl PublicKey {
    /// Parses PEM (RFC 7468), one key in it.
    pub fn parse(text: &str) -> Result<Self, KeyError> {
        if text.len() as u64 > MAX_KEY {
            return Err(KeyError("it is too long"));
        }
        let body = text.trim().strip_prefix(BEGIN).and_then(|rest| rest.strip_suffix(END));
        let body =
            body.ok_or(KeyError("'BEGIN PUBLIC KEY' and 'END PUBLIC KEY' are its first and last line"))?;
        let body: String = body.split_ascii_whitespace().collect();
        let der = STANDARD.decode(body).map_err(|_| KeyError("what is between them is not base64"))?;
        let point = der.strip_prefix(&P256).filter(|point| point.len() == 65 && point.first() == Some(&4));
        let point = point.ok_or(KeyError("it is not one for ECDSA on the curve P-256"))?.to_vec();
        Ok(Self { point, digest: Digest::of(&der) })
    }

    /// Tells keys apart: the first 16 hex digits of the SHA-256 of its DER form.
    pub fn fingerprint(&self) -> String {
        self.digest.hex().chars().take(16).collect()
    }

    /// Whether this key has signed that payload.
    pub fn has_signed(&self, signature: &Signature) -> bool {
        let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_ASN1, &self.point);
        let fair = signature.payload.len() as u64 <= MAX_PAYLOAD && signature.der.len() <= MAX_SIGNATURE;
        fair && key.verify(&signature.payload, &signature.der).is_ok()
    }
}

/// A signature as it came; nothing in it is to be believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    /// What is signed, byte by byte.
    pub payload: Vec<u8>,
    /// ECDSA in DER (RFC 3279, 2.2.3).
    pub der: Vec<u8>,
}

impl Signature {
    /// Of a payload and its signature in base64; none when that is not base64 or anything is too long.
    pub fn new(payload: Vec<u8>, base64: &str) -> Option<Self> {
        let fair = base64.len() <= 2 * MAX_SIGNATURE && payload.len() as u64 <= MAX_PAYLOAD;
        let der = fair.then(|| STANDARD.decode(base64).ok()).flatten()?;
        Some(Self { payload, der })
    }
}

/// What a payload says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The manifest.
    pub digest: Digest,
    /// `registry/repository`, maybe with `:tag`.
    pub name: String,
}

#[derive(Deserialize)]
struct Payload {
    critical: Critical,
}

#[derive(Deserialize)]
struct Critical {
    identity: Identity,
    image: Image,
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Identity {
    docker_reference: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Image {
    docker_manifest_digest: String,
}

impl Claim {
    /// Reads a payload; says what is wrong with one that claims nothing.
    pub fn parse(payload: &[u8]) -> Result<Self, &'static str> {
        if payload.len() as u64 > MAX_PAYLOAD {
            return Err("it is too long");
        }
        let parsed: Payload =
            serde_json::from_slice(payload).map_err(|_| "it is not the JSON of simple signing")?;
        let Critical { identity, image, kind } = parsed.critical;
        if kind != TYPE {
            return Err("its type is not that of cosign");
        }
        let digest = Digest::parse(&image.docker_manifest_digest).map_err(|_| "its digest is none")?;
        Ok(Self { digest, name: identity.docker_reference })
    }
}
