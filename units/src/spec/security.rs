//! How far a container is opened up.

use std::collections::BTreeMap;

use serde::Serialize;

/// `[security]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Security {
    /// What the rest starts from.
    pub profile: Profile,
    /// Capabilities added to the profile's, without CAP_, upper case.
    pub cap_add: Vec<String>,
    /// Capabilities taken away; `ALL` takes all.
    pub cap_drop: Vec<String>,
    /// prctl(PR_SET_NO_NEW_PRIVS).
    pub no_new_privileges: bool,
    /// Namespaced sysctls, dotted name to value.
    pub sysctl: BTreeMap<String, String>,
}

impl Default for Security {
    fn default() -> Self {
        Self {
            profile: Profile::Restricted,
            cap_add: Vec::new(),
            cap_drop: Vec::new(),
            no_new_privileges: true,
            sysctl: BTreeMap::new(),
        }
    }
}

/// `security.profile`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Profile {
    /// No capabilities.
    Restricted,
    /// CHOWN DAC_OVERRIDE FOWNER FSETID KILL NET_BIND_SERVICE SETFCAP SETGID SETPCAP SETUID SYS_CHROOT.
    Baseline,
    /// All capabilities, nothing masked, the node's devices.
    Privileged,
}
