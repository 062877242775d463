//! Exit codes, and which one an error means.

use std::io;
use std::process::ExitCode;

use anyhow::Error;
use residuum::classify::ClassifyError;
use residuum::convert::ConvertError;
use residuum::data::DataError;
use residuum::engine::EngineError;
use residuum::explain::ExplainError;
use residuum::formats::{ErrorKind, FormatError};

use crate::output;

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitStatus {
    /// It did what it was asked to.
    Done = 0,
    /// The answer is no.
    No = 1,
    /// The request or what it was given is at fault.
    BadInput = 2,
    /// The machine is at fault: disk, memory, threads.
    Environment = 3,
    /// Training diverged.
    Diverged = 4,
    /// The user stopped it, and what was to be saved is saved.
    Interrupted = 130,
}

impl From<ExitStatus> for ExitCode {
    fn from(status: ExitStatus) -> Self {
        Self::from(status as u8)
    }
}

/// The exit code of a command, its error printed.
pub(crate) fn code(result: anyhow::Result<ExitStatus>) -> ExitCode {
    let status = result.unwrap_or_else(|error| {
        let status = status_of(&error);
        if status != ExitStatus::Done {
            output::error(&format!("{error:#}"));
        }
        status
    });
    status.into()
}

/// What kind of end an error is. A reader that went away, such as `head`, has seen enough: that is none.
fn status_of(error: &Error) -> ExitStatus {
    if error.chain().any(is_broken_pipe) {
        ExitStatus::Done
    } else if error.chain().any(is_of_the_environment) {
        ExitStatus::Environment
    } else {
        ExitStatus::BadInput
    }
}

type Cause<'a> = &'a (dyn std::error::Error + 'static);

fn is_broken_pipe(cause: Cause<'_>) -> bool {
    cause.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}

fn is_of_the_environment(cause: Cause<'_>) -> bool {
    if let Some(error) = cause.downcast_ref::<ConvertError>() {
        return match error {
            ConvertError::Format(error) => format_is(error),
            ConvertError::Classify(error) => classify_is(error),
            ConvertError::Engine(error) => engine_is(error),
            _ => false,
        };
    }
    if let Some(ExplainError::Engine(error)) = cause.downcast_ref() {
        return engine_is(error);
    }
    cause.downcast_ref().is_some_and(classify_is)
        || cause.downcast_ref().is_some_and(format_is)
        || cause.downcast_ref().is_some_and(data_is)
        || cause.downcast_ref().is_some_and(engine_is)
        || cause.downcast_ref().is_some_and(|error: &io::Error| io_is(error.kind()))
}

fn classify_is(error: &ClassifyError) -> bool {
    match error {
        ClassifyError::Format(error) => format_is(error),
        ClassifyError::Data(error) => data_is(error),
        ClassifyError::Engine(error) => engine_is(error),
        _ => false,
    }
}

fn format_is(error: &FormatError) -> bool {
    error.kind() == ErrorKind::Io && error.io_kind().is_some_and(io_is)
}

fn data_is(error: &DataError) -> bool {
    matches!(error, DataError::Disk(error) if format_is(error))
}

fn engine_is(error: &EngineError) -> bool {
    matches!(error, EngineError::OutOfMemory { .. } | EngineError::Threads { .. } | EngineError::Isa(_))
}

/// A path that is wrong is the user's affair, everything else the system's.
fn io_is(kind: io::ErrorKind) -> bool {
    use io::ErrorKind::{AlreadyExists, InvalidInput, IsADirectory, NotADirectory, NotFound};
    !matches!(kind, NotFound | AlreadyExists | IsADirectory | NotADirectory | InvalidInput)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_end_as_the_manual_says() {
        let io = |kind| Error::from(io::Error::from(kind)).context("writing");
        assert_eq!(status_of(&io(io::ErrorKind::BrokenPipe)), ExitStatus::Done);
        assert_eq!(status_of(&io(io::ErrorKind::StorageFull)), ExitStatus::Environment);
        assert_eq!(status_of(&io(io::ErrorKind::NotFound)), ExitStatus::BadInput);
        assert_eq!(status_of(&anyhow::anyhow!("anything")), ExitStatus::BadInput);
        let memory = EngineError::OutOfMemory { what: "the plan", mib: 1 };
        assert_eq!(status_of(&ClassifyError::from(memory).into()), ExitStatus::Environment);
        let memory = EngineError::OutOfMemory { what: "the plan", mib: 1 };
        assert_eq!(status_of(&ExplainError::from(memory).into()), ExitStatus::Environment);
    }
}
