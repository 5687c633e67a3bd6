//! `berth keys`: makes the pair of keys that bundles are signed and verified with.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use berth_image::signature::minisign::SecretKey;
use rustix::rand::{GetRandomFlags, getrandom};

use crate::failure::{Cannot, Failure};
use crate::output::print;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "Example: berth keys new shop.key")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Make a secret key, without a password, and beside it FILE.pub with the public one
    New {
        /// Where to; what is there is not replaced
        file: PathBuf,
    },
}

/// Does it.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let What::New { file } = &args.what;
    let secret =
        random().map_err(|error| Failure::action(Cannot::at("read", Path::new("random bytes"))(error)))?;
    let secret = SecretKey::new(&secret).map_err(Failure::action)?;
    let mut public = file.clone().into_os_string();
    public.push(".pub");
    let public = PathBuf::from(public);
    write(file, 0o600, &secret.file())?;
    if let Err(failure) = write(&public, 0o644, &secret.public().file()) {
        // A secret key whose public half nobody has is of no use.
        fs::remove_file(file).unwrap_or_default();
        return Err(failure);
    }
    let id = secret.public().id();
    print(&format!("made     {}  key {id}, keep it secret\n", file.display()))?;
    print(&format!("made     {}  for those who verify\n", public.display()))?;
    Ok(ExitCode::SUCCESS)
}

fn random() -> io::Result<[u8; 40]> {
    let mut bytes = [0; 40];
    // Requests of up to 256 bytes are answered whole (getrandom(2)).
    match getrandom(&mut bytes, GetRandomFlags::empty())? {
        40 => Ok(bytes),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}

fn write(path: &Path, mode: u32, text: &str) -> Result<(), Failure> {
    let cannot = |error| Failure::action(Cannot::at("make", path)(error));
    let mut options = OpenOptions::new();
    let mut file: File = options.write(true).create_new(true).mode(mode).open(path).map_err(cannot)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(cannot)
}
