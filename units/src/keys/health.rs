//! `[health.NAME]`: checks that we run against a unit.

use std::time::Duration;

use super::draft::{CheckDraft, ContainerDraft, fit};
use super::{Key, Section, Take, Text, Word, key, later, named, planned, planned_word, word};
use crate::spec::{OnFailure, Role};

pub(super) const SECTIONS: &[Section<ContainerDraft>] = &[named(
    "health",
    Text::Entry,
    |d, at| {
        d.check(at);
    },
    "Checks of its health, by name; each with one of exec, http, grpc and tcp.",
)];

const NOW: Duration = Duration::ZERO;
const TENTH: Duration = Duration::from_millis(100);
const HOUR: Duration = Duration::from_secs(3600);
const DAY: Duration = Duration::from_secs(86_400);

pub(super) const KEYS: &[Key<ContainerDraft>] = &[
    key(
        "health.*.exec",
        "",
        Take::List(Text::Any, |d, at, v| d.check(at).exec = Some(v)),
        "A program in the container and its arguments; exit code 0 passes.",
    ),
    key(
        "health.*.http",
        "",
        Take::Text(Text::CheckUrl, |d, at, v| d.check(at).http = Some(v)),
        "An HTTP server, asked from within the container's network.",
    ),
    key(
        "health.*.tcp",
        "",
        Take::Int(1, 65_535, |d, at, v| d.check(at).tcp = Some(fit(v))),
        "A port of the container's loopback address that accepts connections.",
    ),
    key(
        "health.*.grpc",
        "",
        Take::Int(1, 65_535, |d, at, v| d.check(at).grpc = Some(fit(v))),
        "A port of the container's loopback address that speaks grpc.health.v1, without TLS.",
    ),
    key("health.*.method", "\"GET\"", Take::Words(METHOD), "Method of the HTTP request."),
    key(
        "health.*.headers",
        "[]",
        Take::List(Text::Header, |d, at, v| d.check(at).headers = Some(v)),
        "More header lines of the HTTP request.",
    ),
    key(
        "health.*.expect_status",
        "\"200-399\"",
        Take::Text(Text::StatusRange, |d, at, v| d.check(at).expect = Some(v)),
        "HTTP status that passes: one, or the lowest and the highest.",
    ),
    planned("health.*.tls_verify", "true", Take::Bool(later), "Whether a certificate has to be valid."),
    key("health.*.role", "\"live\"", Take::Words(ROLE), "What it stands for."),
    key(
        "health.*.interval",
        "\"10s\"",
        Take::Duration(TENTH, DAY, |d, at, v| d.check(at).timing.interval = v),
        "From the beginning of one run to the next.",
    ),
    key(
        "health.*.timeout",
        "\"3s\"",
        Take::Duration(TENTH, HOUR, |d, at, v| d.check(at).timing.timeout = v),
        "A run that takes longer has failed.",
    ),
    key(
        "health.*.failures",
        "3",
        Take::Int(1, 1000, |d, at, v| d.check(at).timing.failures = fit(v)),
        "Failures in a row that count.",
    ),
    key(
        "health.*.successes",
        "1",
        Take::Int(1, 1000, |d, at, v| d.check(at).timing.successes = fit(v)),
        "Successes in a row that count.",
    ),
    key(
        "health.*.start_period",
        "\"0s\"",
        Take::Duration(NOW, DAY, |d, at, v| d.check(at).timing.start_period = v),
        "So long after the start failures do not count, unless it has passed before.",
    ),
    key(
        "health.*.start_interval",
        "\"1s\"",
        Take::Duration(TENTH, DAY, |d, at, v| d.check(at).timing.start_interval = v),
        "In place of interval until it has passed once: in the start period, and of a ready check.",
    ),
    key("health.*.on_failure", "\"restart\"", Take::Words(ON_FAILURE), "What is done when it fails."),
    key(
        "image_healthcheck",
        "\"use\"",
        Take::Words(IMAGE),
        "The check that the image brings along, where the unit has none of its own.",
    ),
];

const METHOD: &[Word<ContainerDraft>] = &[
    word("GET", "the whole answer", |d, at| d.check(at).method = Some("GET")),
    word("HEAD", "its head only", |d, at| d.check(at).method = Some("HEAD")),
    word("OPTIONS", "what may be asked", |d, at| d.check(at).method = Some("OPTIONS")),
    word("POST", "with an empty body", |d, at| d.check(at).method = Some("POST")),
];

const ROLE: &[Word<ContainerDraft>] = &[
    word("live", "the unit works", |d, at| d.check(at).timing.role = Role::Live),
    word("ready", "the unit can be used; it is not ready while it cannot", |d, at| {
        d.check(at).timing.role = Role::Ready;
    }),
    word("startup", "the unit has come up; the other checks wait for it", |d, at| {
        d.check(at).timing.role = Role::Startup;
    }),
];

const ON_FAILURE: &[Word<ContainerDraft>] = &[
    word("restart", "it is stopped, then started as restart says", |d, at| {
        on_failure(d.check(at), OnFailure::Restart);
    }),
    word("kill", "the same, killed without a stop signal", |d, at| on_failure(d.check(at), OnFailure::Kill)),
    word("none", "the status shows it", |d, at| on_failure(d.check(at), OnFailure::None)),
    planned_word("rollback", "the version before it comes back"),
];

fn on_failure(check: &mut CheckDraft, what: OnFailure) {
    check.timing.on_failure = what;
}

const IMAGE: &[Word<ContainerDraft>] = &[
    word("use", "as a live check", |d, _| d.unit.image_healthcheck = true),
    word("ignore", "it is left out", |d, _| d.unit.image_healthcheck = false),
];
