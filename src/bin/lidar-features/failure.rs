//! What ends a command: a line for stderr and an exit code.

use lidar_features::Error;

/// Why a command ended.
#[derive(Debug)]
pub enum Failure {
    /// The arguments mean nothing: exit code 2.
    Usage(String),
    /// The work failed: exit code 1.
    Failed(String),
}

impl Failure {
    /// The message on one line.
    pub fn line(&self) -> String {
        let (Self::Usage(text) | Self::Failed(text)) = self;
        text.split_whitespace().collect::<Vec<_>>().join(" ")
    }

    pub fn code(&self) -> u8 {
        match self {
            Self::Usage(_) => 2,
            Self::Failed(_) => 1,
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::UnknownFeature { .. }
            | Error::UnknownPreset { .. }
            | Error::ZeroNeighbors
            | Error::InvalidRadius(_) => Self::Usage(text),
            _ => Self::Failed(text),
        }
    }
}

impl From<clap::Error> for Failure {
    fn from(error: clap::Error) -> Self {
        let text = error.to_string();
        let kind = clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
        if error.kind() == kind || error.kind() == clap::error::ErrorKind::MissingSubcommand {
            return Self::Usage("a command is needed, see lidar-features --help".to_owned());
        }
        // clap's message ends where the usage begins; hints in between are kept.
        let end = text.find("Usage:").or_else(|| text.find("For more information")).unwrap_or(text.len());
        Self::Usage(text[..end].trim_start_matches("error: ").to_owned())
    }
}
