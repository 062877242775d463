//! A dense convolution in `f64` while it is being rewritten.

use super::error::RewriteError;
use super::matrix::Matrix;
use crate::op::Conv2d;

/// How a layer hands a signal on beside its own work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Carry {
    /// The window's centre; every `stride`-th position where the layer strides.
    Centre,
    /// The mean of the 2×2 positions that begin at the centre.
    Mean,
}

/// Filters `[out, in, kernel]` without groups, a bias for each output, and where the windows lie.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Layer {
    /// The name that it will have.
    pub(crate) name: String,
    pub(crate) weight: Vec<f64>,
    pub(crate) bias: Vec<f64>,
    pub(crate) inputs: usize,
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    pub(crate) padding: [usize; 2],
    pub(crate) dilation: [usize; 2],
    /// Groups that it may be written with as long as nothing has been added to it.
    pub(crate) groups: usize,
}

impl Layer {
    /// A convolution whose `weight` is grouped as `conv` says.
    pub(crate) fn new(name: &str, conv: &Conv2d, weight: &[f64], bias: Option<Vec<f64>>) -> Self {
        let taps = conv.kernel[0] * conv.kernel[1];
        let (read, made) = (conv.c_in / conv.groups, conv.c_out / conv.groups);
        let mut dense = vec![0.0; conv.c_out * conv.c_in * taps];
        for (o, filter) in weight.chunks_exact(read * taps).enumerate() {
            let start = (o * conv.c_in + o / made * read) * taps;
            dense[start..start + read * taps].copy_from_slice(filter);
        }
        Self {
            name: name.to_owned(),
            weight: dense,
            bias: bias.unwrap_or_else(|| vec![0.0; conv.c_out]),
            inputs: conv.c_in,
            kernel: conv.kernel,
            stride: conv.stride,
            padding: conv.padding,
            dilation: conv.dilation,
            groups: conv.groups,
        }
    }

    /// The 1×1 convolution by a matrix and a shift.
    pub(crate) fn pointwise(name: &str, matrix: &Matrix, bias: Vec<f64>) -> Self {
        let mut layer = Self {
            name: name.to_owned(),
            weight: Vec::new(),
            bias: Vec::new(),
            inputs: matrix.columns,
            kernel: [1; 2],
            stride: [1; 2],
            padding: [0; 2],
            dilation: [1; 2],
            groups: 1,
        };
        layer.weight = vec![0.0; matrix.height() * matrix.columns];
        layer.bias = bias;
        layer.add_at(&[(0, 1.0)], 0, matrix);
        layer
    }

    pub(crate) fn outputs(&self) -> usize {
        self.bias.len()
    }

    pub(crate) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// The filters as they are written: `[out, in / groups, kernel]`.
    pub(crate) fn filters(&self) -> std::borrow::Cow<'_, [f64]> {
        if self.groups == 1 {
            return self.weight[..].into();
        }
        let (row, made) = (self.inputs * self.taps(), self.outputs() / self.groups);
        let part = row / self.groups;
        let filters = self.weight.chunks_exact(row).enumerate();
        filters.flat_map(|(o, filter)| &filter[o / made * part..][..part]).copied().collect()
    }

    /// The same convolution of a signal that is read as `matrix` from other channels.
    pub(crate) fn reading(self, matrix: &Matrix) -> Self {
        if matrix.is_identity() {
            return self;
        }
        let taps = self.taps();
        let mut weight = vec![0.0; self.outputs() * matrix.columns * taps];
        for (old, new) in
            self.weight.chunks_exact(self.inputs * taps).zip(weight.chunks_exact_mut(matrix.columns * taps))
        {
            for (filter, row) in old.chunks_exact(taps).zip(&matrix.rows) {
                for &(column, value) in row {
                    let target = &mut new[column * taps..(column + 1) * taps];
                    target.iter_mut().zip(filter).for_each(|(to, from)| *to += value * from);
                }
            }
        }
        Self { weight, inputs: matrix.columns, groups: 1, ..self }
    }

    /// `scale · self + shift`, for each output.
    pub(crate) fn scale(&mut self, scale: &[f64], shift: &[f64]) {
        let row = self.inputs * self.taps();
        for (filter, a) in self.weight.chunks_exact_mut(row).zip(scale) {
            for w in filter {
                *w *= a;
            }
        }
        for ((b, a), t) in self.bias.iter_mut().zip(scale).zip(shift) {
            *b = a * *b + t;
        }
    }

    /// Adds `matrix` times the copied signal to the outputs, and `bias` to theirs.
    pub(crate) fn add(&mut self, matrix: &Matrix, bias: &[f64], carry: Carry) -> Result<(), RewriteError> {
        self.groups = 1;
        let taps = self.copy_taps(carry)?;
        self.add_at(&taps, 0, matrix);
        self.bias.iter_mut().zip(bias).for_each(|(b, more)| *b += more);
        Ok(())
    }

    /// Adds outputs: `matrix` times the copied signal, plus `bias`.
    pub(crate) fn append(&mut self, matrix: &Matrix, bias: &[f64], carry: Carry) -> Result<(), RewriteError> {
        self.groups = 1;
        let taps = self.copy_taps(carry)?;
        let first = self.outputs();
        self.weight.resize((first + matrix.height()) * self.inputs * self.taps(), 0.0);
        self.bias.extend(bias);
        self.add_at(&taps, first, matrix);
        Ok(())
    }

    /// Adds the outputs of a layer whose windows lie at the same places, times `sign`.
    pub(crate) fn append_layer(&mut self, other: &Self, sign: f64) {
        self.groups = 1;
        self.weight.extend(other.weight.iter().map(|w| sign * w));
        self.bias.extend(other.bias.iter().map(|b| sign * b));
    }

    fn add_at(&mut self, taps: &[(usize, f64)], first: usize, matrix: &Matrix) {
        for (o, row) in matrix.rows.iter().enumerate() {
            for &(column, value) in row {
                let start = ((first + o) * self.inputs + column) * self.taps();
                for &(tap, part) in taps {
                    self.weight[start + tap] += part * value;
                }
            }
        }
    }

    /// Places and values of the taps that copy a channel; grows a 1×1 kernel that has no room for them.
    fn copy_taps(&mut self, carry: Carry) -> Result<Vec<(usize, f64)>, RewriteError> {
        if carry == Carry::Mean && self.kernel == [1, 1] && self.padding == [0, 0] {
            self.widen();
        }
        let taps = copy_taps(carry, self.kernel, self.padding, self.dilation);
        taps.ok_or_else(|| {
            let what = match carry {
                Carry::Centre => "an odd kernel whose padding keeps the size",
                Carry::Mean => "a kernel of 3×3, or 1×1, whose padding keeps the size",
            };
            let reason = format!(
                "to carry a shortcut it needs {what}, found {}×{} with padding {:?} and dilation {:?}",
                self.kernel[0], self.kernel[1], self.padding, self.dilation
            );
            RewriteError::new(&self.name, reason)
        })
    }

    /// The same layer with a 1×1 kernel, where a 3×3 has nothing beside its centre.
    pub(crate) fn narrowed(self) -> Self {
        let is_embedded = (self.kernel, self.padding) == ([3; 2], [1; 2])
            && self.weight.chunks_exact(9).all(|taps| (0..9).all(|tap| tap == 4 || taps[tap] == 0.0));
        if !is_embedded {
            return self;
        }
        let weight = self.weight.chunks_exact(9).map(|taps| taps[4]).collect();
        Self { weight, kernel: [1; 2], padding: [0; 2], ..self }
    }

    /// Embeds a 1×1 kernel in the centre of a 3×3.
    fn widen(&mut self) {
        let mut weight = vec![0.0; 9 * self.weight.len()];
        self.weight.iter().enumerate().for_each(|(i, &w)| weight[9 * i + 4] = w);
        *self = Self { weight, kernel: [3; 2], padding: [1; 2], dilation: [1; 2], ..self.clone() };
    }
}

/// Places and values of the taps of a kernel that copy one channel, where the windows allow it.
pub(crate) fn copy_taps(
    carry: Carry,
    kernel: [usize; 2],
    padding: [usize; 2],
    dilation: [usize; 2],
) -> Option<Vec<(usize, f64)>> {
    let keeps_size = |i: usize| kernel[i] % 2 == 1 && padding[i] == dilation[i] * (kernel[i] / 2);
    if !(keeps_size(0) && keeps_size(1)) {
        return None;
    }
    match carry {
        Carry::Centre => Some(vec![(kernel[0] / 2 * kernel[1] + kernel[1] / 2, 1.0)]),
        Carry::Mean if kernel == [3, 3] && dilation == [1, 1] => {
            Some([4, 5, 7, 8].map(|tap| (tap, 0.25)).to_vec())
        }
        Carry::Mean => None,
    }
}
