//! Values of keys as people wrote them.

use std::fmt::Debug;
use std::time::Duration;

use crate::Reference;
use crate::human;
use crate::quantity::{Amount, MilliCpus};
use crate::spec::{LogSink, Policy, Start};

use super::UNSET;

/// A value that may be shown.
pub(super) trait Show: Debug {
    fn show(&self) -> String;
}

/// A number of bytes.
#[derive(Debug)]
pub(super) struct Bytes(pub u64);

impl Show for Bytes {
    fn show(&self) -> String {
        human::size(self.0)
    }
}

impl<T: Show> Show for Option<T> {
    fn show(&self) -> String {
        self.as_ref().map_or(UNSET.to_owned(), Show::show)
    }
}

impl Show for Amount {
    fn show(&self) -> String {
        match self {
            Self::Max => "max".to_owned(),
            Self::Bytes(bytes) => human::size(*bytes),
            Self::Percent(percent) => format!("{percent}%"),
        }
    }
}

impl Show for MilliCpus {
    fn show(&self) -> String {
        format!("{}", f64::from(self.0) / 1000.0)
    }
}

impl Show for Duration {
    fn show(&self) -> String {
        human::duration(*self)
    }
}

impl Show for Reference {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Show for bool {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Show for u16 {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Show for u32 {
    fn show(&self) -> String {
        self.to_string()
    }
}

impl Show for Start {
    fn show(&self) -> String {
        match self {
            Self::Boot => "boot",
            Self::Manual => "manual",
        }
        .to_owned()
    }
}

impl Show for Policy {
    fn show(&self) -> String {
        match self {
            Self::Always => "always",
            Self::OnFailure => "on-failure",
            Self::Never => "never",
        }
        .to_owned()
    }
}

impl Show for LogSink {
    fn show(&self) -> String {
        match self {
            Self::Store => "store",
            Self::Ram => "ram",
            Self::Console => "console",
            Self::None => "none",
        }
        .to_owned()
    }
}
