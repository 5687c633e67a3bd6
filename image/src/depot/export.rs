//! An image of a store as an oci-archive: the blobs as they were received, so every digest and signature stays.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use berth_units::Reference;
use berth_units::wire::image::StoredImage;
use serde_json::json;

use super::{Depot, DepotError, Fresh, cannot};
use crate::digest::{Digest, Hashing};
use crate::extent::Extent;

const LAYOUT: &[u8] = br#"{"imageLayoutVersion":"1.0.0"}"#;

impl Depot {
    /// Writes one image as an oci-archive, which appears whole or not at all. The same image gives the same bytes. The
    /// caller holds [`Depot::reader`]'s lock.
    pub fn export(&self, name: &Reference, image: &StoredImage, to: &Path) -> Result<(), DepotError> {
        let folder = to.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let fresh = Fresh::create_hidden(folder)?;
        let mut out = Archive { out: BufWriter::with_capacity(1 << 17, fresh.file()) };
        let fault = |error| cannot("write", to)(error);
        out.put("oci-layout", LAYOUT).map_err(fault)?;
        let index = self.layout_index(name, image)?;
        out.put("index.json", index.as_bytes()).map_err(fault)?;
        for digest in self.blobs_of(image)? {
            let blob = self.blob(&digest)?.ok_or_else(|| match self.is_document(image, &digest) {
                true => DepotError::Damaged(digest.to_string()),
                false => DepotError::NotKept(digest.to_string()),
            })?;
            let path = format!("blobs/sha256/{}", digest.hex());
            let actual = out.copy(&path, &blob).map_err(fault)?;
            if actual != digest {
                return Err(DepotError::Damaged(digest.to_string()));
            }
        }
        out.finish().map_err(fault)?;
        fresh.persist(to)
    }

    /// `index.json` of a layout that holds this image alone.
    fn layout_index(&self, name: &Reference, image: &StoredImage) -> Result<String, DepotError> {
        let damaged = || DepotError::Damaged(image.digest.clone());
        let manifest = Digest::parse(&image.digest).map_err(|_| damaged())?;
        let size = self.blob(&manifest)?.ok_or_else(damaged)?.len();
        let media_type = &image.documents.as_ref().ok_or_else(damaged)?.manifest_type;
        let annotations = json!({
            "org.opencontainers.image.ref.name": name.to_string(),
            "io.containerd.image.name": name.to_string(),
        });
        let descriptor = json!({
            "mediaType": media_type, "digest": image.digest, "size": size, "annotations": annotations,
        });
        Ok(json!({"schemaVersion": 2, "manifests": [descriptor]}).to_string())
    }

    /// Each once: manifest, configuration, layers.
    fn blobs_of(&self, image: &StoredImage) -> Result<Vec<Digest>, DepotError> {
        let config = image.documents.iter().map(|documents| &documents.config);
        let texts =
            [&image.digest].into_iter().chain(config).chain(image.made_of.iter().map(|layer| &layer.blob));
        let mut digests = Vec::new();
        for text in texts {
            let digest = Digest::parse(text).map_err(|_| DepotError::Damaged(text.clone()))?;
            if !digests.contains(&digest) {
                digests.push(digest);
            }
        }
        Ok(digests)
    }

    fn is_document(&self, image: &StoredImage, digest: &Digest) -> bool {
        !image.made_of.iter().any(|layer| layer.blob == digest.to_string())
    }
}

/// A tar file on its way out; everything is of root and of the epoch.
struct Archive<'a> {
    out: BufWriter<&'a File>,
}

impl Archive<'_> {
    fn header(&mut self, path: &str, size: u64) -> io::Result<()> {
        let mut header = tar::Header::new_ustar();
        header.set_path(path)?;
        header.set_entry_type(tar::EntryType::Regular);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        header.set_cksum();
        self.out.write_all(header.as_bytes())
    }

    fn pad(&mut self, size: u64) -> io::Result<()> {
        let gap = size.next_multiple_of(512) - size;
        io::copy(&mut io::Read::take(io::repeat(0), gap), &mut self.out).map(drop)
    }

    fn put(&mut self, path: &str, bytes: &[u8]) -> io::Result<()> {
        self.header(path, bytes.len() as u64)?;
        self.out.write_all(bytes)?;
        self.pad(bytes.len() as u64)
    }

    /// Copies a blob; returns what its digest really is.
    fn copy(&mut self, path: &str, blob: &Extent) -> io::Result<Digest> {
        self.header(path, blob.len())?;
        let mut reader = Hashing::new(blob.reader());
        io::copy(&mut reader, &mut self.out)?;
        let (digest, size) = reader.finish();
        self.pad(size)?;
        Ok(digest)
    }

    fn finish(mut self) -> io::Result<()> {
        self.out.write_all(&[0; 1024])?;
        self.out.flush()
    }
}
