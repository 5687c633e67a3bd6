//! Signal names and numbers: those of x86-64 and arm64, which agree (signal(7)).

/// Number and name without SIG, in order of the number.
const SIGNALS: [(i32, &str); 31] = [
    (1, "HUP"),
    (2, "INT"),
    (3, "QUIT"),
    (4, "ILL"),
    (5, "TRAP"),
    (6, "ABRT"),
    (7, "BUS"),
    (8, "FPE"),
    (9, "KILL"),
    (10, "USR1"),
    (11, "SEGV"),
    (12, "USR2"),
    (13, "PIPE"),
    (14, "ALRM"),
    (15, "TERM"),
    (16, "STKFLT"),
    (17, "CHLD"),
    (18, "CONT"),
    (19, "STOP"),
    (20, "TSTP"),
    (21, "TTIN"),
    (22, "TTOU"),
    (23, "URG"),
    (24, "XCPU"),
    (25, "XFSZ"),
    (26, "VTALRM"),
    (27, "PROF"),
    (28, "WINCH"),
    (29, "IO"),
    (30, "PWR"),
    (31, "SYS"),
];

/// SIGRTMIN as programs see it: glibc keeps 32 and 33 for itself.
const RTMIN: i32 = 34;
/// SIGRTMAX.
const RTMAX: i32 = 64;
/// SIGTERM.
pub const TERM: i32 = 15;
/// SIGKILL.
pub const KILL: i32 = 9;

/// Number of `SIGTERM`, `TERM`, `15`, `SIGRTMIN+3`, `RTMAX-1`; `None` for anything else.
pub fn parse_signal(text: &str) -> Option<i32> {
    if let Ok(number) = text.parse::<u8>() {
        return Some(i32::from(number)).filter(|number| (1..=RTMAX).contains(number));
    }
    let name = text.strip_prefix("SIG").unwrap_or(text);
    let real_time = |rest: &str, sign: char| match rest {
        "" => Some(0),
        _ => rest.strip_prefix(sign)?.parse::<u8>().ok().map(i32::from),
    };
    if let Some(rest) = name.strip_prefix("RTMIN") {
        return real_time(rest, '+').map(|n| RTMIN + n).filter(|n| *n <= RTMAX);
    }
    if let Some(rest) = name.strip_prefix("RTMAX") {
        return real_time(rest, '-').map(|n| RTMAX - n).filter(|n| *n >= RTMIN);
    }
    SIGNALS.iter().find(|(_, known)| *known == name).map(|(number, _)| *number)
}

/// `SIGTERM` of 15; `signal 99` of a number that has no name.
pub fn signal_name(number: i32) -> String {
    match SIGNALS.iter().find(|(known, _)| *known == number) {
        Some((_, name)) => format!("SIG{name}"),
        None if number == RTMIN => "SIGRTMIN".to_owned(),
        None if (RTMIN..=RTMAX).contains(&number) => format!("SIGRTMIN+{}", number - RTMIN),
        None => format!("signal {number}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers() {
        for (text, number) in [
            ("SIGTERM", Some(15)),
            ("TERM", Some(15)),
            ("15", Some(15)),
            ("SIGRTMIN", Some(34)),
            ("SIGRTMIN+3", Some(37)),
            ("SIGRTMAX-1", Some(63)),
            ("SIGRTMIN+30", Some(64)),
            ("SIGRTMIN+31", None),
            ("SIGRTMIN-1", None),
            ("sigterm", None),
            ("SIGSIGTERM", None),
            ("0", None),
            ("65", None),
            ("-1", None),
            ("", None),
            ("SIG", None),
        ] {
            assert_eq!(parse_signal(text), number, "{text}");
        }
    }

    #[test]
    fn every_number_comes_back() {
        for number in (1..=31).chain(RTMIN..=RTMAX) {
            assert_eq!(parse_signal(&signal_name(number)), Some(number));
        }
    }
}
