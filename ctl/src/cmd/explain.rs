//! `berth explain`: what the number of a diagnostic means.

use std::process::ExitCode;

use berth_units::codes::{EXPLANATIONS, Explanation};
use berth_units::nearest::nearest;

use crate::failure::{Failure, Kind};
use crate::output::print;

/// Arguments.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:\n  berth explain BU0204\n  berth explain")]
pub struct Args {
    /// BU0204, or just 204; all of them without
    code: Option<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("there is no diagnostic '{0}'")]
struct NoSuchCode(String);

/// Prints one explanation, or a line for each.
pub fn run(args: &Args) -> Result<ExitCode, Failure> {
    let Some(code) = &args.code else {
        let lines: String = EXPLANATIONS.iter().map(|row| format!("{}  {}\n", row.code, row.title)).collect();
        print(&lines)?;
        return Ok(ExitCode::SUCCESS);
    };
    let row = find(code).ok_or_else(|| no_such_code(code))?;
    print(&format!("{}: {}\n\n{}\n", row.code, row.title, row.text))?;
    Ok(ExitCode::SUCCESS)
}

/// `BU0204`, `bu204`, `204`.
fn find(text: &str) -> Option<&'static Explanation> {
    let upper = text.to_ascii_uppercase();
    let number: u16 = upper.strip_prefix("BU").unwrap_or(&upper).parse().ok()?;
    EXPLANATIONS.iter().find(|row| row.code.0 == number)
}

fn no_such_code(text: &str) -> Failure {
    let known: Vec<String> = EXPLANATIONS.iter().map(|row| row.code.to_string()).collect();
    let failure = Failure::new(Kind::Input, NoSuchCode(text.to_owned()));
    match nearest(&text.to_ascii_uppercase(), known.iter().map(String::as_str)) {
        Some(near) => failure.hint(format!("the nearest is {near}; `berth explain` lists all")),
        None => failure.hint("`berth explain` lists all"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_found_however_they_are_written() {
        for text in ["BU0204", "bu0204", "204", "BU204"] {
            assert_eq!(find(text).map(|row| row.code.0), Some(204), "{text}");
        }
        for text in ["", "BU", "BU9999", "E0204", "-1"] {
            assert!(find(text).is_none(), "{text}");
        }
        assert!(no_such_code("BU0299").text().contains("berth explain"));
    }
}
