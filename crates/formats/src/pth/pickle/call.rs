//! The three instructions that in Python call into code. Here each turns descriptions into descriptions.

use super::super::value::{Global, Node, NodeId, StorageRef, TensorRef};
use super::{Machine, NONE};
use crate::error::{FormatError, Result};

const MAX_RANK: usize = 32;
/// What a tensor's description is charged as, besides two for each side: about its size in nodes.
const TENSOR_CHARGE: usize = 8;

impl<'a> Machine<'a> {
    /// `REDUCE`: in Python a call of the value below the arguments.
    pub(super) fn reduce(&mut self) -> Result<()> {
        let (args, callee) = (self.pop()?, self.pop()?);
        let Node::Global(global) = self.nodes[callee as usize] else {
            return Err(FormatError::refused("", "REDUCE calls a value that is no name"));
        };
        let Node::Tuple(args) = &self.nodes[args as usize] else {
            return Err(FormatError::malformed("", "REDUCE needs a tuple of arguments"));
        };
        match (global, args.as_slice()) {
            (Global::OrderedDict, []) => self.push_node(Node::Map(Vec::new())),
            (Global::OrderedDict, &[pairs]) => self.ordered_dict(pairs),
            (Global::Size, &[sides]) if matches!(self.nodes[sides as usize], Node::Tuple(_)) => self.push(sides),
            // The number of a device says nothing about its weights.
            (Global::Device, &[kind] | &[kind, _]) if matches!(self.nodes[kind as usize], Node::Text(_)) => self.push(kind),
            (Global::RebuildParameter, &[tensor, ..]) if matches!(self.nodes[tensor as usize], Node::Tensor(_)) => {
                self.push(tensor)
            }
            (Global::RebuildTensor, &[storage, offset, shape, strides])
            | (Global::RebuildTensorV2, &[storage, offset, shape, strides, ..]) => {
                let tensor = self.tensor(storage, offset, shape, strides)?;
                self.charge(TENSOR_CHARGE + 2 * tensor.shape.len())?;
                self.push_node(Node::Tensor(Box::new(tensor)))
            }
            (global, args) => {
                let message = format!("{global:?} called with {} arguments of another kind than it takes", args.len());
                Err(FormatError::refused("", message))
            }
        }
    }

    fn ordered_dict(&mut self, pairs: NodeId) -> Result<()> {
        let Node::List(pairs) = &self.nodes[pairs as usize] else {
            return Err(FormatError::refused("", "OrderedDict takes a list of pairs"));
        };
        let count = pairs.len();
        let map = pairs.iter().map(|&pair| match &self.nodes[pair as usize] {
            Node::List(pair) | Node::Tuple(pair) => match pair.as_slice() {
                &[key, value] => Some((key, value)),
                _ => None,
            },
            _ => None,
        });
        let map = map.collect::<Option<Vec<_>>>().ok_or_else(|| FormatError::refused("", "OrderedDict takes pairs"))?;
        // The same list may be given again and again, each time copied.
        self.charge(count)?;
        self.push_node(Node::Map(map))
    }

    fn tensor(&self, storage: NodeId, offset: NodeId, shape: NodeId, strides: NodeId) -> Result<TensorRef<'a>> {
        let Node::Storage(storage) = &self.nodes[storage as usize] else {
            return Err(FormatError::refused("", "a tensor must be made from a storage"));
        };
        let offset = self.count(offset)?;
        let (shape, strides) = (self.counts(shape)?, self.counts(strides)?);
        Ok(TensorRef { storage: (**storage).clone(), offset, shape, strides })
    }

    fn count(&self, id: NodeId) -> Result<usize> {
        match &self.nodes[id as usize] {
            Node::Int(value) => usize::try_from(*value)
                .map_err(|_| FormatError::malformed("", format!("{value} where a size, stride or offset belongs"))),
            _ => Err(FormatError::malformed("", "a size, stride or offset must be an integer of 64 bits")),
        }
    }

    fn counts(&self, id: NodeId) -> Result<Vec<usize>> {
        match &self.nodes[id as usize] {
            Node::Tuple(sides) | Node::List(sides) if sides.len() <= MAX_RANK => {
                sides.iter().map(|&side| self.count(side)).collect()
            }
            _ => Err(FormatError::malformed("", format!("a shape or strides must be a tuple of at most {MAX_RANK}"))),
        }
    }

    /// `BUILD`: in Python sets the state of an object. An `OrderedDict` of PyTorch's carries version numbers
    /// that way, which say nothing about weights; nothing else may have a state.
    pub(super) fn build(&mut self) -> Result<()> {
        self.pop()?;
        let target = self.top()?;
        match &self.nodes[target as usize] {
            Node::Map(_) => Ok(()),
            Node::Global(global) => Err(FormatError::refused("", format!("BUILD would change {global:?}"))),
            _ => Err(FormatError::refused("", "BUILD sets the state of what is no OrderedDict")),
        }
    }

    /// `BINPERSID`: how PyTorch speaks of a storage: `("storage", type, key, device, elements)`.
    pub(super) fn persistent(&mut self) -> Result<()> {
        let id = self.pop()?;
        let wrong = || FormatError::refused("", "a persistent id other than that of a storage");
        let Node::Tuple(parts) = &self.nodes[id as usize] else {
            return Err(wrong());
        };
        let &[kind, storage, key, _device, len, ref rest @ ..] = parts.as_slice() else {
            return Err(wrong());
        };
        let (Node::Text("storage"), Node::Global(Global::Storage(dtype)), Node::Text(key)) =
            (&self.nodes[kind as usize], &self.nodes[storage as usize], &self.nodes[key as usize])
        else {
            return Err(wrong());
        };
        match rest {
            [] | [NONE] => {}
            _ => return Err(FormatError::unsupported("", "a storage that is a view of another; save it with a newer PyTorch")),
        }
        let storage = StorageRef { dtype: *dtype, key, len: self.count(len)? };
        self.charge(TENSOR_CHARGE)?;
        self.push_node(Node::Storage(Box::new(storage)))
    }
}
