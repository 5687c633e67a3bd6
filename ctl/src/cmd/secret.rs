//! `berth secret`: gives the node values that lie in its RAM alone, lists them and takes them away. Nothing prints one.

use std::io::Read;
use std::process::ExitCode;

use berth_units::wire::control::{Call, SECRET_MAX, SecretStatus, Secrets};
use berth_units::{Name, Private};

use crate::client;
use crate::failure::{Failure, Kind};
use crate::node::Node;
use crate::output::{Look, print, print_json};
use crate::table::{Column, draw};

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  berth secret set db-password < password.txt\n  berth secret ls")]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Set a secret to what comes on standard input; it lies in RAM until the node ends
    Set {
        /// Which
        #[arg(value_parser = Name::parse)]
        name: Name,
    },
    /// List secrets, whether they are there and who has them
    Ls {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Forget a secret; what runs with it goes on
    Rm {
        /// Which
        #[arg(value_parser = Name::parse)]
        name: Name,
    },
}

#[derive(Debug, thiserror::Error)]
enum SecretError {
    #[error("cannot read the secret from standard input")]
    Read(#[source] std::io::Error),
    #[error("a secret has at most {SECRET_MAX} bytes")]
    TooLong,
}

/// Does it.
pub fn run(node: &Node, args: &Args) -> Result<ExitCode, Failure> {
    match &args.what {
        What::Set { name } => {
            let value = read(std::io::stdin().lock()).map_err(|error| Failure::new(Kind::Input, error))?;
            client::tell(node, &Call::SetSecret { name: name.clone(), value })?;
        }
        What::Rm { name } => client::tell(node, &Call::RemoveSecret { name: name.clone() })?,
        What::Ls { json } => {
            let Secrets { secrets } = client::call(node, &Call::Secrets {})?;
            match json {
                true => print_json(&secrets)?,
                false => print(&table(&secrets))?,
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn table(secrets: &[SecretStatus]) -> String {
    let column = |heading, gives_way| Column { heading, gives_way };
    let columns = [column("SECRET", 0), column("SOURCE", 2), column("PRESENT", 0), column("UNITS", 1)];
    let row = |secret: &SecretStatus| {
        let units: Vec<_> = secret.units.iter().map(Name::as_str).collect();
        let present = if secret.present { "yes" } else { "no" };
        let cells = [secret.name.to_string(), secret.source.clone(), present.to_owned(), units.join(" ")];
        cells.map(Into::into).to_vec()
    };
    draw(&columns, &secrets.iter().map(row).collect::<Vec<_>>(), Look::of_stdout())
}

/// As it comes, every byte of it.
fn read(from: impl Read) -> Result<Private, SecretError> {
    let mut bytes = Vec::with_capacity(SECRET_MAX + 1);
    let most = u64::try_from(SECRET_MAX).unwrap_or(u64::MAX);
    from.take(most + 1).read_to_end(&mut bytes).map_err(SecretError::Read)?;
    if bytes.len() > SECRET_MAX { Err(SecretError::TooLong) } else { Ok(bytes.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_come_as_they_are_up_to_their_bound() {
        let most = vec![b'x'; SECRET_MAX];
        assert_eq!(read(&most[..]).unwrap().bytes(), most);
        assert!(matches!(read(&[&most[..], b"x"].concat()[..]), Err(SecretError::TooLong)));
        assert_eq!(read(&b"a\n"[..]).unwrap().bytes(), b"a\n");
    }
}
