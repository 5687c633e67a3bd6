//! One blob into the store, taken up where an earlier attempt, or an earlier boot, ended.
//!
//! What is already there is hashed again when it is taken up: after a power cut a file may be longer than what was
//! written of it. If the whole then has the wrong digest, one attempt from the start is made.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use sha2::{Digest as _, Sha256};

use super::client::{Endpoint, header};
use super::pace::{Throttle, pause, wait};
use super::{News, RegistryError, Settings, Watch};
use crate::depot::{Depot, DepotError, cannot, publish};
use crate::digest::Digest;
use crate::import::description::LayerPlan;
use crate::import::{BlobFault, at};

/// Attempts in all, with progress or without.
const MAX_TRIES: u32 = 100;
/// Less than this within a window of idle time is no progress.
const MIN_PROGRESS: u64 = 16 << 10;

/// What all blobs of a pull share.
pub struct Context<'a> {
    pub depot: &'a Depot,
    pub endpoints: &'a [Endpoint],
    pub settings: &'a Settings,
    pub throttle: &'a Throttle,
    pub watch: &'a dyn Watch,
    pub stop: &'a AtomicBool,
}

/// A blob on its way: what is in the file has gone through the hash.
struct Partial {
    file: File,
    path: PathBuf,
    hasher: Sha256,
    at: u64,
}

impl Partial {
    fn open(depot: &Depot, plan: &LayerPlan) -> Result<Self, DepotError> {
        let path = depot.partial_path(&plan.digest);
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false);
        let file = options.open(&path).map_err(cannot("open", &path))?;
        let mut partial = Self { file, path, hasher: Sha256::new(), at: 0 };
        if partial.file.metadata().map_or(u64::MAX, |found| found.len()) > plan.size {
            partial.restart()?;
        }
        partial.recall().map_err(cannot("read", &partial.path))?;
        Ok(partial)
    }

    /// Hashes what is there.
    fn recall(&mut self) -> io::Result<()> {
        let mut buffer = vec![0; 1 << 17];
        loop {
            let count = self.file.read(&mut buffer)?;
            let Some(bytes) = buffer.get(..count).filter(|bytes| !bytes.is_empty()) else { return Ok(()) };
            self.hasher.update(bytes);
            self.at += count as u64;
        }
    }

    fn restart(&mut self) -> Result<(), DepotError> {
        self.hasher = Sha256::new();
        self.at = 0;
        self.file.set_len(0).map_err(cannot("write", &self.path))?;
        self.file.seek(SeekFrom::Start(0)).map_err(cannot("write", &self.path)).map(drop)
    }

    fn append(&mut self, bytes: &[u8]) -> Result<(), DepotError> {
        self.file.write_all(bytes).map_err(cannot("write", &self.path))?;
        self.hasher.update(bytes);
        self.at += bytes.len() as u64;
        Ok(())
    }

    fn digest(&self) -> Digest {
        Digest::from(self.hasher.clone())
    }
}

/// Fetches a blob from the first endpoint that has it, and has it right.
pub fn fetch(context: &Context<'_>, plan: &LayerPlan) -> Result<(), RegistryError> {
    let mut partial = Partial::open(context.depot, plan)?;
    let mut first = 0;
    loop {
        let (by, began) = complete(context, plan, &mut partial, first)?;
        let actual = partial.digest();
        if actual == plan.digest {
            break;
        }
        partial.restart()?;
        // What was there before may be at fault: then the same one gets a chance with the whole.
        first = if began > 0 { by } else { by + 1 };
        if first >= context.endpoints.len() {
            let shown = plan.digest.to_string();
            crate::depot::discard(&partial.path)?;
            return Err(at("layer", &shown)(BlobFault::Corrupt(actual)).into());
        }
    }
    publish(&partial.file, &partial.path, &context.depot.blob_path(&plan.digest))?;
    context.watch.see(News::Fetched(plan));
    Ok(())
}

/// Reads until the blob has its size: one endpoint after the other from the `first`, each some times. Tells which
/// one had the end of it, and how much was there when that one was asked.
fn complete(
    context: &Context<'_>,
    plan: &LayerPlan,
    partial: &mut Partial,
    first: usize,
) -> Result<(usize, u64), RegistryError> {
    let mut last = RegistryError::Stopped;
    for (number, endpoint) in context.endpoints.iter().enumerate().skip(first) {
        let began = partial.at;
        let result = insist(context, endpoint, plan, partial);
        match result {
            Ok(()) => return Ok((number, began)),
            Err(error) if !can_go_elsewhere(&error) => return Err(error),
            Err(error) => last = error,
        }
    }
    Err(last)
}

/// Some attempts at one endpoint, more while bytes come.
fn insist(
    context: &Context<'_>,
    endpoint: &Endpoint,
    plan: &LayerPlan,
    partial: &mut Partial,
) -> Result<(), RegistryError> {
    let (mut tries, mut fruitless) = (0, 0);
    while partial.at < plan.size {
        let before = partial.at;
        let Err(error) = attempt(context, endpoint, plan, partial) else { continue };
        tries += 1;
        fruitless = if partial.at >= before + MIN_PROGRESS { 0 } else { fruitless + 1 };
        if !error.is_temporary() || tries >= MAX_TRIES || fruitless >= context.settings.tries {
            return Err(error);
        }
        let wait = wait(fruitless, error.retry_after());
        context.watch.see(News::Again { what: &plan.digest.to_string(), wait, why: &error });
        if pause(wait, context.stop) {
            return Err(RegistryError::Stopped);
        }
    }
    Ok(())
}

/// Whether the next endpoint may do better: not when the disk is full.
pub fn can_go_elsewhere(error: &RegistryError) -> bool {
    !matches!(error, RegistryError::Depot(_) | RegistryError::Stopped)
}

/// One request, from where we are.
fn attempt(
    context: &Context<'_>,
    endpoint: &Endpoint,
    plan: &LayerPlan,
    partial: &mut Partial,
) -> Result<(), RegistryError> {
    let range = format!("bytes={}-", partial.at);
    let headers: &[(&str, &str)] = if partial.at > 0 { &[("range", range.as_str())] } else { &[] };
    let mut response = match endpoint.get(&format!("blobs/{}", plan.digest), headers) {
        // It has not as much as we have: whatever we have is not that blob.
        Err(RegistryError::Status { status: 416, .. }) if partial.at > 0 => {
            partial.restart()?;
            endpoint.get(&format!("blobs/{}", plan.digest), &[])?
        }
        response => response?,
    };
    if response.status().as_u16() == 200 && partial.at > 0 {
        partial.restart()?;
    }
    if response.status().as_u16() == 206 {
        let range = header(&response, "content-range").unwrap_or_default();
        if !is_continuation(range, partial.at, plan.size) {
            let shown: String = range.chars().take(100).collect();
            return Err(
                endpoint.protocol(format!("it was asked for bytes from {}, it sends '{shown}'", partial.at))
            );
        }
    }
    let left = plan.size - partial.at;
    if let Some(declared) = response.body().content_length().filter(|declared| *declared != left) {
        return Err(endpoint.protocol(format!("layer {} has {declared} bytes left, not {left}", plan.digest)));
    }
    read(context, endpoint, plan, (partial, &mut response.body_mut().as_reader()))
}

/// Reads a body to its end, which has to be where the descriptor says.
fn read(
    context: &Context<'_>,
    endpoint: &Endpoint,
    plan: &LayerPlan,
    (partial, body): (&mut Partial, &mut dyn Read),
) -> Result<(), RegistryError> {
    let broken = |source| RegistryError::Broken { host: endpoint.host.clone(), source };
    let mut buffer = vec![0; 1 << 16];
    let (mut since, mut mark) = (Instant::now(), partial.at);
    loop {
        let count = body.read(&mut buffer).map_err(broken)?;
        let bytes = buffer.get(..count).unwrap_or_default();
        if bytes.is_empty() {
            return match partial.at == plan.size {
                true => Ok(()),
                false => Err(broken(io::ErrorKind::UnexpectedEof.into())),
            };
        }
        if count as u64 > plan.size - partial.at {
            return Err(endpoint
                .protocol(format!("layer {} is longer than the {} bytes declared", plan.digest, plan.size)));
        }
        partial.append(bytes)?;
        context.watch.see(News::Got(plan, partial.at));
        if partial.at == plan.size {
            return Ok(());
        }
        if context.throttle.take(count, context.stop) {
            return Err(RegistryError::Stopped);
        }
        if since.elapsed() > context.settings.idle.max(Duration::from_secs(1)) {
            let slow = context.settings.rate.is_none() && partial.at - mark < MIN_PROGRESS;
            if slow {
                return Err(broken(io::Error::new(io::ErrorKind::TimedOut, "it is too slow")));
            }
            (since, mark) = (Instant::now(), partial.at);
        }
    }
}

/// `bytes FIRST-LAST/SIZE` (RFC 9110, 14.4) that goes on where we are, to the end.
fn is_continuation(range: &str, at: u64, size: u64) -> bool {
    let parse = || {
        let (span, whole) = range.strip_prefix("bytes ")?.split_once('/')?;
        let (first, last) = span.split_once('-')?;
        let whole = if whole == "*" { size } else { whole.parse().ok()? };
        Some((first.parse::<u64>().ok()?, last.parse::<u64>().ok()?, whole))
    };
    parse() == Some((at, size.saturating_sub(1), size))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_ranges() {
        for (range, expect) in [
            ("bytes 5-9/10", true),
            ("bytes 5-9/*", true),
            ("bytes 4-9/10", false),
            ("bytes 5-8/10", false),
            ("bytes 5-9/11", false),
            ("bytes 5-99999999999999999999/10", false),
            ("", false),
            ("items 5-9/10", false),
        ] {
            assert_eq!(is_continuation(range, 5, 10), expect, "{range}");
        }
    }
}
