//! What is executed: a unit laid over its image's configuration, by the rules that Docker has made common.
//!
//! Not here: looking up users in the image's files, and HOME, which follows from it; the runtime does both.
//! The image's configuration comes from outside: what could confuse the runtime is refused here.

use std::collections::BTreeSet;

use crate::capability::{ALL, BASELINE};
use crate::path::{is_within, parse_absolute};
use crate::signal::{TERM, parse_signal};
use crate::spec::{Profile, Security, Unit};
use crate::wire::image::ImageConfig;

/// PATH of a container whose image sets none.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// What to execute, and as whom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Launch {
    /// Never empty, and neither is its first word.
    pub argv: Vec<String>,
    /// Name and value, each name once; HOME is not among them unless the unit or the image sets it.
    pub env: Vec<(String, String)>,
    /// Absolute and normalised.
    pub cwd: String,
    /// `uid[:gid]` or `name[:group]`; `0` when nobody says otherwise.
    pub user: String,
    /// Signal number that asks it to end.
    pub stop_signal: i32,
    /// Capabilities it may have, without CAP_, sorted.
    pub capabilities: Vec<String>,
}

/// Variables that come neither from the unit's file nor from its image.
#[derive(Default)]
pub struct Outside {
    /// Of the node: over the image's.
    pub node: Vec<(String, String)>,
    /// Of `env_files`: over those, below the unit's own.
    pub files: Vec<(String, String)>,
    /// Secrets and information: over everything.
    pub over: Vec<(String, String)>,
}

/// Why a unit cannot be launched from its image.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LaunchError {
    /// Neither says what to run.
    #[error(
        "unit '{unit}' has nothing to execute: its image names no command; set process.entrypoint or process.args"
    )]
    NoCommand {
        /// The unit.
        unit: String,
    },
    /// The image's working directory cannot be one.
    #[error("unit '{unit}' cannot work in the folder its image names: {why}; set process.workdir")]
    BadWorkdir {
        /// The unit.
        unit: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// execve(2) takes no NUL inside a word.
    #[error("unit '{unit}' cannot be executed: {what} of its image holds NUL")]
    Nul {
        /// The unit.
        unit: String,
        /// Arguments, environment or user.
        what: &'static str,
    },
}

/// Lays a unit over its image's configuration.
///
/// `process.entrypoint` replaces the image's and clears its command; `process.args` replaces the command.
pub fn launch(unit: &Unit, config: &ImageConfig) -> Result<Launch, LaunchError> {
    launch_with(unit, config, &Outside::default())
}

/// The same with all variables.
pub fn launch_with(unit: &Unit, config: &ImageConfig, outside: &Outside) -> Result<Launch, LaunchError> {
    let name = unit.name.to_string();
    let argv = argv(unit, config);
    if argv.first().is_none_or(String::is_empty) {
        return Err(LaunchError::NoCommand { unit: name });
    }
    let env = environment(unit, config, outside);
    let user =
        unit.process.user.clone().or_else(|| Some(config.user.clone()).filter(|user| !user.is_empty()));
    let user = user.unwrap_or_else(|| "0".to_owned());
    let has_nul = |text: &String| text.contains('\0');
    let nul = [
        ("the command", argv.iter().any(has_nul)),
        ("the environment", env.iter().any(|(name, value)| has_nul(name) || has_nul(value))),
        ("the user", has_nul(&user)),
    ];
    if let Some((what, _)) = nul.into_iter().find(|(_, found)| *found) {
        return Err(LaunchError::Nul { unit: name, what });
    }
    let cwd = workdir(unit, config).map_err(|why| LaunchError::BadWorkdir { unit: name, why })?;
    let stop_signal = unit.stop.signal.or_else(|| parse_signal(&config.stop_signal)).unwrap_or(TERM);
    Ok(Launch { argv, env, cwd, user, stop_signal, capabilities: capabilities(&unit.security) })
}

fn argv(unit: &Unit, config: &ImageConfig) -> Vec<String> {
    let (entrypoint, cmd) = match &unit.process.entrypoint {
        Some(entrypoint) => (entrypoint, &Vec::new()),
        None => (&config.entrypoint, &config.cmd),
    };
    let args = unit.process.args.as_ref().unwrap_or(cmd);
    entrypoint.iter().chain(args).cloned().collect()
}

/// The image's variables in their order, the others over them and after them, BERTH_UNIT always.
fn environment(unit: &Unit, config: &ImageConfig, outside: &Outside) -> Vec<(String, String)> {
    let mut env: Vec<(String, String)> = Vec::new();
    let mut set = |name: &str, value: &str| match env.iter_mut().find(|(known, _)| known == name) {
        Some((_, old)) => value.clone_into(old),
        None => env.push((name.to_owned(), value.to_owned())),
    };
    let unset = &unit.supplies.env_unset;
    if !unset.contains("PATH") {
        set("PATH", DEFAULT_PATH);
    }
    // A word without a name or without '=' sets nothing; docker drops it, too.
    let image =
        config.env.iter().filter_map(|word| word.split_once('=')).filter(|(name, _)| !name.is_empty());
    for (name, value) in image.filter(|(name, _)| !unset.contains(*name)) {
        set(name, value);
    }
    if let Some(zone) = &unit.process.timezone {
        set("TZ", zone.name());
    }
    for (name, value) in &outside.node {
        set(name, value);
    }
    let files = outside.files.iter().map(|(name, value)| (name, value));
    let over = outside.over.iter().map(|(name, value)| (name, value));
    for (name, value) in files.chain(&unit.env).chain(over) {
        set(name, value);
    }
    set("BERTH_UNIT", unit.name.as_str());
    if let Some((_, instance)) = unit.name.parts() {
        set("BERTH_INSTANCE", instance);
    }
    env
}

fn workdir(unit: &Unit, config: &ImageConfig) -> Result<String, &'static str> {
    if let Some(workdir) = &unit.process.workdir {
        return Ok(workdir.clone());
    }
    // Images may write it relative to the root.
    let path = parse_absolute(&format!("/{}", config.working_dir))?;
    // /proc/self/fd/N would lead out of the container (CVE-2024-21626).
    if is_within(&path, "/proc") { Err("nothing can work inside /proc") } else { Ok(path) }
}

/// The capabilities of a profile with `cap_add` and `cap_drop` applied: names without CAP_, sorted.
pub fn capabilities(security: &Security) -> Vec<String> {
    let profile: &[&str] = match security.profile {
        Profile::Restricted => &[],
        Profile::Baseline => &BASELINE,
        Profile::Privileged => &ALL,
    };
    let all_dropped = security.cap_drop.iter().any(|dropped| dropped == "ALL");
    let base = profile.iter().filter(|_| !all_dropped).map(|name| (*name).to_owned());
    let mut kept: BTreeSet<String> = base.filter(|name| !security.cap_drop.contains(name)).collect();
    kept.extend(security.cap_add.iter().cloned());
    kept.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Name, Reference};

    fn unit() -> Unit {
        Unit::new(Name::parse("web").unwrap(), Reference::parse("web").unwrap())
    }

    fn words(text: &str) -> Vec<String> {
        text.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn command_follows_docker() {
        let image = |entrypoint, cmd| ImageConfig {
            entrypoint: words(entrypoint),
            cmd: words(cmd),
            ..Default::default()
        };
        for (entrypoint, cmd, own_entrypoint, own_args, argv) in [
            ("/entry", "serve -v", None, None, "/entry serve -v"),
            ("/entry", "serve -v", None, Some("test"), "/entry test"),
            ("/entry", "serve -v", None, Some(""), "/entry"),
            ("/entry", "serve -v", Some("/own"), None, "/own"),
            ("/entry", "serve -v", Some("/own"), Some("a b"), "/own a b"),
            ("", "serve", None, None, "serve"),
            ("", "serve", None, Some("other"), "other"),
            ("", "", None, None, ""),
            ("/entry", "serve", Some(""), None, ""),
        ] {
            let mut unit = unit();
            unit.process.entrypoint = own_entrypoint.map(words);
            unit.process.args = own_args.map(words);
            let expected = if argv.is_empty() {
                Err(LaunchError::NoCommand { unit: "web".into() })
            } else {
                Ok(words(argv))
            };
            assert_eq!(launch(&unit, &image(entrypoint, cmd)).map(|launch| launch.argv), expected);
        }
    }

    #[test]
    fn environment_is_merged_in_place() {
        let mut unit = unit();
        unit.env =
            [("A", "unit"), ("Z", "new"), ("BERTH_UNIT", "lie")].map(|(k, v)| (k.into(), v.into())).into();
        let env = words("A=image B=x=y B=z NOVALUE =odd PATH=/bin");
        let launch = launch(&unit, &ImageConfig { env, cmd: words("x"), ..Default::default() }).unwrap();
        let shown: Vec<_> = launch.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(shown.join(" "), "PATH=/bin A=unit B=z BERTH_UNIT=web Z=new");
    }

    #[test]
    fn an_instance_is_told_its_name() {
        let unit = Unit::new(Name::parse("web@a").unwrap(), Reference::parse("web").unwrap());
        let launch = launch(&unit, &ImageConfig { cmd: words("x"), ..Default::default() }).unwrap();
        let told = launch.env.iter().filter(|(name, _)| name.starts_with("BERTH_"));
        let told: Vec<_> = told.map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(told, ["BERTH_UNIT=web@a", "BERTH_INSTANCE=a"]);
    }

    #[test]
    fn variables_from_outside_have_their_rank() {
        let pairs = |text: &str| {
            let words = text.split_whitespace().filter_map(|word| word.split_once('='));
            words.map(|(name, value)| (name.to_owned(), value.to_owned())).collect::<Vec<_>>()
        };
        let mut unit = unit();
        unit.env = pairs("A=unit B=unit").into_iter().collect();
        unit.supplies.env_unset = words("GONE PATH B").into_iter().collect();
        let config = ImageConfig {
            env: words("A=image GONE=x F=image B=image"),
            cmd: words("x"),
            ..Default::default()
        };
        let outside = Outside {
            node: pairs("A=node F=node N=node"),
            files: pairs("A=file F=file G=1 G=2"),
            over: pairs("A=secret BERTH_UNIT=lie"),
        };
        let launch = launch_with(&unit, &config, &outside).unwrap();
        let shown: Vec<_> = launch.env.iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(shown.join(" "), "A=secret F=file N=node G=2 B=unit BERTH_UNIT=web");
    }

    #[test]
    fn user_folder_and_signal() {
        for (config, expected) in [
            (ImageConfig::default(), Ok(("0", "/", 15))),
            (
                ImageConfig {
                    user: "www".into(),
                    working_dir: "srv//a/".into(),
                    stop_signal: "SIGQUIT".into(),
                    ..Default::default()
                },
                Ok(("www", "/srv/a", 3)),
            ),
            (ImageConfig { stop_signal: "nonsense".into(), ..Default::default() }, Ok(("0", "/", 15))),
            (ImageConfig { working_dir: "/proc/self/fd/7".into(), ..Default::default() }, Err(())),
            (ImageConfig { working_dir: "/a/../proc".into(), ..Default::default() }, Err(())),
            (ImageConfig { user: "a\0".into(), ..Default::default() }, Err(())),
            (ImageConfig { env: vec!["A=\0".into()], ..Default::default() }, Err(())),
        ] {
            let found = launch(&unit(), &ImageConfig { cmd: words("x"), ..config });
            let found =
                found.as_ref().map(|l| (l.user.as_str(), l.cwd.as_str(), l.stop_signal)).map_err(|_| ());
            assert_eq!(found, expected);
        }
    }

    #[test]
    fn capabilities_of_profiles() {
        let of = |profile, add: &str, drop: &str| {
            let security =
                Security { profile, cap_add: words(add), cap_drop: words(drop), ..Security::default() };
            capabilities(&security).join(" ")
        };
        assert_eq!(of(Profile::Restricted, "", ""), "");
        assert_eq!(of(Profile::Restricted, "NET_RAW", ""), "NET_RAW");
        assert_eq!(of(Profile::Baseline, "NET_RAW", "ALL"), "NET_RAW");
        assert_eq!(
            of(Profile::Baseline, "", "SETUID SETGID SETPCAP SETFCAP SYS_CHROOT KILL FSETID FOWNER"),
            "CHOWN DAC_OVERRIDE NET_BIND_SERVICE"
        );
        assert_eq!(of(Profile::Privileged, "", "").split(' ').count(), ALL.len());
    }
}
