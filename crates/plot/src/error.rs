//! Why a figure cannot be drawn.

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PlotError {
    /// The encoder refused the picture.
    #[error("figure `{title}`: cannot be written as PNG: {problem}")]
    Png {
        /// Title of the figure.
        title: String,
        /// What the encoder says.
        problem: String,
    },
    /// There is more to draw than a picture holds.
    #[error("figure `{title}`: expected at most {limit} charts, found {charts}; draw several figures")]
    TooManyCharts {
        /// Title of the figure.
        title: String,
        /// Charts asked for.
        charts: usize,
        /// Charts a figure may hold.
        limit: usize,
    },
}
