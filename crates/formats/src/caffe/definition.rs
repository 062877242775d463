//! A network as a `.prototxt` describes it: layers that read and write blobs by name, in the order in which
//! they run. A layer may write the blob that it reads; the name then means another value from there on.

/// A network: its inputs and its layers.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Definition {
    /// Name of the network; may be empty.
    pub name: String,
    /// What goes in, also where the file writes it as layers of the type `Input`.
    pub inputs: Vec<Input>,
    /// The layers, each after those whose blobs it reads. Names are unique.
    pub layers: Vec<Layer>,
}

/// A blob that goes in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Input {
    /// Its name.
    pub blob: String,
    /// Its sides, `[n, channels, h, w]` for images.
    pub shape: Vec<usize>,
}

/// A layer.
#[derive(Clone, Debug, PartialEq)]
pub struct Layer {
    /// Its name, by which its weights are found.
    pub name: String,
    /// The blobs that it reads.
    pub bottoms: Vec<String>,
    /// The blobs that it writes.
    pub tops: Vec<String>,
    /// What it computes.
    pub operation: Operation,
}

/// What a layer computes. Where a file is silent, Caffe's defaults hold.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Operation {
    /// Cross-correlation, the number of windows rounded down.
    Convolution(Convolution),
    /// Normalisation by stored statistics, without scale and shift.
    BatchNorm {
        /// Added to the variance.
        eps: f64,
        /// Whether the stored statistics are used; they are while testing, unless the file says no.
        uses_stored: bool,
    },
    /// A factor and, if asked, a shift for each channel.
    Scale(Scale),
    /// `max(x, 0)`, or `slope · x` below 0.
    Relu {
        /// Slope below 0.
        negative_slope: f64,
    },
    /// Maximum or mean over windows, their number rounded up as a rule.
    Pooling(Pooling),
    /// Inputs put together element by element.
    Eltwise(Eltwise),
    /// Matrix product.
    InnerProduct(InnerProduct),
    /// Inputs put after each other.
    Concat {
        /// Along which side; 1 are the channels.
        axis: usize,
    },
    /// Probabilities.
    Softmax,
    /// Nothing while testing.
    Dropout,
    /// Several names for one value.
    Split,
    /// A type that is not known here.
    Other(String),
}

/// A convolution. Pairs are rows and columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Convolution {
    /// Channels made.
    pub outputs: usize,
    /// Sides of a filter.
    pub kernel: [usize; 2],
    /// Steps between windows.
    pub stride: [usize; 2],
    /// Zeros around the map.
    pub pad: [usize; 2],
    /// Distance of neighbouring taps.
    pub dilation: [usize; 2],
    /// Independent groups of channels.
    pub group: usize,
    /// Whether there is a second blob, the bias.
    pub bias: bool,
}

/// A factor for each channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scale {
    /// The first side along which factors differ; 1 are the channels.
    pub axis: usize,
    /// How many sides; `None` for all from `axis` on.
    pub axes: Option<usize>,
    /// Whether there is a second blob, the shift.
    pub bias: bool,
}

/// What is made of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pool {
    /// The maximum.
    Max,
    /// The mean, divided by the part of the window within the padded map.
    Average,
}

/// Pooling. Pairs are rows and columns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pooling {
    /// Maximum or mean.
    pub pool: Pool,
    /// Sides of a window; `None` for the whole map.
    pub kernel: Option<[usize; 2]>,
    /// Steps between windows.
    pub stride: [usize; 2],
    /// Positions outside the map that windows may begin at.
    pub pad: [usize; 2],
    /// Whether the number of windows is rounded up.
    pub ceil: bool,
}

/// How inputs are put together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EltwiseOperation {
    /// Product.
    Product,
    /// Sum with coefficients.
    Sum,
    /// Maximum.
    Maximum,
}

/// Inputs put together element by element.
#[derive(Clone, Debug, PartialEq)]
pub struct Eltwise {
    /// How.
    pub operation: EltwiseOperation,
    /// Coefficients of a sum, one for each input; empty where all are 1.
    pub coefficients: Vec<f64>,
}

/// A matrix product.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InnerProduct {
    /// Numbers made.
    pub outputs: usize,
    /// Whether there is a second blob, the bias.
    pub bias: bool,
    /// The first side that is summed over; 1 are the channels.
    pub axis: usize,
    /// Whether the matrix is stored as `[in, out]`.
    pub transposed: bool,
}
