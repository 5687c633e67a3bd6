//! The command line as a whole.

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cmd;
use crate::failure::Failure;
use crate::node::Node;
use crate::transition;

const AFTER_HELP: &str = "Examples:\n  berth check appliance\n  berth status\n  \
    berth --node unix:appliance/.berth/control.sock exec web -- sh\n\n\
    Exit codes: 1 the input is at fault, 2 usage, 3 the node cannot be reached, 4 the action failed.";

/// Containers of an appliance: declared in TOML, run by PID 1
#[derive(Debug, Parser)]
#[command(name = "berth", version, max_term_width = 100, after_help = AFTER_HELP)]
pub struct Cli {
    /// Which node: unix:PATH of its control socket
    #[arg(long, env = "BERTH_NODE", global = true, value_name = "NODE")]
    node: Option<Node>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Find every fault of an appliance directory, offline
    Check(cmd::check::Args),
    /// Make kernel, initrd and factory store of an appliance directory
    #[cfg(feature = "builder")]
    Build(cmd::build::Args),
    /// Boot an appliance directory under QEMU
    #[cfg(feature = "builder")]
    Run(cmd::run::Args),
    /// Pull, import, list, check and export images of a store in a folder
    #[cfg(feature = "builder")]
    Image(cmd::image::Args),
    /// Put units, images and maybe an OS into one signed file
    #[cfg(feature = "builder")]
    Bundle(cmd::bundle::Args),
    /// Make keys that bundles are signed with
    #[cfg(feature = "builder")]
    Keys(cmd::keys::Args),
    /// Put another set of units in force on the node, whole or not at all
    Apply(cmd::apply::Args),
    /// Show what applying a set of units would do
    Diff(cmd::diff::Args),
    /// Show the revisions of the node
    History(cmd::history::Args),
    /// Return to an earlier revision, on trial like a new one
    Rollback(cmd::rollback::Args),
    /// Keep a revision whatever comes
    #[command(after_help = "Example: berth pin 7")]
    Pin(cmd::pin::Args),
    /// Let a revision go when newer ones are good
    #[command(after_help = "Example: berth unpin 7")]
    Unpin(cmd::pin::Args),
    /// Return to the units that came with the OS image
    Reset(cmd::reset::Args),
    /// Show the node and its units
    Status(cmd::status::Args),
    /// Say why a unit is in its state
    Why(cmd::why::Args),
    /// Show what units use, second by second
    Top(cmd::top::Args),
    /// Print all that is known of a unit as JSON
    Inspect(cmd::inspect::Args),
    /// Show what a unit has written
    Logs(cmd::logs::Args),
    /// Show what a container has changed against its image
    DiffFs(cmd::diff_fs::Args),
    /// Copy files out of a container or into it
    Cp(cmd::cp::Args),
    /// Show what happened to the node and its units
    Events(cmd::events::Args),
    /// Run a program in a unit
    Exec(cmd::exec::Args),
    /// List, copy and delete volumes
    Volume(cmd::volume::Args),
    /// Start units
    #[command(after_help = "Example: berth start web db")]
    Start(transition::Args),
    /// Stop units until they are started or the node restarts
    #[command(after_help = "Example: berth stop --timeout 30 db")]
    Stop(transition::Args),
    /// Stop units and start them again
    #[command(after_help = "Example: berth restart web")]
    Restart(transition::Args),
    /// Freeze units until they are resumed or stopped
    #[command(after_help = "Example: berth pause importer")]
    Pause(transition::Args),
    /// Let paused units go on
    #[command(after_help = "Example: berth resume importer")]
    Resume(transition::Args),
    /// Have units read their configuration again
    Reload(cmd::reload::Args),
    /// Set, list and remove secrets of the node
    Secret(cmd::secret::Args),
    /// Stop every unit and reboot the node
    #[command(after_help = "Example: berth --node unix:control.sock reboot")]
    Reboot,
    /// Stop every unit and turn the node off
    #[command(after_help = "Example: berth --node unix:control.sock poweroff")]
    Poweroff,
    /// Say what the number of a diagnostic means
    #[cfg(feature = "builder")]
    Explain(cmd::explain::Args),
    /// Print the JSON Schema of unit files, for editors
    #[cfg(feature = "builder")]
    Schema(cmd::schema::Args),
    /// Print the manual page of unit files, berth.unit(5)
    #[cfg(feature = "builder")]
    #[command(after_help = "Example: berth man | man -l -")]
    Man,
    /// Print a completion script for a shell
    #[cfg(feature = "builder")]
    Completions(cmd::completions::Args),
    /// Print the version
    #[command(after_help = "Example: berth version")]
    Version,
    /// On a node: carry connections from the virtio-serial port to the control socket
    #[command(hide = true)]
    Relay,
}

impl Cli {
    /// Does what was asked.
    pub fn run(self) -> Result<ExitCode, Failure> {
        let node = self.node.unwrap_or_default();
        match &self.command {
            Command::Check(args) => cmd::check::run(args),
            #[cfg(feature = "builder")]
            Command::Build(args) => cmd::build::run(args),
            #[cfg(feature = "builder")]
            Command::Run(args) => cmd::run::run(args),
            #[cfg(feature = "builder")]
            Command::Image(args) => cmd::image::run(args),
            #[cfg(feature = "builder")]
            Command::Bundle(args) => cmd::bundle::run(args),
            #[cfg(feature = "builder")]
            Command::Keys(args) => cmd::keys::run(args),
            Command::Apply(args) => cmd::apply::run(&node, args),
            Command::Diff(args) => cmd::diff::run(&node, args),
            Command::History(args) => cmd::history::run(&node, args),
            Command::Rollback(args) => cmd::rollback::run(&node, args),
            Command::Pin(args) => cmd::pin::run(&node, args, true),
            Command::Unpin(args) => cmd::pin::run(&node, args, false),
            Command::Reset(args) => cmd::reset::run(&node, args),
            Command::Status(args) => cmd::status::run(&node, args),
            Command::Why(args) => cmd::why::run(&node, args),
            Command::Top(args) => cmd::top::run(&node, args),
            Command::Inspect(args) => cmd::inspect::run(&node, args),
            Command::Logs(args) => cmd::logs::run(&node, args),
            Command::DiffFs(args) => cmd::diff_fs::run(&node, args),
            Command::Cp(args) => cmd::cp::run(&node, args),
            Command::Events(args) => cmd::events::run(&node, args),
            Command::Exec(args) => cmd::exec::run(&node, args),
            Command::Volume(args) => cmd::volume::run(&node, args),
            Command::Start(args) => cmd::start::run(&node, args),
            Command::Stop(args) => cmd::stop::run(&node, args),
            Command::Restart(args) => cmd::restart::run(&node, args),
            Command::Pause(args) => cmd::pause::run(&node, args),
            Command::Resume(args) => cmd::resume::run(&node, args),
            Command::Reload(args) => cmd::reload::run(&node, args),
            Command::Secret(args) => cmd::secret::run(&node, args),
            Command::Reboot => cmd::reboot::run(&node),
            Command::Poweroff => cmd::poweroff::run(&node),
            #[cfg(feature = "builder")]
            Command::Explain(args) => cmd::explain::run(args),
            #[cfg(feature = "builder")]
            Command::Schema(args) => cmd::schema::run(args),
            #[cfg(feature = "builder")]
            Command::Man => cmd::man::run(),
            #[cfg(feature = "builder")]
            Command::Completions(args) => cmd::completions::run(args),
            Command::Version => cmd::version::run(),
            Command::Relay => cmd::relay::run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_sound_and_every_command_shows_an_example() {
        let mut command = Cli::command();
        command.clone().debug_assert();
        for sub in command.get_subcommands_mut().filter(|sub| !sub.is_hide_set()) {
            let help = sub.render_long_help().to_string();
            assert!(help.contains("Example"), "{}", sub.get_name());
        }
    }

    #[test]
    fn the_program_of_exec_keeps_its_own_options() {
        let cli = Cli::try_parse_from(["berth", "exec", "-u", "0:0", "web", "--", "ls", "-l", "--", "-x"]);
        let Command::Exec(args) = cli.unwrap().command else { panic!("not exec") };
        assert_eq!(args.command(), ["ls", "-l", "--", "-x"]);
        for bad in [
            &["berth", "exec", "web"][..],
            &["berth", "exec", "Web", "--", "ls"],
            &["berth", "--node", "tcp:x", "status"],
            &["berth", "exec", "-e", "=x", "web", "--", "ls"],
            &["berth", "stop"],
        ] {
            assert!(Cli::try_parse_from(bad).is_err(), "{bad:?}");
        }
    }
}
