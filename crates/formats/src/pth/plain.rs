//! A pickled map of plain things: numbers, texts, lists of these, and numpy's arrays, as the Python batches
//! of CIFAR are. Read by the same machine as weights, with the same limits: data only.

use std::collections::BTreeMap;

use super::pickle;
use super::value::{Node, NodeId, Tree};
use crate::bytes::Bytes;
use crate::error::{FormatError, Result};
use crate::named::RawTensor;

const MAX_ITEMS: usize = 2_000_000;

/// A value of the map.
#[derive(Clone, Debug, PartialEq)]
pub enum Plain {
    /// An integer.
    Int(i64),
    /// A text.
    Text(String),
    /// A list whose items are all integers.
    Ints(Vec<i64>),
    /// A list whose items are all texts.
    Texts(Vec<String>),
    /// An array of numpy's.
    Array(RawTensor),
    /// Anything else.
    Other,
}

/// Reads a pickled map. Keys that are neither text nor bytes are left out.
///
/// # Errors
/// When the bytes are no pickle, ask for a name off the list, hold no map, or an array does not fill its
/// shape.
pub fn read_map(file: &Bytes) -> Result<BTreeMap<String, Plain>> {
    let (tree, _) = pickle::run(file)?;
    let Node::Map(pairs) = tree.root() else {
        return Err(FormatError::unsupported("", "expected a pickled map"));
    };
    // A value may be named by many keys: what is copied for all of them together stays bounded.
    let mut budget = Budget { items: MAX_ITEMS, bytes: 2 * file.len() };
    let mut map = BTreeMap::new();
    for &(key, value) in pairs {
        if let Some(key) = text(&tree, key) {
            let value = convert(&tree, tree.node(value), &mut budget).map_err(|e| e.within(&key))?;
            map.insert(key, value);
        }
    }
    Ok(map)
}

struct Budget {
    items: usize,
    bytes: usize,
}

impl Budget {
    fn take(&mut self, items: usize, bytes: usize) -> Result<()> {
        match (self.items.checked_sub(items), self.bytes.checked_sub(bytes)) {
            (Some(items), Some(bytes)) => {
                *self = Self { items, bytes };
                Ok(())
            }
            _ => Err(FormatError::limit("", "the same values are used under many keys")),
        }
    }
}

/// Python 2 writes texts as bytes.
fn text(tree: &Tree<'_>, id: NodeId) -> Option<String> {
    match tree.node(id) {
        Node::Text(text) => Some((*text).to_owned()),
        Node::Bytes(bytes) => String::from_utf8(bytes.to_vec()).ok(),
        _ => None,
    }
}

fn convert(tree: &Tree<'_>, node: &Node<'_>, budget: &mut Budget) -> Result<Plain> {
    Ok(match node {
        Node::Int(value) => Plain::Int(*value),
        Node::Text(text) => {
            budget.take(1, text.len())?;
            Plain::Text((*text).to_owned())
        }
        Node::Array(Some(array)) => {
            budget.take(1, array.data.len())?;
            Plain::Array(RawTensor::new(array.dtype, array.shape.clone(), array.data.to_vec())?)
        }
        Node::List(items) | Node::Tuple(items) => {
            budget.take(items.len(), items.iter().map(|&item| text_len(tree.node(item))).sum())?;
            list(tree, items)
        }
        _ => Plain::Other,
    })
}

fn text_len(node: &Node<'_>) -> usize {
    match node {
        Node::Text(text) => text.len(),
        Node::Bytes(bytes) => bytes.len(),
        _ => 0,
    }
}

fn list(tree: &Tree<'_>, items: &[NodeId]) -> Plain {
    let integer = |&id: &NodeId| match tree.node(id) {
        Node::Int(value) => Some(*value),
        _ => None,
    };
    if let Some(integers) = items.iter().map(integer).collect() {
        Plain::Ints(integers)
    } else {
        items.iter().map(|&id| text(tree, id)).collect::<Option<_>>().map_or(Plain::Other, Plain::Texts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Python 2 wrote for `{'data': array([[1, 2], [250, 255]], uint8), 'labels': [6, 9]}`.
    const BATCH: &[u8] = b"\x80\x02}q\x01(U\x04dataq\x02cnumpy.core.multiarray\n_reconstruct\nq\x03cnumpy\nndarray\nq\x04K\x00\x85U\x01b\x87Rq\x05\
        (K\x01K\x02K\x02\x86cnumpy\ndtype\nq\x06U\x02u1K\x00K\x01\x87Rq\x07(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x04\x01\x02\xfa\xfftb\
        U\x06labelsq\x08]q\x09(K\x06K\x09eu.";

    fn read(bytes: &[u8]) -> Result<BTreeMap<String, Plain>> {
        read_map(&bytes.to_vec().into())
    }

    #[test]
    fn arrays_and_lists_are_read() {
        let map = read(BATCH).unwrap();
        let Plain::Array(array) = &map["data"] else { panic!("{map:?}") };
        assert_eq!((array.shape(), &**array.data()), (&[2, 2][..], &[1, 2, 250, 255][..]));
        assert_eq!(map["labels"], Plain::Ints(vec![6, 9]));
    }

    #[test]
    fn cut_or_changed_it_is_an_error_and_calls_nothing() {
        (0..BATCH.len()).for_each(|len| assert!(read(&BATCH[..len]).is_err(), "{len}"));
        let changed = |from: &[u8], to: &[u8]| {
            let at = BATCH.windows(from.len()).position(|part| part == from).unwrap();
            read(&[&BATCH[..at], to, &BATCH[at + from.len()..]].concat()).unwrap_err().to_string()
        };
        assert!(changed(b"numpy\nndarray", b"os\nsystem").contains("os.system"));
        assert!(changed(b"u1", b"O8").contains("O8"));
        assert!(changed(b"\x01|", b"\x01>").contains("endian"));
        assert!(changed(b"K\x02K\x02\x86", b"K\x02K\x03\x86").contains("data"));
        assert!(read(b"\x80\x02K\x01.").unwrap_err().to_string().contains("map"));
    }
}
