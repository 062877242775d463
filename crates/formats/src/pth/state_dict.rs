//! From the tree of a pickle to named tensors: find the state dict, cut out each tensor, keep the scalars.

use super::storage::{self, Storages};
use super::value::{Node, NodeId, TensorRef, Tree};
use crate::error::{FormatError, Result};
use crate::named::{NamedTensors, RawTensor};
use crate::strided::Strided;

/// Keys that hold the state dict, first come first served. Averaged weights come last: they are taken only
/// where there are no others.
const STATE_DICT_KEYS: [&str; 10] = [
    "state_dict",
    "model_state_dict",
    "model_state",
    "model",
    "net",
    "network",
    "weights",
    "params",
    "state_dict_ema",
    "model_ema",
];
const WRAPPER_PREFIXES: [&str; 2] = ["module.", "_orig_mod."];
const MAX_METADATA_TEXT_BYTES: usize = 4096;

/// The state dict of a tree, its elements taken from the storages; `budget` as in [`Strided::gather`].
pub(super) fn extract(tree: &Tree<'_>, storages: &Storages, mut budget: usize) -> Result<NamedTensors> {
    let Node::Map(top) = tree.root() else {
        return Err(FormatError::malformed(
            "pickle",
            "expected a map of tensors by name; save model.state_dict()",
        ));
    };
    let mut named = NamedTensors::new();
    let state_dict = if has_tensor(tree, top) {
        top
    } else {
        let nested = STATE_DICT_KEYS.iter().find_map(|key| match tree.lookup(top, key) {
            Some(Node::Map(map)) if has_tensor(tree, map) => Some(map),
            _ => None,
        });
        nested.ok_or_else(|| no_state_dict(tree, top))?
    };
    for &(key, value) in top {
        if let (Node::Text(key), Some(text)) = (tree.node(key), scalar_text(tree.node(value))) {
            named.metadata.insert((*key).to_owned(), text);
        }
    }
    for &(key, value) in state_dict {
        if let Node::Tensor(tensor) = tree.node(value) {
            let name = tensor_name(tree, key)?;
            let tensor = cut_out(name, tensor, storages, &mut budget)?;
            named.insert(name, tensor);
        }
    }
    // Wrappers nest: compiled within parallel, or the other way round.
    for _ in 0..2 {
        for prefix in WRAPPER_PREFIXES {
            named.strip_prefix(prefix);
        }
    }
    Ok(named)
}

fn has_tensor(tree: &Tree<'_>, map: &[(NodeId, NodeId)]) -> bool {
    map.iter().any(|&(_, value)| matches!(tree.node(value), Node::Tensor(_)))
}

fn no_state_dict(tree: &Tree<'_>, top: &[(NodeId, NodeId)]) -> FormatError {
    let keys: Vec<String> =
        top.iter().take(8).map(|&(key, _)| format!("{:?}", describe(tree.node(key)))).collect();
    let message = format!("no map of tensors by name in it; its keys begin {}", keys.join(", "));
    FormatError::unsupported("pickle", message)
}

fn describe(node: &Node<'_>) -> String {
    scalar_text(node).unwrap_or_else(|| "?".to_owned())
}

fn tensor_name<'a>(tree: &Tree<'a>, key: NodeId) -> Result<&'a str> {
    match tree.node(key) {
        Node::Text(name) => Ok(name),
        other => Err(FormatError::malformed(
            "pickle",
            format!("a tensor's name must be text, found {}", describe(other)),
        )),
    }
}

/// Numbers, truth values and short texts, as text. A `NaN` reads `NaN`.
fn scalar_text(node: &Node<'_>) -> Option<String> {
    match node {
        Node::Bool(value) => Some(value.to_string()),
        Node::Int(value) => Some(value.to_string()),
        Node::Float(value) => Some(value.to_string()),
        Node::Text(text) if text.len() <= MAX_METADATA_TEXT_BYTES => Some((*text).to_owned()),
        _ => None,
    }
}

fn cut_out(name: &str, tensor: &TensorRef<'_>, storages: &Storages, budget: &mut usize) -> Result<RawTensor> {
    let TensorRef { storage, offset, shape, strides } = tensor;
    let bytes = storages.get(storage.key).ok_or_else(|| {
        FormatError::truncated(
            name,
            format!("its elements, {}, are not in the file", storage::place(storage.key)),
        )
    })?;
    let window = Strided { offset: *offset, shape, strides };
    let data = window.gather(bytes, storage.dtype.size_bytes(), budget, name)?;
    RawTensor::new(storage.dtype, shape.clone(), data).map_err(|e| e.within(name))
}
