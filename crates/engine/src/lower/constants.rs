//! Filters that never change: packed once, all layers at the same time, from where they lie.

use rayon::prelude::*;
use residuum_tensor::AlignedBuffer;

use crate::error::EngineError;
use crate::memory::allocate;
use crate::step::{Action, Place, Step};

/// Floats between the beginnings of packed filters, a cache line.
const ALIGNMENT: usize = 16;

/// Filters to be packed.
#[derive(Default)]
pub(super) struct Constants<'a> {
    filters: Vec<Constant<'a>>,
    /// Floats of all packed forms.
    len: usize,
}

struct Constant<'a> {
    /// Index of the step that reads them.
    step: usize,
    weights: &'a [f32],
    /// What each output channel is multiplied by: the scale of the norm behind the convolution.
    scales: Option<Vec<f64>>,
    place: Place,
}

impl<'a> Constants<'a> {
    /// The place for the filters of a step, whose packed form has `len` floats.
    pub(super) fn add(
        &mut self,
        step: usize,
        weights: &'a [f32],
        scales: Option<Vec<f64>>,
        len: usize,
    ) -> Place {
        let place = self.len..self.len + len;
        self.len = place.end.next_multiple_of(ALIGNMENT);
        self.filters.push(Constant { step, weights, scales, place: place.clone() });
        place
    }

    /// Packs all of them for their steps.
    pub(super) fn pack(&self, steps: &[Step]) -> Result<AlignedBuffer, EngineError> {
        let mut packed = allocate("the packed filters", self.len)?;
        let (mut rest, mut at) = (&mut packed[..], 0);
        let mut tasks = Vec::with_capacity(self.filters.len());
        for filters in &self.filters {
            let (part, after) = rest.split_at_mut(filters.place.end - at);
            tasks.push((filters, &mut part[filters.place.start - at..]));
            (rest, at) = (after, filters.place.end);
        }
        tasks.into_par_iter().for_each(|(filters, packed)| {
            let Constant { step, weights, scales, .. } = filters;
            match &steps[*step].action {
                Action::Conv { kernel, .. } => kernel.pack_scaled(weights, scales.as_deref(), packed),
                Action::ConvBackwardData { kernel, .. } => kernel.pack(weights, packed),
                action => unreachable!("{action:?} has no filters of floats"),
            }
        });
        Ok(packed)
    }
}
