//! Why the program does not succeed.

use std::error::Error;
use std::io;
use std::process::ExitCode;

use tonic::Status;

use super::execute::complain;

pub(crate) type Result<T, E = CliError> = std::result::Result<T, E>;

/// Why a command ended without success.
#[derive(Debug)]
pub(crate) enum CliError {
    /// To be told, with causes.
    Failed { message: String, causes: Vec<String> },
    /// Told already.
    Reported,
    /// The user pressed Ctrl-C.
    Interrupted,
    /// Nobody reads standard output any more: nothing is wrong, and nothing is said.
    OutputClosed,
}

/// Tells why a master does not answer any more, without the names of protocols.
pub(crate) fn why_lost(status: &Status) -> &str {
    let of_protocol = ["h2 protocol error", "transport error", "error reading a body"];
    let message = status.message();
    if of_protocol.iter().any(|words| message.starts_with(words)) {
        "its connection broke off"
    } else {
        message
    }
}

impl CliError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self::Failed { message: message.into(), causes: Vec::new() }
    }

    /// Tells an error with what was being done.
    pub(crate) fn failed(context: impl Into<String>, error: &dyn Error) -> Self {
        Self::Failed { message: context.into(), causes: chain(error) }
    }

    /// Tells an error that says itself what was being done.
    pub(crate) fn from_error(error: &dyn Error) -> Self {
        let mut causes = chain(error);
        Self::Failed { message: causes.remove(0), causes }
    }

    #[expect(clippy::needless_pass_by_value, reason = "for map_err")]
    pub(crate) fn io(context: impl Into<String>, error: io::Error) -> Self {
        Self::failed(context, &error)
    }

    /// Tells what a master answered.
    pub(crate) fn status(status: &Status) -> Self {
        match status.code() {
            tonic::Code::Unavailable | tonic::Code::Unknown => {
                Self::new(format!("lost the master: {}", why_lost(status)))
            }
            _ => Self::new(status.message()),
        }
    }

    /// Tells the user and returns the exit status.
    pub(crate) fn report(&self) -> ExitCode {
        match self {
            Self::Failed { message, causes } => {
                complain(&format!("error: {message}\n"));
                for cause in causes {
                    complain(&format!("  caused by: {cause}\n"));
                }
                ExitCode::FAILURE
            }
            Self::Reported => ExitCode::FAILURE,
            // What a shell reports of SIGINT and SIGPIPE.
            Self::Interrupted => ExitCode::from(130),
            Self::OutputClosed => ExitCode::from(141),
        }
    }
}

impl From<object_store::Error> for CliError {
    /// Leaves out what `object_store` says around the store's own words.
    fn from(error: object_store::Error) -> Self {
        Self::from_error(error.source().unwrap_or(&error))
    }
}

/// What says less than the causes that follow it.
const OF_PROTOCOLS: [&str; 2] = ["transport error", "tcp connect error"];

/// Returns an error and its causes, without repetitions.
fn chain(error: &dyn Error) -> Vec<String> {
    let mut chain: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = error.to_string();
        let says_little = error.source().is_some() && OF_PROTOCOLS.contains(&text.as_str());
        if !says_little && chain.last().is_none_or(|before| !before.ends_with(&text)) {
            chain.push(text);
        }
        next = error.source();
    }
    chain
}
