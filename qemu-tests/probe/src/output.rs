//! Files and standard streams.

use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::thread::sleep;
use std::time::Duration;

use crate::Outcome;

/// Copies standard input to standard output until its end.
pub fn echo() -> Outcome {
    io::copy(&mut io::stdin().lock(), &mut io::stdout().lock())?;
    Ok(io::stdout().flush()?)
}

/// Lines `line 1` to `line COUNT`: the odd ones to standard output, the even ones to standard error.
pub fn spew(count: u64, per_second: Option<u32>) -> Outcome {
    let pause = per_second.and_then(|rate| Duration::from_secs(1).checked_div(rate));
    for number in 1..=count {
        if number % 2 == 1 {
            writeln!(io::stdout(), "line {number}")?;
        } else {
            writeln!(io::stderr(), "line {number}")?;
        }
        if let Some(pause) = pause {
            sleep(pause);
        }
    }
    Ok(())
}

/// Adds a line that is on the disk when this returns.
pub fn append(path: &str, text: &str) -> Outcome {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    writeln!(file, "{text}")?;
    Ok(file.sync_all()?)
}

/// Writes until there is no room, to the disk, and prints how many bytes there was room for and the errno that ended it.
pub fn fill(path: &str) -> Outcome {
    let mut file = OpenOptions::new().create(true).append(true).open(path)?;
    let (block, mut written) = ([b'x'; 64 << 10], 0);
    let error = loop {
        match file.write(&block) {
            Ok(len) => written += len,
            Err(error) => break error,
        }
    };
    file.sync_all()?;
    Ok(writeln!(io::stdout(), "{written} {}", error.raw_os_error().unwrap_or(0))?)
}

/// Tells a supervisor that waits at the other end of a descriptor.
pub fn say_ready(fd: &str) -> Outcome {
    Ok(OpenOptions::new().write(true).open(format!("/proc/self/fd/{fd}"))?.write_all(b"\n")?)
}

/// Prints a file.
pub fn read(path: &str) -> Outcome {
    let bytes = std::fs::read(path)?;
    Ok(io::stdout().write_all(&bytes)?)
}
