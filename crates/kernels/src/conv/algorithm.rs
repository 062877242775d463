//! Which algorithms a convolution may be computed by.

use super::choose::{self, Choice, Pass};
use super::winograd::Form;
use crate::conv_shape::ConvShape;
use crate::isa::Isa;

/// Name of the environment variable that forces an algorithm.
pub const CONV_VARIABLE: &str = "RESIDUUM_CONV";

/// What the choice of an algorithm is left to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ConvAlgorithm {
    /// The one expected to be the fastest for the shape.
    #[default]
    Auto,
    /// Sums as they are defined: the least rounding, and filters that take no more memory than they hold.
    Direct,
    /// Winograd's minimal filtering wherever it is possible: windows of 3 x 3 with stride 1, whose transformed filters
    /// take four times the memory; forward also windows of 3 x 3 and 7 x 7 with stride 2, nine and four times.
    Winograd,
    /// The same for windows of 3 x 3 with stride 1, but the filters take no more memory than they hold: every run
    /// transforms them anew, on the way to the products. For few tiles, which otherwise wait for memory.
    WinogradOnTheFly,
    /// Strassen's algorithm wherever it is possible, forward and for the gradient of the input: windows of one pixel in maps
    /// of two pixels or more, with multiples of 32 channels. Filters take 1.75 times the memory.
    Strassen,
}

/// Why an algorithm that was asked for by name is not to be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "RESIDUUM_CONV: expected auto, direct, strassen or winograd, found {found:?}; correct it or unset it"
)]
pub struct UnknownAlgorithm {
    /// The name as given.
    pub found: String,
}

impl ConvAlgorithm {
    /// Those that leave no choice.
    pub const FORCED: [Self; 4] = [Self::Direct, Self::Strassen, Self::Winograd, Self::WinogradOnTheFly];

    /// What it comes to for a pass of a convolution: one of [`ConvAlgorithm::FORCED`].
    #[must_use]
    pub fn chosen(self, isa: Isa, pass: Pass, shape: &ConvShape) -> Self {
        match choose::choice(isa, self, pass, shape) {
            Choice::Direct => Self::Direct,
            Choice::Strassen => Self::Strassen,
            Choice::Winograd(_) => Self::Winograd,
            Choice::OnTheFly => Self::WinogradOnTheFly,
        }
    }

    /// Whether a pass of a convolution can normalise its input on the way, as [`Normalization`](super::Normalization) says:
    /// where windows are single pixels, and in Winograd's transform of the inputs at a stride of 1.
    #[must_use]
    pub fn normalizes(self, isa: Isa, pass: Pass, shape: &ConvShape) -> bool {
        pass != Pass::BackwardData
            && match choose::choice(isa, self, pass, shape) {
                Choice::Direct | Choice::Strassen => shape.is_of_pixels(),
                Choice::Winograd(form) => form == Form::Pixels,
                Choice::OnTheFly => false,
            }
    }

    /// The one that the environment variable `RESIDUUM_CONV` names, or else [`ConvAlgorithm::Auto`].
    ///
    /// # Errors
    /// When the variable holds an unknown name.
    pub fn from_env() -> Result<Self, UnknownAlgorithm> {
        match std::env::var_os(CONV_VARIABLE) {
            None => Ok(Self::Auto),
            Some(value) if value.is_empty() => Ok(Self::Auto),
            Some(value) => Self::from_name(&value.to_string_lossy()),
        }
    }

    /// The algorithm called `auto`, `direct`, `strassen` or `winograd`.
    ///
    /// # Errors
    /// When the name is unknown.
    pub fn from_name(name: &str) -> Result<Self, UnknownAlgorithm> {
        match name {
            "auto" => Ok(Self::Auto),
            "direct" => Ok(Self::Direct),
            "strassen" => Ok(Self::Strassen),
            "winograd" => Ok(Self::Winograd),
            _ => Err(UnknownAlgorithm { found: name.to_owned() }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn algorithms_are_found_by_name_and_others_refused() {
        let named = [
            ("auto", ConvAlgorithm::Auto),
            ("direct", ConvAlgorithm::Direct),
            ("strassen", ConvAlgorithm::Strassen),
            ("winograd", ConvAlgorithm::Winograd),
        ];
        for (name, algorithm) in named {
            assert_eq!(ConvAlgorithm::from_name(name), Ok(algorithm));
        }
        let error = ConvAlgorithm::from_name("fft").unwrap_err().to_string();
        assert!(error.contains("RESIDUUM_CONV: expected auto, direct, strassen or winograd, found \"fft\""));
    }
}
