//! Every way to compute a convolution, timed side by side: what the choice could have been.

use std::io;
use std::time::{Duration, Instant};

use residuum_tensor::{AlignedBuffer, MapLayout};

use crate::conv::{ConvAlgorithm, ConvBackwardData, ConvBackwardWeights, ConvForward, Epilogue, Pass, Zeros};
use crate::conv_shape::ConvShape;
use crate::isa::Isa;

/// One kernel on one shape.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Trial {
    /// What it computes.
    pub pass: Pass,
    /// How it computes it.
    pub algorithm: &'static str,
    /// Whether it is the one that is taken where nothing is forced; forward, with half of the input zeros.
    pub is_chosen: bool,
    /// Multiply-adds of the kernel, its transforms included.
    pub multiply_adds: usize,
    /// Bytes that it reads and writes: maps, filters as it wants them, sums that wait in memory.
    pub bytes: usize,
    /// The fastest of the runs, for other programs may share the cores.
    pub time: Duration,
}

/// Times the kernels of all passes of a convolution, each for about `span`, on all threads of the current rayon
/// pool. The values are made up; half of the input are zeros, as a ReLU leaves them.
///
/// # Errors
/// When the memory for the maps and filters is not to be had.
pub fn conv_trials(isa: Isa, shape: &ConvShape, span: Duration) -> io::Result<Vec<Trial>> {
    let maps = Maps::new(shape)?;
    let mut trials = Vec::new();
    for pass in Pass::ALL {
        let auto = match pass {
            Pass::Forward => ConvAlgorithm::Auto.of_input(ConvAlgorithm::Sparse, isa, shape, Zeros::Half),
            _ => ConvAlgorithm::Auto,
        };
        let chosen = Prepared::new(isa, auto, pass, &maps).algorithm();
        let first = trials.len();
        for algorithm in ConvAlgorithm::FORCED {
            let kernel = Prepared::new(isa, algorithm, pass, &maps);
            // Where a shape does not admit an algorithm, it is computed by another one.
            if trials[first..].iter().any(|trial: &Trial| trial.algorithm == kernel.algorithm()) {
                continue;
            }
            trials.push(Trial {
                pass,
                algorithm: kernel.algorithm(),
                is_chosen: kernel.algorithm() == chosen,
                multiply_adds: kernel.multiply_adds(),
                bytes: size_of::<f32>() * (maps.floats() + kernel.floats(shape)),
                time: kernel.time(&maps, span)?,
            });
        }
    }
    Ok(trials)
}

/// Input and output of a convolution, with the borders that all passes want.
struct Maps {
    shape: ConvShape,
    x: (MapLayout, AlignedBuffer),
    y: (MapLayout, AlignedBuffer),
}

impl Maps {
    fn new(shape: &ConvShape) -> io::Result<Self> {
        let x = MapLayout::new(shape.n, shape.h, shape.w, shape.c_in, shape.input_border());
        let y = MapLayout::new(shape.n, shape.out_h(), shape.out_w(), shape.c_out, shape.gradient_border());
        let (mut input, output) = (made_up(x.len())?, made_up(y.len())?);
        input.iter_mut().for_each(|x| *x = x.max(0.0));
        Ok(Self { shape: *shape, x: (x, input), y: (y, output) })
    }

    fn floats(&self) -> usize {
        [self.x.0, self.y.0].iter().map(|layout| layout.pixels() * layout.c).sum()
    }
}

fn made_up(len: usize) -> io::Result<AlignedBuffer> {
    let mut buffer = AlignedBuffer::zeroed(len)?;
    // Without a pattern that branches could be foretold by.
    let mixed = |i: usize| (i as u32).wrapping_mul(0x9e37_79b1) >> 16;
    buffer.iter_mut().enumerate().for_each(|(i, x)| *x = (mixed(i) % 16) as f32 / 64.0 - 0.117);
    Ok(buffer)
}

/// A kernel of one of the passes.
enum Prepared {
    Forward(ConvForward),
    BackwardData(ConvBackwardData),
    BackwardWeights(ConvBackwardWeights),
}

impl Prepared {
    fn new(isa: Isa, algorithm: ConvAlgorithm, pass: Pass, maps: &Maps) -> Self {
        let (shape, x, y) = (&maps.shape, maps.x.0, maps.y.0);
        match pass {
            Pass::Forward => Self::Forward(ConvForward::with_algorithm(isa, algorithm, shape, x, y)),
            Pass::BackwardData => {
                Self::BackwardData(ConvBackwardData::with_algorithm(isa, algorithm, shape, y, x))
            }
            Pass::BackwardWeights => {
                Self::BackwardWeights(ConvBackwardWeights::with_algorithm(isa, algorithm, shape, x, y))
            }
        }
    }

    fn algorithm(&self) -> &'static str {
        match self {
            Self::Forward(kernel) => kernel.algorithm(),
            Self::BackwardData(kernel) => kernel.algorithm(),
            Self::BackwardWeights(kernel) => kernel.algorithm(),
        }
    }

    fn multiply_adds(&self) -> usize {
        match self {
            Self::Forward(kernel) => kernel.multiply_adds(),
            Self::BackwardData(kernel) => kernel.multiply_adds(),
            Self::BackwardWeights(kernel) => kernel.multiply_adds(),
        }
    }

    /// Floats that the kernel reads and writes beside the maps.
    fn floats(&self, shape: &ConvShape) -> usize {
        match self {
            Self::Forward(kernel) => kernel.packed_len(),
            Self::BackwardData(kernel) => kernel.packed_len(),
            Self::BackwardWeights(kernel) => shape.weight_len() + 2 * kernel.scratch_len(),
        }
    }

    /// The fastest run.
    fn time(&self, maps: &Maps, span: Duration) -> io::Result<Duration> {
        let weights = made_up(maps.shape.weight_len())?;
        let (x, y) = (&maps.x.1, &maps.y.1);
        Ok(match self {
            Self::Forward(kernel) => {
                let (bias, mut packed) =
                    (made_up(maps.shape.c_out)?, AlignedBuffer::zeroed(kernel.packed_len())?);
                kernel.pack(&weights, &mut packed);
                let mut out = AlignedBuffer::zeroed(y.len())?;
                let epilogue = Epilogue { bias: Some(&bias), relu: true, ..Epilogue::default() };
                fastest(span, || kernel.run(x, &packed, &epilogue, &mut out))
            }
            Self::BackwardData(kernel) => {
                let mut packed = AlignedBuffer::zeroed(kernel.packed_len())?;
                kernel.pack(&weights, &mut packed);
                let mut dx = AlignedBuffer::zeroed(x.len())?;
                fastest(span, || kernel.run(y, &packed, &Epilogue::default(), &mut dx))
            }
            Self::BackwardWeights(kernel) => {
                let mut scratch = AlignedBuffer::zeroed(kernel.scratch_len())?;
                let mut dw = weights;
                fastest(span, || kernel.run(x, y, &mut scratch, &mut dw))
            }
        })
    }
}

/// The fastest of at least two runs.
fn fastest(span: Duration, mut run: impl FnMut()) -> Duration {
    let mut once = || {
        let start = Instant::now();
        run();
        start.elapsed()
    };
    let (begin, first) = (Instant::now(), once());
    let mut best = first.min(once());
    while begin.elapsed() < span {
        best = best.min(once());
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(kernel: usize, stride: usize) -> ConvShape {
        ConvShape { stride: [stride; 2], ..ConvShape::of_squares(2, 16, [32; 2], kernel) }
    }

    #[test]
    fn every_pass_has_one_chosen_kernel() {
        for (kernel, stride, kernels) in [(3, 1, [5, 4, 2]), (3, 2, [3, 1, 2]), (1, 1, [3, 2, 1])] {
            let isa = Isa::detect();
            let trials = conv_trials(isa, &shape(kernel, stride), Duration::ZERO).unwrap();
            for (pass, kernels) in Pass::ALL.into_iter().zip(kernels) {
                // Zeros are left out in pairs of pixels too where vectors are wide.
                let kernels = kernels + usize::from(pass == Pass::Forward && isa.lanes() == 16);
                let of_pass: Vec<&Trial> = trials.iter().filter(|trial| trial.pass == pass).collect();
                assert_eq!(of_pass.len(), kernels, "{kernel}x{kernel}/{stride} {pass}");
                assert_eq!(of_pass.iter().filter(|trial| trial.is_chosen).count(), 1, "{pass}");
            }
        }
    }

    #[test]
    fn threads_work_in_the_memory_that_a_kernel_says() {
        let stem = ConvShape { c_in: 3, ..shape(7, 2) };
        for shape in [shape(3, 1), ConvShape { n: 9, ..shape(3, 1) }, shape(3, 2), stem, shape(1, 1)] {
            let maps = Maps::new(&shape).unwrap();
            for isa in Isa::available() {
                for pass in Pass::ALL {
                    for algorithm in ConvAlgorithm::FORCED {
                        assert_kept(&Prepared::new(isa, algorithm, pass, &maps), &maps);
                    }
                }
            }
        }
    }

    fn assert_kept(kernel: &Prepared, maps: &Maps) {
        let said = match kernel {
            Prepared::Forward(kernel) => kernel.working_memory(),
            Prepared::BackwardData(kernel) => kernel.working_memory(),
            Prepared::BackwardWeights(kernel) => kernel.working_memory(),
        };
        let kept = crate::conv::kept_by(|| {
            kernel.time(maps, Duration::ZERO).unwrap();
        });
        assert_eq!(kept, said, "{} {:?}", kernel.algorithm(), maps.shape);
    }

    /// The first forward passes by algorithms whose names begin so.
    fn forward<'a, const N: usize>(trials: &'a [Trial], names: [&str; N]) -> [&'a Trial; N] {
        names.map(|name| {
            let found =
                trials.iter().find(|trial| trial.pass == Pass::Forward && trial.algorithm.starts_with(name));
            found.unwrap_or_else(|| panic!("no {name}"))
        })
    }

    #[test]
    fn strassen_multiplies_less_and_reads_more() {
        let trials = conv_trials(Isa::detect(), &shape(1, 1), Duration::ZERO).unwrap();
        let [direct, sparse, strassen] = forward(&trials, ["direct", "sparse", "strassen"]);
        assert_eq!(2 * sparse.multiply_adds, direct.multiply_adds);
        // Seven products instead of eight, and the sums.
        assert!(8 * strassen.multiply_adds > 7 * direct.multiply_adds);
        assert!(strassen.multiply_adds < direct.multiply_adds);
        let filters = 4 * 32 * 32;
        assert_eq!(strassen.bytes - direct.bytes, filters * 7 / 4 - filters);
    }

    #[test]
    fn winograd_multiplies_less_and_reads_more() {
        let trials = conv_trials(Isa::detect(), &shape(3, 1), Duration::ZERO).unwrap();
        let [direct, winograd, small, on_the_fly] =
            forward(&trials, ["direct", "winograd 4x4", "winograd 3x3", "winograd 4x4 on the fly"]);
        assert_eq!(direct.multiply_adds, shape(3, 1).macs());
        // 36 products instead of 144 for a tile, and the transforms.
        assert!(4 * winograd.multiply_adds > direct.multiply_adds);
        assert!(winograd.multiply_adds < direct.multiply_adds);
        assert!(winograd.bytes > direct.bytes);
        // 25 products instead of 81.
        assert!(small.multiply_adds > winograd.multiply_adds);
        assert_eq!(winograd.bytes - small.bytes, 4 * (36 - 25) * 32 * 32);
        assert!(on_the_fly.multiply_adds > winograd.multiply_adds);
        assert_eq!(on_the_fly.bytes, direct.bytes);
    }
}
