//! All scenarios. The order is the order of a run: neighbours share a node where they can.

mod changes;
mod commands;
mod cp;
mod crashes;
mod drift;
mod example;
mod faults;
mod firmware;
mod forty;
mod graph;
mod health;
mod isolation;
mod jobs;
mod limits;
mod live;
mod notify;
mod pods;
mod power;
mod resources;
mod revisions;
mod secrets;
mod seeing;
mod service;
mod storage;
mod templates;
mod volumes;
mod words;

use berth_qemu_tests::Outcome;

use crate::lab::Lab;

/// One thing that is shown on a running node.
pub struct Scenario {
    /// Name of the function.
    pub name: &'static str,
    /// What it shows.
    pub shows: &'static str,
    /// The function.
    pub run: fn(&mut Lab) -> Outcome,
}

macro_rules! scenarios {
    ($($module:ident::$name:ident: $shows:literal;)*) => {
        /// Every scenario.
        pub const SCENARIOS: &[Scenario] =
            &[$(Scenario { name: stringify!($name), shows: $shows, run: $module::$name }),*];
    };
}

scenarios! {
    faults::five_faults_are_five_diagnostics: "berth check names five faults and exits 1";
    faults::broken_images_are_refused: "a corrupt blob, a climbing layer and a short archive are named";
    example::three_programs_answer: "nginx, redis and mosquitto answer on ports of this machine";
    example::status_shows_three_ready: "image, pid, memory, restarts and address of each";
    example::power_button_ends_cleanly: "Ctrl-C of berth run stops units and ends with 0";
    example::data_outlives_power_off: "what redis was told is there after the next boot";
    example::hello_runs_in_128_mib: "the smallest example answers with 128 MB";
    example::exec_gives_a_terminal: "an interactive shell in a container";
    isolation::container_sees_only_itself: "processes, mounts, network, host name, rights";
    isolation::container_cannot_touch_the_node: "no file of the node can be read or written";
    isolation::names_of_units_resolve: "a unit finds another by its name";
    commands::exec_passes_streams_and_exit_code: "stdin, stdout, stderr, exit code, faults";
    commands::logs_outlive_the_container: "a thousand lines of a container that is gone";
    commands::units_stop_start_and_restart: "by hand, with a new process each time";
    commands::readiness_is_waited_for: "a line on a descriptor; without it the start fails";
    health::ready_check_gates_whoever_depends: "over http in an image without a shell; ready and not ready";
    health::failed_live_check_restarts: "reason unhealthy, with what the check found";
    notify::units_and_supervisor_talk: "sd_notify, watchdog; over a new supervisor";
    pods::units_share_a_network_and_are_prepared_and_drained: "pods, unit:NAME, hooks in their order, stop.delay, wait_for.tcp, ready by a line, groups of its own; over new supervisors";
    templates::instances_have_what_is_theirs: "two instances with drop-ins: variables, limits, names, volumes; a check over gRPC";
    graph::graph_starts_in_order_and_stops_in_reverse: "strengths, facts, limits; over a new supervisor";
    forty::forty_units_converge_whatever_kills_the_supervisor: "a graph of 40; the supervisor killed at any point";
    service::service_runs_from_the_os_image: "in the sandbox, with a limit; nothing of the node; killed and back";
    jobs::jobs_run_at_their_times_and_none_is_lost: "every second, retries, overlap; over a power cut and a set clock";
    limits::memory_limit_kills_the_offender: "oom is said, the neighbours go on";
    limits::pids_limit_stops_a_fork_bomb: "the node goes on and can stop it";
    limits::cpu_limit_holds: "half a processor within 15 %";
    limits::orphans_in_a_container_are_reaped: "10,000 of them leave nothing";
    limits::orphans_of_the_node_are_reaped: "10,000 outside of containers; PID 1 does not grow";
    resources::knobs_reach_the_kernel: "cpuset, partition, huge pages, raw files; what the kernel has not is named";
    live::sets_are_applied_whole: "diff, apply, refusals; the supervisor killed in the middle: the old set or the new";
    revisions::bad_revision_is_taken_back_whole: "one bad unit of three: all go back in time, others stay; refused again; pin, rollback, reset";
    revisions::trials_go_on_over_power_cuts: "cut at any moment of an apply: the old set or the new, whole, and good";
    live::limits_change_in_place: "the same processes; a limit that somebody changes is put back";
    resources::scheduling_is_as_asked: "policy, nice value and real-time priority in /proc";
    resources::pressure_is_acted_upon: "a trigger kills; one that is only said is said by the next supervisor, too";
    resources::too_many_lines_are_dropped_and_counted: "over log.rate: a hundred are kept, the rest is counted";
    resources::devices_are_given_by_name: "the one named can be used, no other is there; one that is missing is named";
    crashes::killed_container_comes_back: "kill -9 of its process: restarted, new pid";
    crashes::crash_loop_backs_off: "exit 3 again and again waits longer each time";
    crashes::our_processes_may_die: "kill -9 of supervisor, netd and log during traffic";
    drift::network_is_put_right: "veth, bridge and rules taken away: same process, reachable again";
    seeing::events_have_no_gap_over_a_killed_supervisor: "each once, in order, to a follower too";
    seeing::paused_unit_does_not_run: "no line, no check, no exec; over a new supervisor; resumed and stopped";
    seeing::why_top_and_inspect_answer: "a crasher's story, shares and figures, all that is known of a unit";
    cp::files_are_copied_both_ways_and_no_link_leads_out: "modes, directories, tar files; links, a read-only root";
    seeing::changes_of_a_root_are_told: "added, deleted, not mounts; gone with a new run; a read-only root says so";
    power::power_cut_keeps_what_was_synced: "QEMU killed; volumes intact, units up";
    power::reboot_comes_back: "berth reboot: the same units on the same disk";
    secrets::secrets_reach_their_units_and_no_disk: "waited for, inside with mode and owner, told to nobody, on no disk";
    words::processes_have_what_their_keys_say: "init, standard input, console, time zone, core dumps";
    words::lowering_memory_keeps_nobody_waiting: "limits below what is used: the supervisor answers, the unit goes on or is killed";
    storage::files_of_units_are_theirs: "directories of a unit, layers that stay, VOLUMEs, other images; over a power cut";
    volumes::volume_size_holds_and_changes_live: "no space left at the limit; more and less of it under a running unit";
    volumes::volumes_are_copied_replaced_and_deleted: "export, import, rm, retain; a broken stream changes nothing";
    firmware::disk_boots_through_firmware_and_grows: "disk.raw on larger disks, OVMF, three programs, a power cut";
    changes::changed_set_is_taken_whole_or_not_at_all: "units put on a running node; a faulty one changes nothing";
    changes::faulty_set_on_the_disk_falls_back: "factory units run, and status says why";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_is_listed() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/src/scenarios");
        let mut found: Vec<String> = Vec::new();
        for file in std::fs::read_dir(dir).unwrap() {
            let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
            let starts = text.lines().filter_map(|line| line.strip_prefix("pub fn "));
            found.extend(starts.map(|rest| rest.split('(').next().unwrap().to_owned()));
        }
        found.sort();
        let mut listed: Vec<_> = SCENARIOS.iter().map(|scenario| scenario.name).collect();
        listed.sort_unstable();
        assert_eq!(found, listed);
    }
}
