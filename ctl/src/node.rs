//! Which node a command speaks to.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use berth_units::wire::control::CONTROL_SOCKET;

/// A node's address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Node {
    /// `unix:PATH`: a control socket of this machine; `berth run` makes one for its virtual machine.
    Unix(PathBuf),
}

impl Default for Node {
    fn default() -> Self {
        Self::Unix(PathBuf::from(CONTROL_SOCKET))
    }
}

impl fmt::Display for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// Why a text is not a [`Node`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a node is written unix:PATH, for example unix:/run/berth/control.sock")]
pub struct NodeError;

impl FromStr for Node {
    type Err = NodeError;
    fn from_str(text: &str) -> Result<Self, NodeError> {
        match text.strip_prefix("unix:") {
            Some(path) if !path.is_empty() => Ok(Self::Unix(PathBuf::from(path))),
            _ => Err(NodeError),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let node: Node = "unix:/run/x".parse().unwrap();
        assert_eq!(node.to_string(), "unix:/run/x");
        for bad in ["", "unix:", "/run/x", "ssh:host"] {
            assert_eq!(bad.parse::<Node>(), Err(NodeError), "{bad}");
        }
    }
}
