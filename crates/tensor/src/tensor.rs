//! Dense tensors in row-major order: weights in PyTorch's layouts (OIHW), images as NCHW.

/// Number of elements of a shape, or `None` where the product does not fit.
pub fn element_count(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |count, &side| count.checked_mul(side))
}

/// A shape and a buffer that do not belong together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeError {
    /// The shape asked for.
    pub shape: Vec<usize>,
    /// How many elements there were.
    pub elements: usize,
}

impl std::fmt::Display for ShapeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a tensor of shape {:?} cannot hold {} elements", self.shape, self.elements)
    }
}

impl std::error::Error for ShapeError {}

/// A dense tensor in row-major order.
#[derive(Clone, PartialEq)]
pub struct Tensor<T = f32> {
    shape: Vec<usize>,
    data: Vec<T>,
}

impl<T> Tensor<T> {
    /// Puts a shape around elements.
    ///
    /// # Errors
    /// When the shape's product is not the number of elements.
    pub fn new(shape: impl Into<Vec<usize>>, data: Vec<T>) -> Result<Self, ShapeError> {
        let shape = shape.into();
        if element_count(&shape) == Some(data.len()) {
            Ok(Self { shape, data })
        } else {
            Err(ShapeError { shape, elements: data.len() })
        }
    }

    /// A tensor whose element at flat index `i` is `value(i)`.
    ///
    /// # Panics
    /// When the shape's product overflows.
    pub fn from_fn(shape: impl Into<Vec<usize>>, value: impl FnMut(usize) -> T) -> Self {
        let shape = shape.into();
        let count = element_count(&shape).expect("the shape's product fits");
        Self { shape, data: (0..count).map(value).collect() }
    }

    /// The sides, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements in row-major order.
    pub fn data(&self) -> &[T] {
        &self.data
    }

    /// The elements in row-major order.
    pub fn data_mut(&mut self) -> &mut [T] {
        &mut self.data
    }

    /// The elements, without the shape.
    pub fn into_data(self) -> Vec<T> {
        self.data
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.data.len()
    }

    /// True where there is no element.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }
}

impl<T: Clone> Tensor<T> {
    /// A tensor filled with one value.
    ///
    /// # Panics
    /// When the shape's product overflows.
    pub fn filled(shape: impl Into<Vec<usize>>, value: T) -> Self {
        let shape = shape.into();
        let count = element_count(&shape).expect("the shape's product fits");
        Self { shape, data: vec![value; count] }
    }
}

impl<T> std::fmt::Debug for Tensor<T> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tensor{:?}", self.shape)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_that_does_not_fit_is_refused() {
        assert!(Tensor::new([2, 3], vec![0; 6]).is_ok());
        assert_eq!(Tensor::new([2, 3], vec![0; 5]).unwrap_err().elements, 5);
        assert!(Tensor::new([usize::MAX, 2], vec![0; 6]).is_err());
    }
}
