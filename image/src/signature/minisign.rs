//! Keys and signatures in the files of minisign (jedisct1/minisign, "Signature format" and "Secret key format").
//!
//! A signature covers the bytes, or their BLAKE2b-512 digest, and a second one covers the first and the *trusted
//! comment*. Both kinds are verified; new signatures are over the digest, as minisign makes them. Secret keys lie in
//! the clear, as `minisign -G -W` writes them: a key that a build service uses has its password beside it anyway.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use blake2::{Blake2b512, Digest as _};
use ring::signature::{ED25519, Ed25519KeyPair, KeyPair, UnparsedPublicKey};

/// Longest file of a key or a signature, bytes.
pub const MAX_FILE: u64 = 8192;
/// Longest comment, bytes.
const MAX_COMMENT: usize = 1024;
const UNTRUSTED: &str = "untrusted comment: ";
const TRUSTED: &str = "trusted comment: ";
/// The key signs the bytes themselves.
const LEGACY: &[u8; 2] = b"Ed";
/// The key signs their BLAKE2b-512 digest.
const PREHASHED: &[u8; 2] = b"ED";
/// Of a secret key: its checksum is BLAKE2b-256. Without a password there is none, and minisign writes zeros.
const CHECKSUM: &[u8; 2] = b"B2";

/// What is wrong with a file of minisign, or with what it signs.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MinisignError {
    /// Not the lines or the bytes that belong there.
    #[error("it is not a {what} of minisign: {why}")]
    Malformed {
        /// Which file.
        what: &'static str,
        /// Its fault.
        why: &'static str,
    },
    /// A password is needed.
    #[error("the secret key has a password, which is not supported: 'minisign -C -W' takes it off")]
    Password,
    /// Signed by somebody else.
    #[error("it is signed by key {signed}, and {trusted} is trusted")]
    OtherKey {
        /// Id in the signature.
        signed: KeyId,
        /// Id of the key at hand.
        trusted: KeyId,
    },
    /// The signed bytes are others.
    #[error("the signature is not over these bytes")]
    Wrong,
    /// The trusted comment was changed.
    #[error("the signature is not over its trusted comment")]
    WrongComment,
}

type Result<T> = std::result::Result<T, MinisignError>;

/// Tells keys apart, and proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct KeyId([u8; 8]);

impl std::fmt::Display for KeyId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:016X}", u64::from_le_bytes(self.0))
    }
}

/// Verifies signatures.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct PublicKey {
    id: KeyId,
    point: [u8; 32],
}

impl PublicKey {
    /// Parses a `.pub` file, or its second line alone.
    pub fn parse(text: &str) -> Result<Self> {
        let fault = |why| MinisignError::Malformed { what: "public key", why };
        if text.len() as u64 > MAX_FILE {
            return Err(fault("it is too long"));
        }
        let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
        let first = lines.next().ok_or(fault("it is empty"))?;
        let is_comment = first.starts_with(UNTRUSTED);
        let line = if is_comment { lines.next().ok_or(fault("its second line is missing"))? } else { first };
        if lines.next().is_some() {
            return Err(fault("it has more than two lines"));
        }
        let bytes: [u8; 42] = decode(line).ok_or(fault("42 bytes in base64 are needed"))?;
        let (algorithm, id, point) = split(&bytes).ok_or(fault("it is too short"))?;
        if algorithm != *LEGACY {
            return Err(fault("it is not one for ed25519"));
        }
        Ok(Self { id: KeyId(id), point })
    }

    /// Its id.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// The line that stands for it everywhere.
    pub fn line(&self) -> String {
        STANDARD.encode([LEGACY.as_slice(), &self.id.0, &self.point].concat())
    }

    /// Its `.pub` file.
    pub fn file(&self) -> String {
        format!("{UNTRUSTED}berth public key {}\n{}\n", self.id, self.line())
    }

    /// Whether this key has signed these bytes, and the trusted comment.
    pub fn verify(&self, bytes: &[u8], signature: &Signature) -> Result<()> {
        if signature.id != self.id {
            return Err(MinisignError::OtherKey { signed: signature.id, trusted: self.id });
        }
        let key = UnparsedPublicKey::new(&ED25519, &self.point);
        let hash;
        let signed = if signature.prehashed {
            hash = Blake2b512::digest(bytes);
            hash.as_slice()
        } else {
            bytes
        };
        key.verify(signed, &signature.over_bytes).map_err(|_| MinisignError::Wrong)?;
        let comment = [&signature.over_bytes, signature.comment.as_bytes()].concat();
        key.verify(&comment, &signature.over_comment).map_err(|_| MinisignError::WrongComment)
    }
}

/// A signature file: `.minisig`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    id: KeyId,
    prehashed: bool,
    over_bytes: [u8; 64],
    comment: String,
    over_comment: [u8; 64],
}

impl Signature {
    /// Parses the four lines; nothing in them is to be believed before [`PublicKey::verify`].
    pub fn parse(text: &str) -> Result<Self> {
        let fault = |why| MinisignError::Malformed { what: "signature", why };
        if text.len() as u64 > MAX_FILE {
            return Err(fault("it is too long"));
        }
        let mut lines = text.lines().map(|line| line.strip_suffix('\r').unwrap_or(line));
        let mut line = || lines.next().ok_or(fault("it has less than four lines"));
        if !line()?.starts_with(UNTRUSTED) {
            return Err(fault("its first line is no untrusted comment"));
        }
        let bytes: [u8; 74] = decode(line()?).ok_or(fault("its second line is not 74 bytes in base64"))?;
        let comment = line()?.strip_prefix(TRUSTED).ok_or(fault("its third line is no trusted comment"))?;
        let over_comment = decode(line()?).ok_or(fault("its fourth line is not 64 bytes in base64"))?;
        if lines.any(|line| !line.is_empty()) {
            return Err(fault("it has more than four lines"));
        }
        if comment.len() > MAX_COMMENT {
            return Err(fault("its trusted comment is too long"));
        }
        let (algorithm, id, over_bytes) = split(&bytes).ok_or(fault("it is too short"))?;
        let prehashed = match &algorithm {
            PREHASHED => true,
            LEGACY => false,
            _ => return Err(fault("its algorithm is not ed25519")),
        };
        Ok(Self { id: KeyId(id), prehashed, over_bytes, comment: comment.to_owned(), over_comment })
    }

    /// The key that it says it is by.
    pub fn id(&self) -> KeyId {
        self.id
    }

    /// What the signer says, once it is verified.
    pub fn trusted_comment(&self) -> &str {
        &self.comment
    }

    /// Its file.
    pub fn file(&self) -> String {
        let algorithm = if self.prehashed { PREHASHED } else { LEGACY };
        let bytes = STANDARD.encode([algorithm.as_slice(), &self.id.0, &self.over_bytes].concat());
        let over_comment = STANDARD.encode(self.over_comment);
        format!(
            "{UNTRUSTED}signature by berth key {}\n{bytes}\n{TRUSTED}{}\n{over_comment}\n",
            self.id, self.comment
        )
    }
}

/// Signs. Neither shown nor compared.
pub struct SecretKey {
    id: KeyId,
    seed: [u8; 32],
    pair: Ed25519KeyPair,
}

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SecretKey").field("id", &self.id).finish_non_exhaustive()
    }
}

impl SecretKey {
    /// Of 40 random bytes.
    pub fn new(random: &[u8; 40]) -> Result<Self> {
        let fault = MinisignError::Malformed { what: "secret key", why: "its seed is none" };
        let (id, seed) = random.split_at(8);
        let seed: [u8; 32] = seed.try_into().map_err(|_| fault.clone())?;
        let id = id.try_into().map_err(|_| fault.clone())?;
        let pair = Ed25519KeyPair::from_seed_unchecked(&seed).map_err(|_| fault)?;
        Ok(Self { id: KeyId(id), seed, pair })
    }

    /// Parses the file of a secret key without a password.
    pub fn parse(text: &str) -> Result<Self> {
        let fault = |why| MinisignError::Malformed { what: "secret key", why };
        if text.len() as u64 > MAX_FILE {
            return Err(fault("it is too long"));
        }
        let mut lines = text.lines().map(str::trim_end).filter(|line| !line.is_empty());
        if !lines.next().is_some_and(|line| line.starts_with(UNTRUSTED)) {
            return Err(fault("its first line is no untrusted comment"));
        }
        let bytes =
            lines.next().and_then(decode).ok_or(fault("its second line is not 158 bytes in base64"))?;
        Self::from_bytes(&bytes)
    }

    /// Algorithm, derivation, checksum (2 bytes each), salt, two limits (32, 8, 8), then id, seed, point, checksum.
    fn from_bytes(bytes: &[u8; 158]) -> Result<Self> {
        let fault = |why| MinisignError::Malformed { what: "secret key", why };
        let part = |from: usize, len: usize| bytes.get(from..from + len).unwrap_or_default();
        if part(0, 2) != LEGACY || part(4, 2) != CHECKSUM {
            return Err(fault("it is not one for ed25519"));
        }
        if part(2, 2) != [0, 0] {
            return Err(MinisignError::Password);
        }
        let random: [u8; 40] = part(54, 40).try_into().map_err(|_| fault("it is too short"))?;
        let key = Self::new(&random)?;
        if part(94, 32) != key.public().point {
            return Err(fault("its two halves do not belong together"));
        }
        Ok(key)
    }

    /// What verifies its signatures.
    pub fn public(&self) -> PublicKey {
        let mut point = [0; 32];
        for (to, from) in point.iter_mut().zip(self.pair.public_key().as_ref()) {
            *to = *from;
        }
        PublicKey { id: self.id, point }
    }

    /// Its file.
    pub fn file(&self) -> String {
        let head = [LEGACY.as_slice(), &[0, 0], CHECKSUM, &[0; 48]].concat();
        let body = [&self.id.0, self.seed.as_slice(), &self.public().point, &[0; 32]].concat();
        format!("{UNTRUSTED}berth secret key {}\n{}\n", self.id, STANDARD.encode([head, body].concat()))
    }

    /// Signs bytes and a comment of one line. The same bytes and comment give the same signature.
    pub fn sign(&self, bytes: &[u8], comment: &str) -> Signature {
        let comment: String = comment.chars().filter(|c| !c.is_control()).take(MAX_COMMENT / 4).collect();
        let over_bytes = self.raw(&Blake2b512::digest(bytes));
        let over_comment = self.raw(&[&over_bytes, comment.as_bytes()].concat());
        Signature { id: self.id, prehashed: true, over_bytes, comment, over_comment }
    }

    fn raw(&self, bytes: &[u8]) -> [u8; 64] {
        let mut raw = [0; 64];
        for (to, from) in raw.iter_mut().zip(self.pair.sign(bytes).as_ref()) {
            *to = *from;
        }
        raw
    }
}

/// So many bytes in base64, and not one more.
fn decode<const N: usize>(line: &str) -> Option<[u8; N]> {
    STANDARD.decode(line).ok()?.try_into().ok()
}

/// Algorithm, key id, and the rest.
fn split<const N: usize>(bytes: &[u8]) -> Option<([u8; 2], [u8; 8], [u8; N])> {
    let (algorithm, rest) = bytes.split_first_chunk()?;
    let (id, rest) = rest.split_first_chunk()?;
    Some((*algorithm, *id, rest.try_into().ok()?))
}
