//! What the documents of an image say together, whoever has brought them: which manifest of an index is for this
//! machine, and which layers a manifest and its configuration describe.

use berth_units::wire::image::ImageConfig;

use super::fault::{BlobFault, ImportFault};
use super::{MAX_LAYERS, at, parse};
use crate::digest::Digest;
use crate::manifest::{self, Config, Descriptor, Index, Kind, Manifest, Platform};

/// Which machine an image is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// GOARCH, see [`super::architecture`].
    pub architecture: String,
    /// E.g. `v8`; none takes any, those without one first.
    pub variant: Option<String>,
}

impl Machine {
    /// Of that architecture, whatever the variant.
    pub fn of(architecture: &str) -> Self {
        Self { architecture: architecture.to_owned(), variant: None }
    }

    /// Whether what is for that platform runs on it.
    pub fn fits(&self, platform: &Platform) -> bool {
        let variants = (&self.variant, &platform.variant);
        let same = !matches!(variants, (Some(wanted), Some(is)) if wanted != is);
        platform.os == "linux" && platform.architecture == self.architecture && same
    }

    /// That there is nothing for it.
    pub(crate) fn missing(&self, name: &str) -> ImportFault {
        let architecture = self.architecture.clone();
        ImportFault::Platform { name: name.chars().take(200).collect(), architecture }
    }

    /// The first image that fits, one with the wanted variant or without one before others; what has no platform
    /// comes last.
    pub fn choose(&self, index: Index) -> Option<Descriptor> {
        let rank = |descriptor: Descriptor| {
            Kind::of(&descriptor.media_type)?;
            let rank = match &descriptor.platform {
                Some(platform) if !self.fits(platform) => return None,
                Some(platform) if platform.variant == self.variant => 0,
                Some(_) => 1,
                None => 2,
            };
            Some((rank, descriptor))
        };
        let candidates = index.manifests.unwrap_or_default().into_iter().filter_map(rank);
        candidates.min_by_key(|(rank, _)| *rank).map(|(_, descriptor)| descriptor)
    }
}

/// A layer that a manifest names, and what it unpacks to.
#[derive(Clone, Debug)]
pub struct LayerPlan {
    /// Of the blob.
    pub digest: Digest,
    /// Bytes of the blob.
    pub size: u64,
    /// Kind of the blob.
    pub media_type: String,
    /// Digest of the tar stream in it.
    pub diff_id: Digest,
}

/// The configuration's descriptor, after its media type has been looked at.
pub fn config_of(manifest: &Manifest) -> Result<&Descriptor, ImportFault> {
    if manifest::is_config(&manifest.config.media_type) {
        return Ok(&manifest.config);
    }
    let fault = BlobFault::MediaType(manifest.config.media_type.chars().take(200).collect());
    Err(at("configuration", &manifest.config.digest)(fault))
}

/// The layers of an image and how to run it. `shown` names the manifest in messages.
pub fn describe(
    manifest: &Manifest,
    shown: &str,
    config: &[u8],
    machine: &Machine,
) -> Result<(ImageConfig, Vec<LayerPlan>), ImportFault> {
    let name = &manifest.config.digest;
    let config: Config = parse(config).map_err(at("configuration", name))?;
    let layers = manifest.layers.as_deref().unwrap_or_default();
    let (config, diff_ids) = check_config(config, name, (shown, layers.len()), machine)?;
    let plan = |(layer, diff_id): (&Descriptor, Digest)| {
        let fault = at("layer", &layer.digest);
        if !manifest::is_layer(&layer.media_type) {
            return Err(fault(BlobFault::MediaType(layer.media_type.chars().take(200).collect())));
        }
        let digest = Digest::parse(&layer.digest).map_err(|error| fault(error.into()))?;
        Ok(LayerPlan { digest, size: layer.size, media_type: layer.media_type.clone(), diff_id })
    };
    Ok((config, layers.iter().zip(diff_ids).map(plan).collect::<Result<_, _>>()?))
}

/// Checks a configuration against the machine and against the layers of `list`; gives the digests.
pub fn check_config(
    config: Config,
    shown: &str,
    list: (&str, usize),
    machine: &Machine,
) -> Result<(ImageConfig, Vec<Digest>), ImportFault> {
    let fault = at("configuration", shown);
    let platform = Platform { architecture: config.architecture, os: config.os, variant: None };
    if !machine.fits(&platform) {
        let Platform { os, architecture, .. } = platform;
        let wanted = machine.architecture.clone();
        return Err(fault(BlobFault::Platform { os, architecture, wanted }));
    }
    let texts = config.rootfs.diff_ids.unwrap_or_default();
    if texts.len() > MAX_LAYERS {
        return Err(fault(BlobFault::TooManyLayers(texts.len())));
    }
    if texts.len() != list.1 {
        let counts = BlobFault::Layers { layers: list.1, diff_ids: texts.len() };
        return Err(at("manifest", list.0)(counts));
    }
    let diff_ids: Result<Vec<_>, _> = texts.iter().map(|text| Digest::parse(text)).collect();
    Ok((config.config.unwrap_or_default().into(), diff_ids.map_err(|error| fault(error.into()))?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(platforms: &[(&str, Option<&str>)]) -> Index {
        let manifests = platforms.iter().enumerate().map(|(number, (architecture, variant))| Descriptor {
            media_type: "application/vnd.oci.image.manifest.v1+json".to_owned(),
            digest: number.to_string(),
            size: 1,
            platform: Some(Platform {
                architecture: (*architecture).to_owned(),
                os: "linux".to_owned(),
                variant: variant.map(str::to_owned),
            }),
            annotations: None,
        });
        Index { manifests: Some(manifests.collect()) }
    }

    #[test]
    fn the_nearest_platform_is_chosen() {
        let arm = [("arm", Some("v6")), ("arm", Some("v7")), ("arm64", Some("v8")), ("amd64", None)];
        for (architecture, variant, expect) in [
            ("arm", Some("v7"), Some("1")),
            ("arm", None, Some("0")),
            ("arm", Some("v5"), None),
            ("arm64", None, Some("2")),
            ("amd64", Some("v2"), Some("3")),
            ("riscv64", None, None),
        ] {
            let machine =
                Machine { architecture: architecture.to_owned(), variant: variant.map(str::to_owned) };
            let chosen = machine.choose(index(&arm)).map(|descriptor| descriptor.digest);
            assert_eq!(chosen.as_deref(), expect, "{architecture} {variant:?}");
        }
    }
}
