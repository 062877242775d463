//! The one who compiles: threads, instruction set, and the two kinds of program.

use residuum_graph::{Graph, NodeId, Quantization, Weights};
use residuum_kernels::Isa;
use residuum_kernels::conv::ConvAlgorithm;

use crate::error::EngineError;
use crate::inference::Inference;
use crate::sensitivity::{Sensitivity, SensitivityOptions};
use crate::threads::Threads;
use crate::training::{Training, TrainingOptions};

/// What an engine runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct EngineOptions {
    /// Number of threads; one for each physical core if not said.
    pub threads: Option<usize>,
    /// Instruction set; what `RESIDUUM_ISA` says, or else the best that there is, if not said.
    pub isa: Option<Isa>,
    /// Algorithm of convolutions; what `RESIDUUM_CONV` says, or else the fastest for each, if not said.
    pub conv: Option<ConvAlgorithm>,
}

/// Size of the batches that a program is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct InputShape {
    /// Images in a batch.
    pub n: usize,
    /// Rows of an image.
    pub h: usize,
    /// Columns of an image.
    pub w: usize,
}

/// Threads and instruction set; compiles networks. Cloning shares the threads.
///
/// ```
/// use residuum_engine::{Engine, EngineOptions, InputShape};
/// use residuum_graph::{Builder, ConvSpec, Weights};
/// use residuum_tensor::Tensor;
///
/// let mut g = Builder::new("example");
/// let x = g.input(1);
/// let x = g.conv("conv", x, ConvSpec::new(2, 3, 1))?;
/// let x = g.global_avg_pool("pool", x)?;
/// let graph = g.finish(x)?;
/// let weights = Weights::from([("conv.weight".into(), Tensor::filled([2, 1, 3, 3], 1.0))]);
///
/// let engine = Engine::new(&EngineOptions::default())?;
/// let mut program = engine.inference(&graph, &weights, InputShape { n: 1, h: 1, w: 1 }, &[])?;
/// assert_eq!(program.run(&[3.0]), [3.0, 3.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct Engine {
    threads: Threads,
    isa: Isa,
    conv: ConvAlgorithm,
}

impl Engine {
    /// Starts the threads.
    ///
    /// # Errors
    /// When the threads, the instruction set or the algorithm are not to be had.
    pub fn new(options: &EngineOptions) -> Result<Self, EngineError> {
        let isa = options.isa.map_or_else(Isa::from_env, Ok)?;
        let conv = options.conv.map_or_else(ConvAlgorithm::from_env, Ok)?;
        Ok(Self { threads: Threads::new(options.threads)?, isa, conv })
    }

    /// The instruction set in use.
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// What the choice of the algorithm of convolutions is left to.
    pub fn conv(&self) -> ConvAlgorithm {
        self.conv
    }

    /// The threads in use.
    pub fn threads(&self) -> &Threads {
        &self.threads
    }

    /// Compiles a network for answering: batch norms use their running statistics and are folded into the
    /// convolutions before them. `taps` names layers whose values can be read after a run.
    ///
    /// # Errors
    /// When the network does not admit the size, weights are missing or of another shape, a tap does not
    /// exist, or memory is short.
    pub fn inference(
        &self,
        graph: &Graph,
        weights: &Weights,
        shape: InputShape,
        taps: &[String],
    ) -> Result<Inference, EngineError> {
        Inference::compile(self, graph, weights, None, shape, taps)
    }

    /// As [`Engine::inference`], in bytes where `quantization` has grids for them: sums of products of bytes are exact,
    /// and are rounded to the grid of the next value once, together with bias, shortcut and ReLU. Operations
    /// that are not computed in bytes get floats. The answer has the same bits on all instruction sets as far as
    /// bytes go; operations in floats are those of [`Engine::inference`].
    ///
    /// # Errors
    /// As [`Engine::inference`].
    pub fn quantized_inference(
        &self,
        graph: &Graph,
        weights: &Weights,
        quantization: &Quantization,
        shape: InputShape,
        taps: &[String],
    ) -> Result<Inference, EngineError> {
        Inference::compile(self, graph, weights, Some(quantization), shape, taps)
    }

    /// Compiles a network for looking inside: gradients of one layer's value with respect to other layers or
    /// the images, in evaluation mode.
    ///
    /// # Errors
    /// As [`Engine::inference`].
    pub fn sensitivity(
        &self,
        graph: &Graph,
        weights: &Weights,
        shape: InputShape,
        options: &SensitivityOptions,
    ) -> Result<Sensitivity, EngineError> {
        Sensitivity::compile(self, graph, weights, shape, options)
    }

    /// Compiles a network for learning: forward pass, loss, gradients and update.
    ///
    /// # Errors
    /// As [`Engine::inference`]; and when a batch norm would see a single value per channel.
    pub fn training(
        &self,
        graph: &Graph,
        weights: &Weights,
        shape: InputShape,
        options: &TrainingOptions,
    ) -> Result<Training, EngineError> {
        Training::compile(self, graph, weights, shape, options)
    }
}

/// The nodes of the layers named.
pub(crate) fn find_taps(graph: &Graph, taps: &[String]) -> Result<Vec<NodeId>, EngineError> {
    let find = |name: &String| {
        graph.find(name).ok_or_else(|| {
            let mut modules: Vec<&str> =
                graph.nodes().iter().map(|node| node.name.split('.').next().unwrap_or(&node.name)).collect();
            modules.dedup();
            EngineError::UnknownTap { name: name.clone(), known: modules.join(", ") }
        })
    };
    taps.iter().map(find).collect()
}
