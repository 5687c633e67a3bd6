//! What a running program tells about itself, by the protocol of sd_notify(3): lines of `NAME=VALUE` in a datagram.
//!
//! A datagram is hostile: bounded in length and number of lines by whoever receives it, and here each of its words
//! changes no more than the run that said it. Unknown words are left out, as systemd does; so are `MAINPID` (the first
//! process of the container is its main process) and `BARRIER` (whoever receives closes what came beside).

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::health::clip;
use crate::observed::{Moment, Record};
use crate::spec::{Ready, Unit};
use crate::task::{Doing, Reloaded, Task};

/// Where a container finds the socket.
pub const SOCKET: &str = "/run/notify";
/// The longest datagram that is read, bytes, as in systemd.
pub const DATAGRAM_MAX: usize = 4096;
/// All its words together may put the end of a start or of a stop off by this much; a single one that of a run.
pub(crate) const EXTENSION_MAX: Duration = Duration::from_secs(3600);
/// What a program may set its own watchdog to.
const WATCHDOG: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(3600));

/// One word of a datagram.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// `READY=1`: it has come up, or has reloaded.
    Ready,
    /// `RELOADING=1`: it reads its configuration again.
    Reloading,
    /// `STOPPING=1`: it is about to end.
    Stopping,
    /// `STATUS=...`: one line for people.
    Status(String),
    /// `WATCHDOG=1`: it lives.
    Feed,
    /// `WATCHDOG=trigger`: it has found out itself that it does not work.
    Trigger,
    /// `WATCHDOG_USEC=...`: how often it will say that it lives from now on.
    Watchdog(Duration),
    /// `EXTEND_TIMEOUT_USEC=...`: the deadline of its start, end or run is this far away at least.
    Extend(Duration),
}

/// What a run has said of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Talk {
    /// Its own words for what it does.
    pub status: Option<String>,
    /// It reads its configuration again.
    pub reloading: bool,
    /// It is about to end.
    pub stopping: bool,
    /// When it last said that it lives; when it became ready, before it has said so.
    pub fed: Option<Moment>,
    /// What it set its watchdog to, in place of what its file says.
    pub watchdog: Option<Duration>,
    /// It said itself that it does not work.
    pub failed: bool,
    /// No deadline of its start or run is before this.
    pub extended: Option<Moment>,
    /// The deadline of its stop is put off no further than this.
    #[serde(default)]
    pub stop_latest: Option<Moment>,
}

/// The words of a datagram in their order.
pub fn parse(datagram: &[u8]) -> Vec<Said> {
    let text = std::str::from_utf8(datagram).unwrap_or_default();
    text.lines().filter_map(parse_line).collect()
}

fn parse_line(line: &str) -> Option<Said> {
    let micros = |text: &str| text.parse().ok().map(Duration::from_micros);
    Some(match line.split_once('=')? {
        ("READY", "1") => Said::Ready,
        ("RELOADING", "1") => Said::Reloading,
        ("STOPPING", "1") => Said::Stopping,
        ("STATUS", text) => Said::Status(clip(&plain(text)).to_owned()),
        ("WATCHDOG", "1") => Said::Feed,
        ("WATCHDOG", "trigger") => Said::Trigger,
        ("WATCHDOG_USEC", text) => Said::Watchdog(micros(text)?),
        ("EXTEND_TIMEOUT_USEC", text) => Said::Extend(micros(text)?),
        _ => return None,
    })
}

/// Nothing in it moves a cursor.
fn plain(text: &str) -> String {
    text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Takes one word of a running unit in; `false` when it changes nothing.
pub fn hear(unit: &Unit, record: &mut Record, said: Said, now: Moment) -> bool {
    let before = (record.run.clone(), record.health.said_ready);
    let Some(run) = &mut record.run else {
        return false;
    };
    match said {
        Said::Ready => {
            let awaited = |doing: &Doing| doing.task == Task::Reload && doing.pid.is_none();
            if run.talk.reloading && run.doing.as_ref().is_some_and(awaited) {
                run.doing = None;
                run.reloaded = Some(Reloaded { at: now, failed: None });
            }
            run.talk.reloading = false;
            record.health.said_ready |= unit.ready == Ready::Notify;
        }
        Said::Reloading => run.talk.reloading = true,
        Said::Stopping => run.talk.stopping = true,
        Said::Status(text) => run.talk.status = Some(text).filter(|text| !text.is_empty()),
        Said::Feed => run.talk.fed = Some(now),
        Said::Trigger => run.talk.failed = true,
        Said::Watchdog(time) => run.talk.watchdog = Some(time.clamp(WATCHDOG.0, WATCHDOG.1)),
        Said::Extend(time) => {
            let end = now.after(time.min(EXTENSION_MAX));
            if let Some(deadline) = &mut run.stop_deadline {
                let latest = *run.talk.stop_latest.get_or_insert(deadline.after(EXTENSION_MAX));
                *deadline = end.min(latest).max(*deadline);
            }
            run.talk.extended = run.talk.extended.max(Some(end));
        }
    }
    before != (record.run.clone(), record.health.said_ready)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::Run;
    use crate::{Name, Reference};

    fn unit(ready: Ready) -> Unit {
        let unit = Unit::new(Name::parse("web").unwrap(), Reference::parse("probe").unwrap());
        Unit { ready, ..unit }
    }

    fn running() -> Record {
        Record { run: Some(Run::default()), ..Record::default() }
    }

    #[test]
    fn words_are_read_and_the_rest_is_left_out() {
        let micros = Duration::from_micros;
        let rows: [(&[u8], &[Said]); 10] = [
            (b"READY=1", &[Said::Ready]),
            (b"READY=1\nSTATUS=up\n", &[Said::Ready, Said::Status("up".into())]),
            (b"RELOADING=1\nMONOTONIC_USEC=12", &[Said::Reloading]),
            (b"STOPPING=1\nWATCHDOG=1\nWATCHDOG=trigger", &[Said::Stopping, Said::Feed, Said::Trigger]),
            (b"WATCHDOG_USEC=20000000", &[Said::Watchdog(micros(20_000_000))]),
            (b"EXTEND_TIMEOUT_USEC=5", &[Said::Extend(micros(5))]),
            (b"STATUS=\x1b[2Jgone", &[Said::Status(" [2Jgone".into())]),
            (b"MAINPID=7\nBARRIER=1\nFDSTORE=1\nX_Y=1\nREADY=2\nREADY\n=1\n\n", &[]),
            (b"WATCHDOG_USEC=-1\nEXTEND_TIMEOUT_USEC=99999999999999999999\nEXTEND_TIMEOUT_USEC=", &[]),
            (b"READY=1\xff", &[]),
        ];
        for (datagram, expect) in rows {
            assert_eq!(parse(datagram), expect, "{:?}", String::from_utf8_lossy(datagram));
        }
        let long = format!("STATUS={}", "x".repeat(DATAGRAM_MAX));
        assert_eq!(parse(long.as_bytes()), [Said::Status("x".repeat(crate::health::TEXT_MAX))]);
    }

    #[test]
    fn ready_counts_where_it_is_waited_for() {
        for (ready, counts) in [(Ready::Notify, true), (Ready::Exec, false), (Ready::Fd(3), false)] {
            let mut record = running();
            assert_eq!(hear(&unit(ready), &mut record, Said::Ready, Moment(1)), counts);
            assert_eq!(record.health.said_ready, counts);
        }
        let mut record = Record::default();
        assert!(!hear(&unit(Ready::Notify), &mut record, Said::Ready, Moment(1)));
        assert!(!record.health.said_ready, "nothing runs");
    }

    #[test]
    fn what_is_said_stays_with_the_run() {
        let (unit, mut record) = (unit(Ready::Notify), running());
        let mut tell = |said| hear(&unit, &mut record, said, Moment(7));
        assert!(tell(Said::Reloading) && !tell(Said::Reloading) && tell(Said::Stopping) && tell(Said::Feed));
        assert!(tell(Said::Status("busy".into())) && !tell(Said::Status("busy".into())));
        assert!(tell(Said::Ready) && tell(Said::Trigger) && tell(Said::Watchdog(Duration::ZERO)));
        let talk = record.run.unwrap().talk;
        let expect = Talk {
            status: Some("busy".into()),
            stopping: true,
            fed: Some(Moment(7)),
            watchdog: Some(Duration::from_secs(1)),
            failed: true,
            ..Talk::default()
        };
        assert_eq!(talk, expect);
    }

    #[test]
    fn a_reload_is_over_when_it_was_begun_and_is_ready_again() {
        let (unit, mut record) = (unit(Ready::Notify), running());
        let doing = Doing { task: Task::Reload, pid: None, deadline: Moment(9) };
        record.run.as_mut().unwrap().doing = Some(doing);
        for (said, over) in [(Said::Ready, false), (Said::Reloading, false), (Said::Ready, true)] {
            hear(&unit, &mut record, said, Moment(5));
            let run = record.run.as_ref().unwrap();
            assert_eq!((run.doing.is_none(), run.reloaded.is_some()), (over, over));
        }
        assert_eq!(record.run.unwrap().reloaded, Some(Reloaded { at: Moment(5), failed: None }));
    }

    #[test]
    fn a_deadline_is_put_off_and_never_brought_forward() {
        let (unit, mut record) = (unit(Ready::Notify), running());
        record.run.as_mut().unwrap().stop_deadline = Some(Moment(5_000_000));
        for (micros, expect) in [(9_000_000, 10_000_000), (1_000_000, 10_000_000), (u64::MAX, 3_601_000_000)]
        {
            hear(&unit, &mut record, Said::Extend(Duration::from_micros(micros)), Moment(1_000_000));
            let run = record.run.as_ref().unwrap();
            assert_eq!((run.stop_deadline, run.talk.extended), (Some(Moment(expect)), Some(Moment(expect))));
        }
    }

    #[test]
    fn a_stop_is_not_put_off_for_ever() {
        let (unit, mut record) = (unit(Ready::Notify), running());
        let first = Moment(5_000_000);
        record.run.as_mut().unwrap().stop_deadline = Some(first);
        let mut now = first;
        for _ in 0..10 {
            hear(&unit, &mut record, Said::Extend(EXTENSION_MAX / 2), now);
            now = now.after(EXTENSION_MAX / 4);
        }
        assert_eq!(record.run.unwrap().stop_deadline, Some(first.after(EXTENSION_MAX)));
    }

    proptest::proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..600)) {
            let mut record = running();
            for said in parse(&bytes) {
                hear(&unit(Ready::Notify), &mut record, said, Moment(3));
            }
        }
    }
}
