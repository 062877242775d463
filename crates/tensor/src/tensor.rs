//! Dense tensors in row-major order: weights in PyTorch's layouts (OIHW), images as NCHW.

use std::sync::Arc;

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

/// Elements that several tensors share, such as those of a mapped file.
pub type SharedElements<T> = Arc<dyn AsRef<[T]> + Send + Sync>;

/// A dense tensor in row-major order. Elements that it shares are copied before they are changed.
#[derive(Clone)]
pub struct Tensor<T = f32> {
    shape: Vec<usize>,
    data: Elements<T>,
}

#[derive(Clone)]
enum Elements<T> {
    Own(Vec<T>),
    Shared(SharedElements<T>),
}

impl<T> Elements<T> {
    fn as_slice(&self) -> &[T] {
        match self {
            Self::Own(elements) => elements,
            Self::Shared(elements) => (**elements).as_ref(),
        }
    }
}

impl<T> Tensor<T> {
    /// Puts a shape around elements.
    ///
    /// # Errors
    /// When the shape's product is not the number of elements.
    pub fn new(shape: impl Into<Vec<usize>>, data: Vec<T>) -> Result<Self, ShapeError> {
        Self::with(shape.into(), Elements::Own(data))
    }

    /// Puts a shape around elements that stay where they are.
    ///
    /// # Errors
    /// As [`Tensor::new`].
    pub fn shared(shape: impl Into<Vec<usize>>, data: SharedElements<T>) -> Result<Self, ShapeError> {
        Self::with(shape.into(), Elements::Shared(data))
    }

    fn with(shape: Vec<usize>, data: Elements<T>) -> Result<Self, ShapeError> {
        let elements = data.as_slice().len();
        if element_count(&shape) == Some(elements) {
            Ok(Self { shape, data })
        } else {
            Err(ShapeError { shape, elements })
        }
    }

    /// A tensor whose element at flat index `i` is `value(i)`.
    ///
    /// # Panics
    /// When the shape's product overflows.
    pub fn from_fn(shape: impl Into<Vec<usize>>, value: impl FnMut(usize) -> T) -> Self {
        let shape = shape.into();
        let count = element_count(&shape).expect("the shape's product fits");
        Self { shape, data: Elements::Own((0..count).map(value).collect()) }
    }

    /// The sides, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements in row-major order.
    pub fn data(&self) -> &[T] {
        self.data.as_slice()
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.data().len()
    }

    /// True where there is no element.
    pub fn is_empty(&self) -> bool {
        self.data().is_empty()
    }
}

impl<T: PartialEq> PartialEq for Tensor<T> {
    fn eq(&self, other: &Self) -> bool {
        self.shape == other.shape && self.data() == other.data()
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
        Self { shape, data: Elements::Own(vec![value; count]) }
    }

    /// The elements in row-major order.
    pub fn data_mut(&mut self) -> &mut [T] {
        if let Elements::Shared(elements) = &self.data {
            self.data = Elements::Own((**elements).as_ref().to_vec());
        }
        match &mut self.data {
            Elements::Own(elements) => elements,
            Elements::Shared(_) => unreachable!("they have just been copied"),
        }
    }

    /// The elements, without the shape.
    pub fn into_data(self) -> Vec<T> {
        match self.data {
            Elements::Own(elements) => elements,
            Elements::Shared(elements) => (*elements).as_ref().to_vec(),
        }
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
        assert!(Tensor::shared([2, 3], Arc::new(vec![0; 5])).is_err());
    }

    #[test]
    fn shared_elements_are_copied_before_they_are_changed() {
        let elements: SharedElements<i32> = Arc::new(vec![1, 2]);
        let one = Tensor::shared([2], Arc::clone(&elements)).unwrap();
        let mut other = one.clone();
        assert_eq!(other.data().as_ptr(), one.data().as_ptr());
        other.data_mut()[0] = 7;
        assert_eq!((one.data(), other.data()), (&[1, 2][..], &[7, 2][..]));
        assert_ne!(one, other);
        assert_eq!(one.into_data(), [1, 2]);
    }
}
