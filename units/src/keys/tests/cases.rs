//! Values of keys of units that are no containers, and of the node.

use super::Case;

pub(super) const CONFIG_CASES: &[Case] = &[
    ("schema", "", "1", "true", 111),
    ("kind", "", r#""config""#, r#""confg""#, 112),
    ("description", "", r#""Greeting""#, "1", 104),
    ("content", "", r#""x""#, "1", 104),
    ("file", "", r#""/data/x""#, r#""/data/volumes/v/x""#, 465),
    ("template", "content = \"x\"", "true", "1", 104),
    ("labels.team", "content = \"x\"", r#""shop""#, "[]", 104),
];

pub(super) const SECRET_CASES: &[Case] = &[
    ("schema", "", "1", "true", 111),
    ("kind", "", r#""secret""#, r#""secrt""#, 112),
    ("description", "", r#""Key""#, "1", 104),
    ("source", "path = \"/run/x\"", r#""file""#, r#""fiel""#, 107),
    ("path", "source = \"file\"", r#""/run/x""#, r#""x""#, 105),
    ("version", "", "2", "0", 106),
    ("allow", "", r#"["other"]"#, r#"["Other"]"#, 105),
    ("labels.team", "", r#""shop""#, "[]", 104),
];

pub(super) const NODE_CASES: &[Case] = &[
    ("schema", "", "1", "0", 111),
    ("kind", "", r#""node""#, r#""container""#, 112),
    ("description", "", r#""Gateway""#, "{}", 104),
    ("hostname", "", r#""gate-1""#, r#""gate_1""#, 105),
    ("stop_timeout", "", r#""1m""#, r#""0s""#, 106),
    ("memory_reserve", "", r#""64M""#, r#""64m""#, 105),
    ("uplink.interface", "", r#""eth1""#, r#""a/b""#, 105),
    ("uplink.mode", "", r#""none""#, r#""auto""#, 107),
    ("uplink.address", r#"uplink.mode = "static""#, r#""192.168.1.2/24""#, r#""192.168.1.2""#, 105),
    (
        "uplink.gateway",
        "uplink.mode = \"static\"\nuplink.address = \"10.0.0.2/24\"",
        r#""10.0.0.1""#,
        r#""10.0.1.1""#,
        503,
    ),
    (
        "uplink.dns",
        "uplink.mode = \"static\"\nuplink.address = \"10.0.0.2/24\"",
        r#"["9.9.9.9"]"#,
        r#"["dns"]"#,
        105,
    ),
    ("profiles", "", r#"["lab"]"#, r#"["Lab"]"#, 105),
    ("kernel.append", "", r#"["quiet"]"#, r#"["two words"]"#, 105),
    ("kernel.modules", "", r#"["dummy"]"#, r#"["a/b"]"#, 105),
];

/// What differs from a container.
pub(super) const SERVICE_CASES: &[Case] = &[
    ("schema", "", "1", "2", 111),
    ("kind", "", r#""service""#, r#""servant""#, 112),
    ("process.entrypoint", "", r#"["/bin/x", "a"]"#, r#""/bin/x""#, 104),
    ("process.entrypoint", "", r#"["/bin/x"]"#, r#"["x"]"#, 413),
    ("process.args", "", r#"["a"]"#, "[1]", 104),
    ("env_info", "", r#"["node"]"#, r#"["image_digest"]"#, 110),
];

pub(super) const POD_CASES: &[Case] = &[
    ("schema", "", "1", "2", 111),
    ("kind", "", r#""pod""#, r#""pods""#, 112),
    ("description", "", r#""Shop""#, "1", 104),
    ("labels.team", "", r#""shop""#, "[]", 104),
    ("hostname", "", r#""shop.example""#, r#""-shop""#, 105),
    ("networks.default.ipv4", "", r#""10.88.0.9""#, r#""10.88.0""#, 105),
    ("networks.default.aliases", "", r#"["shop"]"#, r#"["_shop"]"#, 105),
    ("ports.web.host", "ports.web.container = 80", "8080", "0", 106),
    ("ports.web.container", "ports.web.host = 80", "8080", r#""x""#, 105),
    ("ports.web.protocol", "ports.web.host = 80\nports.web.container = 80", r#""udp""#, r#""icmp""#, 107),
    ("ports.web.host_ip", "ports.web.host = 80\nports.web.container = 80", r#""10.0.0.1""#, r#""::1""#, 105),
    ("exit_policy", "", r#""continue""#, r#""leave""#, 107),
];
