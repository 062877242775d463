//! `.caffemodel` and `.binaryproto`: messages of Caffe's schema on protobuf's wire. Of a layer only what
//! carries numbers is read; how it computes is the definition's affair.

use std::collections::HashSet;

use residuum_tensor::DType;

use super::MAX_LAYERS;
use crate::bytes::Bytes;
use crate::error::{FormatError, Result};
use crate::named::RawTensor;
use crate::wire::{Field, Value, fields};

/// Most blobs of a layer; batch norm has three.
const MAX_BLOBS: usize = 64;
/// Most sides of a blob, Caffe's own limit.
const MAX_RANK: usize = 32;

/// What a `.caffemodel` holds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct CaffeWeights {
    /// Name of the network.
    pub name: String,
    /// All layers in the file's order, those without numbers among them.
    pub layers: Vec<LayerWeights>,
}

impl CaffeWeights {
    /// The layer of a name; where several share it, the one that has numbers.
    pub fn layer(&self, name: &str) -> Option<&LayerWeights> {
        let mut named = self.layers.iter().filter(|layer| layer.name == name);
        let first = named.next()?;
        if first.blobs.is_empty() {
            named.find(|layer| !layer.blobs.is_empty()).or(Some(first))
        } else {
            Some(first)
        }
    }
}

/// The numbers of a layer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayerWeights {
    /// Name of the layer, by which it belongs to one of the definition.
    pub name: String,
    /// Its type as today's encoding calls it, such as `Convolution`; `type N` for a number without a name.
    pub kind: String,
    /// Its numbers: weights, then bias; for batch norm mean, variance, and the factor that both have
    /// accumulated. Shapes are the file's: older ones have four sides, of which the first may be ones.
    pub blobs: Vec<RawTensor>,
}

/// Numbers of the fields that differ between the two encodings of a layer.
struct Encoding {
    /// Field of the network.
    field: u64,
    /// What it is called in a message.
    word: &'static str,
    name: u64,
    kind: u64,
    blobs: u64,
    /// Field of the oldest encoding, which is refused.
    oldest: Option<u64>,
}

const LAYER: Encoding = Encoding { field: 100, word: "layer", name: 1, kind: 2, blobs: 7, oldest: None };
const LAYERS: Encoding = Encoding { field: 2, word: "layers", name: 4, kind: 5, blobs: 6, oldest: Some(1) };
const NET_NAME: u64 = 1;

/// Types of the encoding of numbers, by the names of today's.
pub(super) const OLD_KINDS: [(u64, &str, &str); 12] = [
    (3, "CONCAT", "Concat"),
    (4, "CONVOLUTION", "Convolution"),
    (5, "DATA", "Data"),
    (6, "DROPOUT", "Dropout"),
    (14, "INNER_PRODUCT", "InnerProduct"),
    (15, "LRN", "LRN"),
    (17, "POOLING", "Pooling"),
    (18, "RELU", "ReLU"),
    (20, "SOFTMAX", "Softmax"),
    (21, "SOFTMAX_LOSS", "SoftmaxWithLoss"),
    (22, "SPLIT", "Split"),
    (25, "ELTWISE", "Eltwise"),
];

/// True where all of the file is fields and some of them are layers.
pub(crate) fn is_caffemodel(file: &Bytes) -> bool {
    let mut has_layer = false;
    for field in fields(file) {
        let Ok(field) = field else { return false };
        has_layer |= [LAYER.field, LAYERS.field].contains(&field.number) && field.bytes().is_ok();
    }
    has_layer
}

pub(super) fn read(file: &Bytes) -> Result<CaffeWeights> {
    let mut weights = CaffeWeights::default();
    let mut encoding: Option<&'static Encoding> = None;
    for field in fields(file) {
        let field = field?;
        let own = match field.number {
            NET_NAME => {
                weights.name = field.text()?;
                continue;
            }
            number if number == LAYER.field => &LAYER,
            number if number == LAYERS.field => &LAYERS,
            _ => continue,
        };
        if encoding.is_some_and(|other| other.field != own.field) {
            let message = "both `layer` and `layers` in one file; expected one of the two encodings";
            return Err(FormatError::refused("", message));
        }
        encoding = Some(own);
        if weights.layers.len() == MAX_LAYERS {
            return Err(FormatError::limit("", format!("more than {MAX_LAYERS} layers")));
        }
        let number = weights.layers.len();
        let layer = layer(field.bytes()?, own).map_err(|e| e.within(&format!("{} {number}", own.word)))?;
        weights.layers.push(layer);
    }
    if weights.layers.is_empty() {
        return Err(FormatError::unsupported("", "expected a network with layers (.caffemodel), found none"));
    }
    check_names(&weights.layers)?;
    Ok(weights)
}

/// Layers without numbers may share a name with others; two with numbers would leave the choice open.
fn check_names(layers: &[LayerWeights]) -> Result<()> {
    let mut seen = HashSet::new();
    for layer in layers.iter().filter(|layer| !layer.blobs.is_empty()) {
        if !seen.insert(layer.name.as_str()) {
            let message = "two layers of this name have weights; expected one";
            return Err(FormatError::malformed(format!("layer `{}`", layer.name), message));
        }
    }
    Ok(())
}

fn layer(message: &Bytes, encoding: &Encoding) -> Result<LayerWeights> {
    let mut layer = LayerWeights::default();
    for field in fields(message) {
        let field = field.map_err(|e| e.within(&quoted(&layer.name)))?;
        if field.number == encoding.name {
            layer.name = field.text()?;
        } else if field.number == encoding.kind {
            layer.kind = kind(&field)?;
        } else if encoding.oldest == Some(field.number) {
            let message =
                "the encoding of Caffe's first days; upgrade the file with `upgrade_net_proto_binary`";
            return Err(FormatError::unsupported(quoted(&layer.name), message));
        } else if field.number == encoding.blobs {
            if layer.blobs.len() == MAX_BLOBS {
                return Err(FormatError::limit(quoted(&layer.name), format!("more than {MAX_BLOBS} blobs")));
            }
            let place = format!("{}: blob {}", quoted(&layer.name), layer.blobs.len());
            layer.blobs.push(field.bytes().and_then(blob).map_err(|e| e.within(&place))?);
        }
    }
    Ok(layer)
}

fn quoted(name: &str) -> String {
    if name.is_empty() { String::new() } else { format!("`{name}`") }
}

/// A type is a text today and was a number before.
fn kind(field: &Field) -> Result<String> {
    let Value::Varint(number) = field.value else { return field.text() };
    let known = OLD_KINDS.iter().find(|(known, _, _)| *known == number);
    Ok(known.map_or_else(|| format!("type {number}"), |(_, _, kind)| (*kind).to_owned()))
}

/// A blob: its data, and its shape in either of two forms.
pub(super) fn blob(message: &Bytes) -> Result<RawTensor> {
    let mut legacy: [Option<usize>; 4] = [None; 4];
    let mut dims = Vec::new();
    let (mut floats, mut doubles) = (Elements::default(), Elements::default());
    for field in fields(message) {
        let field = field?;
        match field.number {
            side @ 1..=4 => legacy[side as usize - 1] = Some(field.size()?),
            5 => floats.append::<4>(&field)?,
            7 => {
                for dim in fields(field.bytes()?) {
                    let dim = dim?;
                    if dim.number == 1 {
                        dim.append_sizes(&mut dims, MAX_RANK)?;
                    }
                }
            }
            8 => doubles.append::<8>(&field)?,
            _ => {}
        }
    }
    let is_legacy = legacy.iter().any(Option::is_some);
    let shape = if is_legacy { legacy.map(Option::unwrap_or_default).to_vec() } else { dims };
    let doubles = doubles.into_bytes();
    if doubles.is_empty() {
        RawTensor::new(DType::F32, shape, floats.into_bytes())
    } else {
        RawTensor::new(DType::F64, shape, doubles)
    }
}

/// Numbers that come in one piece as a rule, which then stays where it is, and in several or one by one.
#[derive(Default)]
enum Elements {
    #[default]
    None,
    Piece(Bytes),
    Pieces(Vec<u8>),
}

impl Elements {
    /// Adds the elements of a field, packed or single, of `N` bytes each.
    fn append<const N: usize>(&mut self, field: &Field) -> Result<()> {
        match &field.value {
            Value::Bytes(packed) if packed.len().is_multiple_of(N) => match self {
                Self::None => *self = Self::Piece(packed.clone()),
                _ => self.extend(packed),
            },
            Value::Bytes(packed) => {
                let message = format!("expected numbers of {N} bytes each, found {} bytes", packed.len());
                return Err(FormatError::malformed(field.place(), message));
            }
            Value::Fixed32(single) if N == 4 => self.extend(single),
            Value::Fixed64(single) if N == 8 => self.extend(single),
            other => return Err(field.unexpected("floats", other)),
        }
        Ok(())
    }

    /// What is copied here lies in the file, hence is no longer than the file.
    fn extend(&mut self, more: &[u8]) {
        let mut bytes = match std::mem::take(self) {
            Self::None => Vec::new(),
            Self::Piece(piece) => piece.to_vec(),
            Self::Pieces(bytes) => bytes,
        };
        bytes.extend_from_slice(more);
        *self = Self::Pieces(bytes);
    }

    fn into_bytes(self) -> Bytes {
        match self {
            Self::None => Vec::new().into(),
            Self::Piece(piece) => piece,
            Self::Pieces(bytes) => bytes.into(),
        }
    }
}
