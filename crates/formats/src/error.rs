//! One error for all formats: what kind, which file, where in it, and what was expected and found.

use std::io;
use std::path::{Path, PathBuf};

/// What the functions of this crate return.
pub type Result<T> = std::result::Result<T, FormatError>;

/// What went wrong, coarsely: enough to choose an exit status or an HTTP code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The system said no: file not found, no permission, disk full. See [`FormatError::io_kind`].
    Io,
    /// The data ends before what its header promises.
    Truncated,
    /// The data contradicts itself or its format.
    Malformed,
    /// The data is well formed but asks for something that is never done, such as calling a function.
    Refused,
    /// Valid as far as can be told, but of a kind that is not read here.
    Unsupported,
    /// A fixed limit on size, depth or number is exceeded, or memory is not to be had.
    Limit,
    /// A tensor is missing, or has another shape or type than asked for.
    Mismatch,
}

/// Why a file could not be read or written.
#[derive(thiserror::Error)]
#[error("{inner}")]
pub struct FormatError {
    #[source]
    source: Option<io::Error>,
    inner: Box<Inner>,
}

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    path: Option<PathBuf>,
    place: String,
    message: String,
}

impl FormatError {
    pub(crate) fn new(kind: ErrorKind, place: impl Into<String>, message: impl Into<String>) -> Self {
        let inner = Inner { kind, path: None, place: place.into(), message: message.into() };
        Self { source: None, inner: Box::new(inner) }
    }

    pub(crate) fn malformed(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Malformed, place, message)
    }

    pub(crate) fn truncated(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Truncated, place, message)
    }

    pub(crate) fn refused(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Refused, place, message)
    }

    pub(crate) fn unsupported(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Unsupported, place, message)
    }

    pub(crate) fn limit(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Limit, place, message)
    }

    pub(crate) fn mismatch(place: impl Into<String>, message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Mismatch, place, message)
    }

    pub(crate) fn out_of_memory(place: impl Into<String>, bytes: usize) -> Self {
        Self::limit(place, format!("no memory for {bytes} bytes"))
    }

    pub(crate) fn io(path: &Path, action: &str, source: io::Error) -> Self {
        let mut error = Self::new(ErrorKind::Io, "", format!("cannot {action}: {source}")).in_file(path);
        error.source = Some(source);
        error
    }

    /// Names the file, where none is named yet.
    pub(crate) fn in_file(mut self, path: &Path) -> Self {
        self.inner.path.get_or_insert_with(|| path.to_path_buf());
        self
    }

    /// Puts an outer place before the one already known, as in `weights.npy: header`.
    #[must_use]
    pub fn within(mut self, outer: &str) -> Self {
        let place = &mut self.inner.place;
        *place = if place.is_empty() { outer.to_owned() } else { format!("{outer}: {place}") };
        self
    }

    /// What went wrong, coarsely.
    pub fn kind(&self) -> ErrorKind {
        self.inner.kind
    }

    /// The file, where the bytes came from one.
    pub fn path(&self) -> Option<&Path> {
        self.inner.path.as_deref()
    }

    /// The place in the file: a tensor's name, a record, a byte offset. May be empty.
    pub fn place(&self) -> &str {
        &self.inner.place
    }

    /// What was expected and found, and what to do where that is known.
    pub fn message(&self) -> &str {
        &self.inner.message
    }

    /// The system's own code, where [`kind`](Self::kind) is [`ErrorKind::Io`].
    pub fn io_kind(&self) -> Option<io::ErrorKind> {
        self.source.as_ref().map(io::Error::kind)
    }
}

impl std::fmt::Display for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(path) = &self.path {
            write!(f, "{}: ", path.display())?;
        }
        if !self.place.is_empty() {
            write!(f, "{}: ", self.place)?;
        }
        f.write_str(&self.message)
    }
}

impl std::fmt::Debug for FormatError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}: {}", self.inner.kind, self.inner)
    }
}
