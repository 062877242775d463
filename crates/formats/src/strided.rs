//! Elements picked by strides out of a flat buffer, put into row-major order.

use residuum_tensor::element_count;

use crate::bytes::Bytes;
use crate::error::{FormatError, Result};

const MAX_RANK: usize = 32;

/// Bytes that may be copied for a file of `len` bytes.
pub(crate) fn copy_budget(len: usize) -> usize {
    (64 << 20) + len.saturating_mul(2)
}

/// A tensor as a window on a buffer: all counted in elements.
pub(crate) struct Strided<'a> {
    pub(crate) offset: usize,
    pub(crate) shape: &'a [usize],
    pub(crate) strides: &'a [usize],
}

impl Strided<'_> {
    /// The window's elements in row-major order. Where they lie so already, nothing is copied.
    ///
    /// What is copied is taken from `budget`, in bytes: strides may repeat elements, and a broadcast tensor
    /// of a few bytes, or a thousand windows on one buffer, must not grow into gigabytes.
    pub(crate) fn gather(
        &self,
        buffer: &Bytes,
        element_bytes: usize,
        budget: &mut usize,
        place: &str,
    ) -> Result<Bytes> {
        let Self { offset, shape, strides } = *self;
        if shape.len() != strides.len() || shape.len() > MAX_RANK {
            let message = format!("shape {shape:?} and strides {strides:?} do not belong together");
            return Err(FormatError::malformed(place, message));
        }
        let too_large = || FormatError::malformed(place, format!("the product of shape {shape:?} overflows"));
        let count = element_count(shape).ok_or_else(too_large)?;
        let len_bytes = count.checked_mul(element_bytes).ok_or_else(too_large)?;
        if count == 0 {
            return Ok(Bytes::from(Vec::new()));
        }
        let last = self.last_element();
        let available = buffer.len() / element_bytes;
        if last >= available as u128 {
            let message = format!(
                "shape {shape:?} with strides {strides:?} at offset {offset} reaches element {last} of a storage of {available}"
            );
            return Err(FormatError::malformed(place, message));
        }
        if is_row_major(shape, strides) {
            let start = offset * element_bytes;
            return buffer.slice(start..start + len_bytes).ok_or_else(too_large);
        }
        *budget = budget.checked_sub(len_bytes).ok_or_else(|| {
            let message =
                format!("{len_bytes} bytes to copy, {budget} are allowed for a file of this length");
            FormatError::limit(place, message)
        })?;
        self.copy(buffer, element_bytes, len_bytes, place)
    }

    /// Index of the farthest element. 2^64 times 2^64 times a rank of 32 does not fit `u128`: saturate.
    fn last_element(&self) -> u128 {
        let reach =
            self.shape.iter().zip(self.strides).map(|(&side, &stride)| (side as u128 - 1) * stride as u128);
        reach.fold(self.offset as u128, u128::saturating_add)
    }

    fn copy(&self, buffer: &[u8], element_bytes: usize, len_bytes: usize, place: &str) -> Result<Bytes> {
        let mut out = Vec::new();
        out.try_reserve_exact(len_bytes).map_err(|_| FormatError::out_of_memory(place, len_bytes))?;
        let mut index = vec![0; self.shape.len()];
        while out.len() < len_bytes {
            let at: usize =
                self.offset + index.iter().zip(self.strides).map(|(i, stride)| i * stride).sum::<usize>();
            out.extend_from_slice(&buffer[at * element_bytes..(at + 1) * element_bytes]);
            for (i, &side) in index.iter_mut().zip(self.shape).rev() {
                *i += 1;
                if *i < side {
                    break;
                }
                *i = 0;
            }
        }
        Ok(Bytes::from(out))
    }
}

fn is_row_major(shape: &[usize], strides: &[usize]) -> bool {
    let mut expected = 1;
    shape.iter().zip(strides).rev().all(|(&side, &stride)| {
        let fits = side == 1 || stride == expected;
        expected *= side;
        fits
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn gather(offset: usize, shape: &[usize], strides: &[usize]) -> Result<Vec<u8>> {
        let buffer = Bytes::from((0..12).collect::<Vec<u8>>());
        Strided { offset, shape, strides }.gather(&buffer, 1, &mut 12, "t").map(|bytes| bytes.to_vec())
    }

    #[test]
    fn picks_by_offset_and_strides() {
        assert_eq!(gather(2, &[2, 3], &[3, 1]).unwrap(), [2, 3, 4, 5, 6, 7]);
        assert_eq!(gather(0, &[3, 2], &[1, 3]).unwrap(), [0, 3, 1, 4, 2, 5]);
        assert_eq!(
            gather(1, &[1, 2], &[99, 5]).unwrap(),
            [1, 6],
            "the stride of a side of one is never used"
        );
        assert_eq!(gather(5, &[], &[]).unwrap(), [5]);
        assert_eq!(gather(4, &[3], &[0]).unwrap(), [4, 4, 4]);
        assert!(gather(99, &[0, 7], &[usize::MAX, 1]).unwrap().is_empty());
    }

    #[test]
    fn what_reaches_beyond_the_storage_or_blows_up_is_refused() {
        for (offset, shape, strides) in [
            (7, vec![2, 3], vec![3, 1]),
            (12, vec![1], vec![1]),
            (0, vec![13], vec![1]),
            (0, vec![2], vec![usize::MAX]),
            (usize::MAX, vec![2, 2], vec![usize::MAX, usize::MAX]),
            (0, vec![usize::MAX, 2], vec![0, 0]),
            (0, vec![usize::MAX; 32], vec![usize::MAX; 32]),
            (0, vec![2], vec![1, 1]),
            (0, vec![1; 33], vec![1; 33]),
        ] {
            assert_eq!(
                gather(offset, &shape, &strides).unwrap_err().kind(),
                ErrorKind::Malformed,
                "{shape:?}"
            );
        }
        assert_eq!(gather(0, &[13], &[0]).unwrap_err().kind(), ErrorKind::Limit);
    }
}
