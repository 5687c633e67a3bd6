//! A static guest program: the only file of its image, so that what a container gives is all there is.
//!
//! One sub-command, one thing: it reports what a container sees, or behaves badly in one particular way. Scenarios
//! start it as the unit's process or by `berth exec`.

mod harm;
mod load;
mod notify;
mod output;
mod report;
mod talk;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;

use rustix::fs::{CWD, RenameFlags, renameat_with};

/// What a sub-command leaves.
type Outcome = Result<(), Box<dyn Error>>;

const USAGE: &str = "usage: probe COMMAND
  report                    what this process sees, as JSON
  status FIELD              a field of /proc/self/status
  pss PROC PREFIX           KiB and name of PID 1 and of processes named so
  wake-ups PROC PREFIX SECONDS  how often each of those gave up the processor in that time
  sleep [SECONDS]           wait, reaping orphans
  exit CODE                 end with a code
  abort                     end with SIGABRT
  echo                      standard input to standard output
  spew COUNT [PER_SECOND]   numbered lines, in turn to standard output and standard error
  spew-on COUNT PER_SECOND  the same, then sleep
  exit-after SECONDS CODE   wait, then end with a code
  write PATH TEXT           replace a file's content
  make-dir PATH             make a directory
  rename FROM TO            give a file or a directory another name
  exchange ONE OTHER        give two each other's name
  remove PATH               remove a file
  append PATH TEXT          add a line and fsync
  fill PATH                 write until that fails: bytes written, errno
  space PATH                bytes of its file system, bytes free
  read PATH                 print a file
  mode PATH                 its mode, owner and group
  list PATH                 print a directory's names
  reloader                  say READY=1; of each SIGHUP RELOADING=1, then READY=1
  serve PORT                echo TCP, a line printed for each connection
  serve-passed              the same on sockets that it was started with
  http PORT                 /is/NAME is found while /tmp/NAME is there, /not/NAME while it is not
  connect HOST PORT [TEXT]  send a line, print the answer
  resolve NAME              print a name's addresses
  ready-fd FD               write a line to a descriptor, then sleep
  notify WORD...            say words on /run/notify, wait until they were heard
  notify-at PATH WORD...    the same on another socket
  feed MILLIS               say READY=1, then WATCHDOG=1 so often, until /tmp/hush is there
  eat-memory MIB            take so much memory, then sleep
  fork-bomb                 as many processes as can be
  burn-cpu SECONDS THREADS  print how much processor time could be had
  delete-link NAME          take a network interface away
  shift-clock SECONDS       set the clock on the wall, forward or back
  delete-table NAME         take an nftables table of family inet away
  stray UNIT                leave the unit's cgroup, remove it while the supervisor is frozen, then sleep
  unseen PATH TEXT          replace a file's content while the supervisor is frozen, then kill it
  orphans COUNT             so many processes whose parent is gone";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("probe: {}: {error}", words.join(" "));
            ExitCode::FAILURE
        }
    }
}

/// The exit code of a sub-command.
fn run(words: &[&str]) -> Result<u8, Box<dyn Error>> {
    match *words {
        ["exit", code] => return Ok(code.parse()?),
        ["abort"] => std::process::abort(),
        ["report"] => report::print(),
        ["status", field] => report::print_status(field),
        ["pss", proc, prefix] => report::print_pss(proc, prefix),
        ["wake-ups", proc, prefix, seconds] => report::print_wake_ups(proc, prefix, seconds.parse()?),
        ["list", path] => report::list(path),
        ["sleep"] => load::sleep(),
        ["sleep", seconds] => load::sleep_for(seconds.parse()?),
        ["echo"] => output::echo(),
        ["spew", count] => output::spew(count.parse()?, None),
        ["spew", count, rate] => output::spew(count.parse()?, Some(rate.parse()?)),
        ["spew-on", count, rate] => {
            output::spew(count.parse()?, Some(rate.parse()?)).and_then(|()| load::sleep())
        }
        ["exit-after", seconds, code] => {
            load::sleep_for(seconds.parse()?)?;
            return Ok(code.parse()?);
        }
        ["write", path, text] => Ok(std::fs::write(path, text)?),
        ["make-dir", path] => Ok(std::fs::create_dir_all(path)?),
        ["rename", from, to] => Ok(std::fs::rename(from, to)?),
        ["exchange", one, other] => Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?),
        ["remove", path] => Ok(std::fs::remove_file(path)?),
        ["append", path, text] => output::append(path, text),
        ["fill", path] => output::fill(path),
        ["space", path] => report::print_space(path),
        ["mode", path] => report::print_mode(path),
        ["read", path] => output::read(path),
        ["ready-fd", fd] => output::say_ready(fd).and_then(|()| load::sleep()),
        ["notify", ref said @ ..] => notify::say(notify::SOCKET, said),
        ["notify-at", path, ref said @ ..] => notify::say(path, said),
        ["feed", millis] => notify::feed(millis.parse()?),
        ["reloader"] => notify::reloader(),
        ["http", port] => talk::http(port.parse()?),
        ["grpc", port] => talk::grpc(port.parse()?),
        ["serve", port] => talk::serve(port.parse()?),
        ["serve-passed"] => talk::serve_passed(),
        ["connect", host, port] => talk::connect(host, port.parse()?, "hello"),
        ["connect", host, port, text] => talk::connect(host, port.parse()?, text),
        ["resolve", name] => talk::resolve(name),
        ["delete-link", name] => harm::delete_link(name),
        ["shift-clock", seconds] => harm::shift_clock(seconds.parse()?),
        ["delete-table", name] => harm::delete_table(name),
        ["eat-memory", mib] => load::eat_memory(mib.parse()?),
        ["fork-bomb"] => load::fork_bomb(),
        ["burn-cpu", seconds, threads] => load::burn_cpu(seconds.parse()?, threads.parse()?),
        ["stray", unit] => load::stray(Path::new("/cgroup"), unit).and_then(|()| load::sleep()),
        ["unseen", path, text] => load::unseen(Path::new("/cgroup"), path, text),
        ["orphans", count] => load::orphans(count.parse()?),
        ["orphan-parent", count] => load::orphan_parent(count.parse()?),
        _ => {
            eprintln!("{USAGE}");
            return Ok(2);
        }
    }?;
    Ok(0)
}
