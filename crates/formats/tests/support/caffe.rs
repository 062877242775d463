//! Writes `.caffemodel` files for tests, after Caffe's schema and not after the reader.
#![allow(dead_code, reason = "each test uses its part")]

/// The two encodings of layers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    /// `layer`, types as texts, shapes as lists.
    New,
    /// `layers`, types as numbers, shapes of four sides.
    Old,
}

/// A layer with its numbers: name, type, and shape and data of each blob.
pub(crate) struct LayerFile {
    pub(crate) name: String,
    pub(crate) kind: String,
    pub(crate) blobs: Vec<(Vec<usize>, Vec<f32>)>,
}

pub(crate) fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

/// A field with a whole number.
pub(crate) fn number(field: u64, value: u64) -> Vec<u8> {
    [varint(field << 3), varint(value)].concat()
}

/// A field with a text, a message or packed numbers.
pub(crate) fn bytes(field: u64, content: &[u8]) -> Vec<u8> {
    let mut all = [varint(field << 3 | 2), varint(content.len() as u64)].concat();
    all.extend_from_slice(content);
    all
}

pub(crate) fn floats(data: &[f32]) -> Vec<u8> {
    data.iter().flat_map(|x| x.to_le_bytes()).collect()
}

/// A blob with its shape as a list of sides.
pub(crate) fn blob(shape: &[usize], data: &[f32]) -> Vec<u8> {
    let dims: Vec<u8> = shape.iter().flat_map(|&side| varint(side as u64)).collect();
    [bytes(5, &floats(data)), bytes(7, &bytes(1, &dims))].concat()
}

/// A blob as older files have it: four sides, ones before those of the shape.
pub(crate) fn old_blob(shape: &[usize], data: &[f32]) -> Vec<u8> {
    let mut sides = vec![1; 4 - shape.len()];
    sides.extend_from_slice(shape);
    let sides = sides.iter().zip(1..).flat_map(|(&side, field)| number(field, side as u64));
    sides.chain(bytes(5, &floats(data))).collect()
}

pub(crate) fn layer(layer: &LayerFile, encoding: Encoding) -> Vec<u8> {
    let name = layer.name.as_bytes();
    let blobs = layer.blobs.iter();
    match encoding {
        Encoding::New => {
            let blobs = blobs.flat_map(|(shape, data)| bytes(7, &blob(shape, data)));
            // What training needs lies between, and is passed over.
            let param = bytes(6, b"\x1d\x00\x00\x80\x3f");
            let message = [bytes(1, name), bytes(2, layer.kind.as_bytes()), param, blobs.collect()].concat();
            bytes(100, &message)
        }
        Encoding::Old => {
            let blobs = blobs.flat_map(|(shape, data)| bytes(6, &old_blob(shape, data)));
            let kind = match layer.kind.as_str() {
                "Convolution" => 4,
                "InnerProduct" => 14,
                _ => 0,
            };
            bytes(2, &[bytes(4, name), number(5, kind), blobs.collect()].concat())
        }
    }
}

pub(crate) fn caffemodel(name: &str, layers: &[LayerFile], encoding: Encoding) -> Vec<u8> {
    let mut file = bytes(1, name.as_bytes());
    file.extend(layers.iter().flat_map(|one| layer(one, encoding)));
    file
}
