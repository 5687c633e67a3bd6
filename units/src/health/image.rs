//! HEALTHCHECK of an image, as a check of ours: <https://docs.docker.com/reference/dockerfile/#healthcheck>.

use std::time::Duration;

use crate::spec::{Check, Declared, Probe, Unit};
use crate::wire::image::{Healthcheck, ImageConfig};

/// Its name among the checks of a unit.
pub const IMAGE: &str = "image";

/// What docker does where an image does not say.
const INTERVAL: Duration = Duration::from_secs(30);
const START_INTERVAL: Duration = Duration::from_secs(5);
const RETRIES: u32 = 3;

/// What an image says is brought within these.
const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_secs(86_400);

/// Gives units without a check of their own the one of their image.
pub fn add_of_images<'i>(declared: &mut Declared, image: impl Fn(&Unit) -> Option<&'i ImageConfig>) {
    for unit in declared.units.values_mut() {
        let wants = unit.image_healthcheck && unit.health.is_empty() && !unit.kind.ends();
        let said = image(unit).filter(|_| wants).and_then(|config| config.healthcheck.as_ref());
        unit.health.extend(said.and_then(check).map(|check| (IMAGE.to_owned(), check)));
    }
}

/// A live check; none where the image says none, or nothing that could be run.
fn check(said: &Healthcheck) -> Option<Check> {
    let words: Vec<&str> = said.test.iter().flatten().map(String::as_str).collect();
    let argv = match words.as_slice() {
        ["CMD", argv @ ..] => argv.to_vec(),
        ["CMD-SHELL", line] => vec!["/bin/sh", "-c", line],
        _ => return None,
    };
    // The image is hostile: execve(2) takes no NUL, and a program has a name.
    if argv.first().is_none_or(|program| program.is_empty()) || argv.iter().any(|word| word.contains('\0')) {
        return None;
    }
    let interval = time(said.interval).unwrap_or(INTERVAL);
    Some(Check {
        probe: Probe::Exec(argv.into_iter().map(str::to_owned).collect()),
        interval,
        timeout: time(said.timeout).unwrap_or(INTERVAL),
        failures: said
            .retries
            .and_then(|retries| retries.try_into().ok())
            .filter(|n| *n > 0)
            .unwrap_or(RETRIES),
        start_period: time(said.start_period).unwrap_or_default(),
        start_interval: time(said.start_interval).unwrap_or(START_INTERVAL),
        ..Check::default()
    })
}

/// Nanoseconds; zero is nothing said.
fn time(nanos: Option<i64>) -> Option<Duration> {
    let nanos = nanos.and_then(|nanos| u64::try_from(nanos).ok()).filter(|nanos| *nanos > 0)?;
    Some(Duration::from_nanos(nanos).clamp(SHORTEST, LONGEST))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::{OnFailure, Role, Type};
    use crate::{Name, Reference};

    fn words(words: &[&str]) -> Healthcheck {
        let test = Some(words.iter().map(|word| (*word).to_owned()).collect());
        Healthcheck { test, ..Healthcheck::default() }
    }

    #[test]
    fn it_becomes_a_live_check_as_docker_has_it() {
        let said: Healthcheck = serde_json::from_str(
            r#"{"Test":["CMD-SHELL","nc -z 127.0.0.1 80"],"Interval":10000000000,"Timeout":500,"Retries":2,
                "StartPeriod":60000000000,"Other":1}"#,
        )
        .unwrap();
        let found = check(&said).unwrap();
        let argv = ["/bin/sh", "-c", "nc -z 127.0.0.1 80"].map(str::to_owned).to_vec();
        assert_eq!(found.probe, Probe::Exec(argv));
        assert_eq!((found.role, found.on_failure, found.failures), (Role::Live, OnFailure::Restart, 2));
        let seconds = [found.interval, found.timeout, found.start_period, found.start_interval];
        assert_eq!(seconds.map(|time| time.as_secs()), [10, 1, 60, 5]);
        let plain = check(&words(&["CMD", "/check"])).unwrap();
        assert_eq!((plain.interval, plain.timeout, plain.failures), (INTERVAL, INTERVAL, RETRIES));
    }

    #[test]
    fn what_says_nothing_or_cannot_be_run_is_none() {
        for said in
            [&[][..], &["NONE"], &["CMD"], &["CMD", ""], &["CMD", "/a", "b\0"], &["CMD-SHELL"], &["x"]]
        {
            assert_eq!(check(&words(said)), None, "{said:?}");
        }
        assert_eq!(check(&Healthcheck::default()), None);
        let odd = Healthcheck { interval: Some(-1), retries: Some(-9), ..words(&["CMD", "/c"]) };
        let found = check(&odd).unwrap();
        assert_eq!((found.interval, found.failures), (INTERVAL, RETRIES));
    }

    #[test]
    fn only_who_has_none_and_wants_it_gets_it() {
        let config = ImageConfig { healthcheck: Some(words(&["CMD", "/c"])), ..ImageConfig::default() };
        let unit = Unit::new(Name::parse("web").unwrap(), Reference::parse("web").unwrap());
        let own = Unit { health: [("up".to_owned(), Check::default())].into(), ..unit.clone() };
        for (unit, expect) in [
            (unit.clone(), vec![IMAGE]),
            (Unit { image_healthcheck: false, ..unit.clone() }, vec![]),
            (Unit { kind: Type::Job, ..unit.clone() }, vec![]),
            (own, vec!["up"]),
        ] {
            let mut declared = Declared { units: [(unit.name.clone(), unit)].into(), ..Declared::default() };
            add_of_images(&mut declared, |_| Some(&config));
            let names: Vec<_> = declared.units["web"].health.keys().map(String::as_str).collect();
            assert_eq!(names, expect);
        }
    }
}
