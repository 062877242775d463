//! Speed of the three passes of a convolution, in percent of the measured peak: directly, and by Winograd's
//! minimal filtering where that is possible. Multiply-adds are those of the definition, so the latter may
//! exceed 100 %.
//!
//! `cargo run --release -p residuum-kernels --example conv_speed [THREADS] [BATCH]`; `RESIDUUM_ISA` chooses
//! the instruction set. The `ResNet-50` layers run at BATCH, those of the CIFAR network at 128 images. The best
//! of many runs counts, for other programs may share the cores.
#![allow(clippy::print_stdout, reason = "it is a program")]

use residuum_kernels::conv::{ConvAlgorithm, ConvBackwardData, ConvBackwardWeights, ConvForward, Epilogue};
use residuum_kernels::peak::{memory_bandwidth, peak_flops};
use residuum_kernels::{ConvShape, Isa};
use residuum_tensor::{AlignedBuffer, MapLayout};
use std::time::Instant;

/// (images or 0 for BATCH, size, `c_in`, `c_out`, kernel, stride)
const LAYERS: [(usize, usize, usize, usize, usize, usize); 20] = [
    (0, 224, 3, 64, 7, 2),
    (0, 56, 64, 64, 1, 1),
    (0, 56, 64, 64, 3, 1),
    (0, 56, 64, 256, 1, 1),
    (0, 56, 256, 64, 1, 1),
    (0, 56, 256, 512, 1, 2),
    (0, 28, 128, 128, 3, 1),
    (0, 28, 512, 128, 1, 1),
    (0, 28, 256, 256, 3, 2),
    (0, 14, 256, 256, 3, 1),
    (0, 14, 256, 1024, 1, 1),
    (0, 14, 1024, 256, 1, 1),
    (0, 7, 512, 512, 3, 1),
    (0, 7, 512, 2048, 1, 1),
    (0, 7, 2048, 512, 1, 1),
    (128, 32, 3, 16, 3, 1),
    (128, 32, 16, 16, 3, 1),
    (128, 32, 16, 32, 3, 2),
    (128, 16, 32, 32, 3, 1),
    (128, 8, 64, 64, 3, 1),
];

fn main() {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<usize>().expect("a number"));
    let (threads, batch) = (arguments.next().unwrap_or(2), arguments.next().unwrap_or(8));
    let isa = Isa::from_env().expect("the instruction set");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    pool.install(|| {
        let peak = peak_flops(isa);
        let bandwidth = memory_bandwidth(isa).unwrap_or(0.0);
        println!("{isa}, {threads} threads: {:.1} GF/s, {:.1} GB/s", peak / 1e9, bandwidth / 1e9);
        println!(
            "layer                                    forward          data       weights  filters  (us, %)"
        );
        for (images, size, c_in, c_out, kernel, stride) in LAYERS {
            let shape = ConvShape {
                n: if images == 0 { batch } else { images },
                h: size,
                w: size,
                c_in,
                c_out,
                kernel: [kernel; 2],
                stride: [stride; 2],
                padding: [kernel / 2; 2],
                dilation: [1; 2],
                groups: 1,
            };
            layer(isa, &shape, peak);
        }
    });
}

fn layer(isa: Isa, shape: &ConvShape, peak: f64) {
    let is_winograd = (shape.kernel, shape.stride) == ([3; 2], [1; 2]);
    for algorithm in [ConvAlgorithm::Direct, ConvAlgorithm::Winograd] {
        if algorithm == ConvAlgorithm::Direct || is_winograd {
            passes(isa, algorithm, shape, peak);
        }
    }
}

fn passes(isa: Isa, algorithm: ConvAlgorithm, shape: &ConvShape, peak: f64) {
    let x = MapLayout::new(shape.n, shape.h, shape.w, shape.c_in, shape.input_border());
    let y = MapLayout::new(shape.n, shape.out_h(), shape.out_w(), shape.c_out, shape.gradient_border());
    let (mut x_map, mut y_map) = (buffer(x.len()), buffer(y.len()));
    let weights = buffer(shape.weight_len());

    let conv = ConvForward::with_algorithm(isa, algorithm, shape, x, y);
    let mut packed = buffer(conv.packed_len());
    let filters = best(|| conv.pack(&weights, &mut packed));
    let bias = buffer(shape.c_out);
    let epilogue = Epilogue { bias: Some(&bias), relu: true, ..Epilogue::default() };
    let forward = best(|| conv.run(&x_map, &packed, &epilogue, &mut y_map));

    let conv = ConvBackwardData::with_algorithm(isa, algorithm, shape, y, x);
    let mut packed = buffer(conv.packed_len());
    conv.pack(&weights, &mut packed);
    let data = best(|| conv.run(&y_map, &packed, &Epilogue::default(), &mut x_map));

    let conv = ConvBackwardWeights::with_algorithm(isa, algorithm, shape, x, y);
    let (mut scratch, mut dw) = (buffer(conv.scratch_len()), buffer(shape.weight_len()));
    let weights = best(|| conv.run(&x_map, &y_map, &mut scratch, &mut dw));

    let ConvShape { n, h, c_in, c_out, kernel: [k, _], stride: [s, _], .. } = shape;
    let name = if algorithm == ConvAlgorithm::Direct { "" } else { "winograd" };
    print!("{:<36}", format!("{n}x{h}x{h} {c_in}->{c_out} {k}x{k}/{s} {name}"));
    for seconds in [forward, data, weights] {
        print!(" {:8.0} {:3.0} %", seconds * 1e6, 200.0 * shape.macs() as f64 / seconds / peak);
    }
    println!(" {:8.0}", filters * 1e6);
}

fn buffer(len: usize) -> AlignedBuffer {
    let mut buffer = AlignedBuffer::zeroed(len).expect("memory");
    buffer.iter_mut().enumerate().for_each(|(i, x)| *x = (i % 17) as f32 / 64.0 - 0.125);
    buffer
}

fn best(mut run: impl FnMut()) -> f64 {
    let (begin, mut best) = (Instant::now(), f64::INFINITY);
    while begin.elapsed().as_secs_f64() < 0.3 {
        let start = Instant::now();
        run();
        best = best.min(start.elapsed().as_secs_f64());
    }
    best
}
