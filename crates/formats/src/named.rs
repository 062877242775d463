//! Tensors as a file holds them, by name, with what the file says about them in words.

use std::collections::BTreeMap;
use std::sync::Arc;

use half::{bf16, f16};
use residuum_tensor::{DType, ShapeError, Tensor, element_count, floats};

use crate::bytes::Bytes;
use crate::error::{FormatError, Result};

/// A tensor as it lies in a file: element type, shape, little-endian elements in row-major order.
#[derive(Clone, Debug, PartialEq)]
pub struct RawTensor {
    dtype: DType,
    shape: Vec<usize>,
    data: Bytes,
}

impl RawTensor {
    /// Puts a type and a shape around bytes.
    ///
    /// # Errors
    /// When the bytes are not exactly what the shape needs.
    pub fn new(dtype: DType, shape: impl Into<Vec<usize>>, data: impl Into<Bytes>) -> Result<Self> {
        let (shape, data) = (shape.into(), data.into());
        let expected = element_count(&shape).and_then(|count| count.checked_mul(dtype.size_bytes()));
        if expected == Some(data.len()) {
            return Ok(Self { dtype, shape, data });
        }
        let expected = expected.map_or("more bytes than can be counted".to_owned(), |n| format!("{n} bytes"));
        let message = format!("{dtype} of shape {shape:?} needs {expected}, found {}", data.len());
        Err(FormatError::malformed("", message))
    }

    /// A tensor of `f32`.
    pub fn from_f32(tensor: &Tensor<f32>) -> Self {
        Self::from_elements(DType::F32, tensor, f32::to_le_bytes)
    }

    /// A tensor of `f32` in another type of floats, each number rounded to the nearest, of ties the even one.
    ///
    /// # Errors
    /// When the type is none of `F32`, `F16` and `BF16`, or a number is too large for it.
    pub fn from_f32_as(tensor: &Tensor<f32>, dtype: DType) -> Result<Self> {
        let raw = match dtype {
            DType::F32 => return Ok(Self::from_f32(tensor)),
            DType::F16 => Self::from_elements(dtype, tensor, |x| f16::from_f32(x).to_le_bytes()),
            DType::BF16 => Self::from_elements(dtype, tensor, |x| bf16::from_f32(x).to_le_bytes()),
            other => {
                return Err(FormatError::unsupported(
                    "",
                    format!("expected F32, F16 or BF16, found {other}"),
                ));
            }
        };
        let back = raw.to_f32()?;
        match tensor.data().iter().zip(back.data()).find(|(x, y)| x.is_finite() && !y.is_finite()) {
            Some((x, _)) => Err(FormatError::refused("", format!("{x} is too large for {dtype}"))),
            None => Ok(raw),
        }
    }

    /// A tensor of `i64`.
    pub fn from_i64(tensor: &Tensor<i64>) -> Self {
        Self::from_elements(DType::I64, tensor, i64::to_le_bytes)
    }

    /// A tensor of signed bytes.
    pub fn from_i8(tensor: &Tensor<i8>) -> Self {
        Self::from_elements(DType::I8, tensor, i8::to_le_bytes)
    }

    /// A tensor of bytes.
    pub fn from_u8(tensor: &Tensor<u8>) -> Self {
        Self::from_elements(DType::U8, tensor, |x| [x])
    }

    fn from_elements<T: Copy, const N: usize>(
        dtype: DType,
        tensor: &Tensor<T>,
        bytes: impl Fn(T) -> [u8; N],
    ) -> Self {
        let data: Vec<u8> = tensor.data().iter().flat_map(|&x| bytes(x)).collect();
        Self { dtype, shape: tensor.shape().to_vec(), data: data.into() }
    }

    /// Type of the elements.
    pub fn dtype(&self) -> DType {
        self.dtype
    }

    /// The sides, outermost first.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The elements, little endian, row-major.
    pub fn data(&self) -> &Bytes {
        &self.data
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.data.len() / self.dtype.size_bytes()
    }

    /// True where there is no element.
    pub fn is_empty(&self) -> bool {
        self.data.is_empty()
    }

    /// The elements as `f32`: exact from `F16`, `BF16`, `Bool` and integers of up to 16 bits, rounded to the nearest from
    /// the others.
    ///
    /// # Errors
    /// When the memory is not to be had.
    pub fn to_f32(&self) -> Result<Tensor<f32>> {
        match self.dtype {
            DType::F32 => self.convert(f32::from_le_bytes),
            DType::F64 => self.convert(|b| f64::from_le_bytes(b) as f32),
            DType::F16 => self.convert(|b| f16::from_le_bytes(b).to_f32()),
            DType::BF16 => self.convert(|b| bf16::from_le_bytes(b).to_f32()),
            DType::I64 => self.convert(|b| i64::from_le_bytes(b) as f32),
            DType::I32 => self.convert(|b| i32::from_le_bytes(b) as f32),
            DType::I16 => self.convert(|b| f32::from(i16::from_le_bytes(b))),
            DType::I8 => self.convert(|b| f32::from(i8::from_le_bytes(b))),
            DType::U8 => self.convert(|[b]| f32::from(b)),
            DType::Bool => self.convert(|[b]| f32::from(u8::from(b != 0))),
        }
    }

    /// [`RawTensor::to_f32`] that copies nothing where the elements are `F32` already: the tensor shares these bytes
    /// then, and where they lie in a mapped file, it stays mapped as long as the tensor is there.
    ///
    /// # Errors
    /// As [`RawTensor::to_f32`].
    pub fn share_f32(&self) -> Result<Tensor<f32>> {
        // On other systems a file cannot be replaced while it is mapped.
        if cfg!(unix) && self.dtype == DType::F32 && floats(&self.data).is_some() {
            let elements = Arc::new(Floats(self.data.clone()));
            return Tensor::shared(self.shape.clone(), elements).map_err(|error| mismatch(&error));
        }
        self.to_f32()
    }

    /// The elements as `f64`, exact from floats; from the others as [`RawTensor::to_f32`].
    ///
    /// # Errors
    /// When the memory is not to be had.
    pub fn to_f64(&self) -> Result<Tensor<f64>> {
        match self.dtype {
            DType::F64 => self.convert(f64::from_le_bytes),
            DType::F32 => self.convert(|b| f64::from(f32::from_le_bytes(b))),
            _ => {
                let narrow = self.to_f32()?;
                Ok(Tensor::from_fn(narrow.shape(), |i| f64::from(narrow.data()[i])))
            }
        }
    }

    /// The elements as `i64`, from integers and `Bool`.
    ///
    /// # Errors
    /// When the elements are floats, or the memory is not to be had.
    pub fn to_i64(&self) -> Result<Tensor<i64>> {
        match self.dtype {
            DType::I64 => self.convert(i64::from_le_bytes),
            DType::I32 => self.convert(|b| i64::from(i32::from_le_bytes(b))),
            DType::I16 => self.convert(|b| i64::from(i16::from_le_bytes(b))),
            DType::I8 => self.convert(|b| i64::from(i8::from_le_bytes(b))),
            DType::U8 => self.convert(|[b]| i64::from(b)),
            DType::Bool => self.convert(|[b]| i64::from(b != 0)),
            found => Err(FormatError::mismatch("", format!("expected integers, found {found}"))),
        }
    }

    /// The elements as bytes, from `U8` only.
    ///
    /// # Errors
    /// When the elements are of another type, or the memory is not to be had.
    pub fn to_u8(&self) -> Result<Tensor<u8>> {
        match self.dtype {
            DType::U8 => self.convert(|[b]| b),
            found => Err(FormatError::mismatch("", format!("expected {}, found {found}", DType::U8))),
        }
    }

    fn convert<T, const N: usize>(&self, element: impl Fn([u8; N]) -> T) -> Result<Tensor<T>> {
        let (chunks, _) = self.data.as_chunks::<N>();
        let mut elements = Vec::new();
        let no_memory = |_| FormatError::out_of_memory("", chunks.len().saturating_mul(size_of::<T>()));
        elements.try_reserve_exact(chunks.len()).map_err(no_memory)?;
        elements.extend(chunks.iter().map(|&chunk| element(chunk)));
        Tensor::new(self.shape.clone(), elements).map_err(|error| mismatch(&error))
    }
}

fn mismatch(error: &ShapeError) -> FormatError {
    FormatError::mismatch("", error.to_string())
}

/// Bytes that are known to be floats.
struct Floats(Bytes);

impl AsRef<[f32]> for Floats {
    fn as_ref(&self) -> &[f32] {
        floats(&self.0).unwrap_or_default()
    }
}

/// Tensors by name, sorted, and text about them by key.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NamedTensors {
    tensors: BTreeMap<String, RawTensor>,
    /// What the file says in words, such as `format`, `epoch` or `residuum.architecture`.
    pub metadata: BTreeMap<String, String>,
}

impl NamedTensors {
    /// No tensors, no metadata.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tensor; gives back the one that had its name.
    pub fn insert(&mut self, name: impl Into<String>, tensor: RawTensor) -> Option<RawTensor> {
        self.tensors.insert(name.into(), tensor)
    }

    /// Takes a tensor out.
    pub fn remove(&mut self, name: &str) -> Option<RawTensor> {
        self.tensors.remove(name)
    }

    /// The tensor of that name.
    pub fn get(&self, name: &str) -> Option<&RawTensor> {
        self.tensors.get(name)
    }

    /// The tensor of that name, which must be there.
    ///
    /// # Errors
    /// When it is not; the message says how many others are.
    pub fn require(&self, name: &str) -> Result<&RawTensor> {
        self.get(name).ok_or_else(|| {
            let first =
                self.names().next().map_or(String::new(), |first| format!(", the first is `{first}`"));
            FormatError::mismatch(name, format!("no such tensor among {}{first}", self.len()))
        })
    }

    /// The names, sorted.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }

    /// Names and tensors, sorted by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &RawTensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// Number of tensors.
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// True where there is no tensor.
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// Removes a prefix from the names where every one of them has it.
    pub(crate) fn strip_prefix(&mut self, prefix: &str) {
        if !self.is_empty() && self.names().all(|name| name.len() > prefix.len() && name.starts_with(prefix))
        {
            let tensors = std::mem::take(&mut self.tensors);
            self.tensors =
                tensors.into_iter().map(|(name, t)| (name[prefix.len()..].to_owned(), t)).collect();
        }
    }
}

impl FromIterator<(String, RawTensor)> for NamedTensors {
    fn from_iter<I: IntoIterator<Item = (String, RawTensor)>>(iter: I) -> Self {
        Self { tensors: iter.into_iter().collect(), metadata: BTreeMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    fn raw(dtype: DType, shape: &[usize], data: &[u8]) -> RawTensor {
        RawTensor::new(dtype, shape, data.to_vec()).unwrap()
    }

    #[test]
    fn every_element_type_becomes_f32() {
        let cases = [
            (DType::F32, (-1.5f32).to_le_bytes().to_vec(), -1.5),
            (DType::F64, 0.1f64.to_le_bytes().to_vec(), 0.1),
            (DType::F16, vec![0x00, 0xc2], -3.0),
            (DType::BF16, vec![0x40, 0xc0], -3.0),
            (DType::I64, (-7i64).to_le_bytes().to_vec(), -7.0),
            (DType::I32, 70_000i32.to_le_bytes().to_vec(), 70_000.0),
            (DType::I16, (-300i16).to_le_bytes().to_vec(), -300.0),
            (DType::I8, vec![0xff], -1.0),
            (DType::U8, vec![0xff], 255.0),
            (DType::Bool, vec![1], 1.0),
        ];
        for (dtype, bytes, expected) in cases {
            let tensor = raw(dtype, &[1], &bytes);
            assert_eq!(tensor.to_f32().unwrap().data(), [expected], "{dtype}");
            let wide = if dtype == DType::F64 { 0.1 } else { f64::from(expected) };
            assert_eq!(tensor.to_f64().unwrap().data(), [wide], "{dtype}");
        }
    }

    #[test]
    fn integers_come_out_as_they_went_in() {
        let tensor = Tensor::new([2], vec![i64::MIN, 9]).unwrap();
        assert_eq!(RawTensor::from_i64(&tensor).to_i64().unwrap(), tensor);
        assert_eq!(raw(DType::I8, &[1], &[0xfe]).to_i64().unwrap().data(), [-2]);
        assert_eq!(raw(DType::F32, &[0], &[]).to_i64().unwrap_err().kind(), ErrorKind::Mismatch);
        let bytes = Tensor::new([1, 2], vec![1u8, 2]).unwrap();
        assert_eq!(RawTensor::from_u8(&bytes).to_u8().unwrap(), bytes);
        assert!(raw(DType::I8, &[1], &[1]).to_u8().is_err());
    }

    #[test]
    fn floats_are_halved_to_the_nearest() {
        let tensor = Tensor::new([4], vec![1.0, -std::f32::consts::PI, 1e-3, 0.0]).unwrap();
        for (dtype, expected) in [
            (DType::BF16, [1.0, -3.140_625, 0.000_999_450_7]),
            (DType::F16, [1.0, -3.140_625, 0.001_000_404_4]),
        ] {
            let raw = RawTensor::from_f32_as(&tensor, dtype).unwrap();
            assert_eq!((raw.dtype(), raw.data().len()), (dtype, 8));
            assert_eq!(raw.to_f32().unwrap().data()[..3], expected, "{dtype}");
        }
        let large = Tensor::new([1], vec![1e5]).unwrap();
        assert!(RawTensor::from_f32_as(&large, DType::BF16).is_ok());
        let error = RawTensor::from_f32_as(&large, DType::F16).unwrap_err().to_string();
        assert!(error.contains("100000") && error.contains("F16"), "{error}");
        assert!(RawTensor::from_f32_as(&large, DType::I8).is_err());
    }

    #[test]
    fn bytes_must_fit_the_shape() {
        assert!(RawTensor::new(DType::F32, [2], vec![0; 7]).is_err());
        assert!(RawTensor::new(DType::F32, [usize::MAX, 4], vec![0; 7]).is_err());
        assert_eq!(raw(DType::F32, &[], &[0; 4]).len(), 1);
    }

    #[test]
    fn a_prefix_goes_only_where_all_have_it() {
        let one = || raw(DType::U8, &[1], &[1]);
        let mut all: NamedTensors =
            [("module.a".to_owned(), one()), ("module.b".to_owned(), one())].into_iter().collect();
        all.strip_prefix("module.");
        assert_eq!(all.names().collect::<Vec<_>>(), ["a", "b"]);
        all.insert("module.c", one());
        all.strip_prefix("module.");
        assert_eq!(all.names().collect::<Vec<_>>(), ["a", "b", "module.c"]);
        let error = all.require("d").unwrap_err().to_string();
        assert!(error.contains("`a`") && error.contains('d'), "{error}");
    }
}
