//! The three instructions that in Python call into code. Here each turns descriptions into descriptions.

use residuum_tensor::DType;

use super::super::value::{ArrayRef, Global, Node, NodeId, StorageRef, TensorRef};
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
            (Global::Size, &[sides]) if matches!(self.nodes[sides as usize], Node::Tuple(_)) => {
                self.push(sides)
            }
            // The number of a device says nothing about its weights.
            (Global::Device, &[kind] | &[kind, _]) if matches!(self.nodes[kind as usize], Node::Text(_)) => {
                self.push(kind)
            }
            (Global::NumpyReconstruct, &[class, ..])
                if matches!(self.nodes[class as usize], Node::Global(Global::NumpyArray)) =>
            {
                self.push_node(Node::Array(None))
            }
            (Global::NumpyDType, &[code, ..]) => {
                let dtype = self.numpy_type(code)?;
                self.push_node(Node::ArrayType(dtype))
            }
            (Global::RebuildParameter, &[tensor, ..])
                if matches!(self.nodes[tensor as usize], Node::Tensor(_)) =>
            {
                self.push(tensor)
            }
            (Global::RebuildTensor, &[storage, offset, shape, strides])
            | (Global::RebuildTensorV2, &[storage, offset, shape, strides, ..]) => {
                let tensor = self.tensor(storage, offset, shape, strides)?;
                self.charge(TENSOR_CHARGE + 2 * tensor.shape.len())?;
                self.push_node(Node::Tensor(Box::new(tensor)))
            }
            (global, args) => {
                let message =
                    format!("{global:?} called with {} arguments of another kind than it takes", args.len());
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
        let map = map
            .collect::<Option<Vec<_>>>()
            .ok_or_else(|| FormatError::refused("", "OrderedDict takes pairs"))?;
        // The same list may be given again and again, each time copied.
        self.charge(count)?;
        self.push_node(Node::Map(map))
    }

    fn tensor(
        &self,
        storage: NodeId,
        offset: NodeId,
        shape: NodeId,
        strides: NodeId,
    ) -> Result<TensorRef<'a>> {
        let Node::Storage(storage) = &self.nodes[storage as usize] else {
            return Err(FormatError::refused("", "a tensor must be made from a storage"));
        };
        let offset = self.count(offset)?;
        let (shape, strides) = (self.counts(shape)?, self.counts(strides)?);
        Ok(TensorRef { storage: (**storage).clone(), offset, shape, strides })
    }

    fn count(&self, id: NodeId) -> Result<usize> {
        match &self.nodes[id as usize] {
            Node::Int(value) => usize::try_from(*value).map_err(|_| {
                FormatError::malformed("", format!("{value} where a size, stride or offset belongs"))
            }),
            _ => Err(FormatError::malformed("", "a size, stride or offset must be an integer of 64 bits")),
        }
    }

    fn counts(&self, id: NodeId) -> Result<Vec<usize>> {
        match &self.nodes[id as usize] {
            Node::Tuple(sides) | Node::List(sides) if sides.len() <= MAX_RANK => {
                sides.iter().map(|&side| self.count(side)).collect()
            }
            _ => Err(FormatError::malformed(
                "",
                format!("a shape or strides must be a tuple of at most {MAX_RANK}"),
            )),
        }
    }

    fn numpy_type(&self, code: NodeId) -> Result<DType> {
        let Node::Text(code) = self.nodes[code as usize] else {
            return Err(FormatError::refused("", "numpy.dtype takes the code of a type"));
        };
        Ok(match code {
            "f4" => DType::F32,
            "f8" => DType::F64,
            "f2" => DType::F16,
            "i8" => DType::I64,
            "i4" => DType::I32,
            "i2" => DType::I16,
            "i1" => DType::I8,
            "u1" => DType::U8,
            "b1" => DType::Bool,
            code => {
                return Err(FormatError::unsupported(
                    "",
                    format!("numpy's element type `{}`", code.escape_debug()),
                ));
            }
        })
    }

    /// State of a numpy array: version, shape, type, whether the columns come first, elements.
    fn array(&self, state: NodeId) -> Result<ArrayRef<'a>> {
        let wrong = || {
            FormatError::malformed(
                "",
                "the state of a numpy array must be its shape, type, order and elements",
            )
        };
        let Node::Tuple(state) = &self.nodes[state as usize] else {
            return Err(wrong());
        };
        let &[_version, shape, dtype, order, data] = state.as_slice() else {
            return Err(wrong());
        };
        let is_fortran = match self.nodes[order as usize] {
            Node::Bool(flag) => flag,
            Node::Int(flag) => flag != 0,
            _ => return Err(wrong()),
        };
        if is_fortran {
            return Err(FormatError::unsupported("", "a pickled numpy array in Fortran order"));
        }
        match (&self.nodes[dtype as usize], &self.nodes[data as usize]) {
            (&Node::ArrayType(dtype), &Node::Bytes(data)) => {
                Ok(ArrayRef { dtype, shape: self.counts(shape)?, data })
            }
            // Python 2 has one type for texts and bytes.
            (&Node::ArrayType(dtype), &Node::Text(data)) => {
                Ok(ArrayRef { dtype, shape: self.counts(shape)?, data: data.as_bytes() })
            }
            _ => Err(wrong()),
        }
    }

    /// State of a numpy type: version, byte order, and what only compound types have.
    fn check_byte_order(&self, state: NodeId) -> Result<()> {
        let order = match &self.nodes[state as usize] {
            Node::Tuple(state) => state.get(1).map(|&order| &self.nodes[order as usize]),
            _ => None,
        };
        match order {
            Some(Node::Text("<" | "|")) => Ok(()),
            _ => Err(FormatError::unsupported("", "a numpy type that is not little endian")),
        }
    }

    /// `BUILD`: in Python sets the state of an object. An `OrderedDict` of PyTorch's carries version numbers
    /// that way, as `_metadata`, which say nothing about weights; numpy's arrays and
    /// types get their content; nothing else may have a state.
    pub(super) fn build(&mut self) -> Result<()> {
        let state = self.pop()?;
        let target = self.top()?;
        match (&self.nodes[target as usize], &self.nodes[state as usize]) {
            (Node::Map(_), Node::Map(state))
                if state.iter().all(|&(key, _)| self.is_text(key, "_metadata")) =>
            {
                Ok(())
            }
            (Node::Map(_), _) => Err(FormatError::refused("", "BUILD sets more than `_metadata` of a map")),
            (Node::ArrayType(_), _) => self.check_byte_order(state),
            (Node::Array(None), _) => {
                let array = self.array(state)?;
                self.charge(TENSOR_CHARGE + array.shape.len())?;
                self.nodes[target as usize] = Node::Array(Some(Box::new(array)));
                Ok(())
            }
            (Node::Global(global), _) => {
                Err(FormatError::refused("", format!("BUILD would change {global:?}")))
            }
            _ => Err(FormatError::refused("", "BUILD sets the state of what is no OrderedDict")),
        }
    }

    fn is_text(&self, id: NodeId, expected: &str) -> bool {
        matches!(self.nodes[id as usize], Node::Text(text) if text == expected)
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
            _ => {
                return Err(FormatError::unsupported(
                    "",
                    "a storage that is a view of another; save it with a newer PyTorch",
                ));
            }
        }
        let storage = StorageRef { dtype: *dtype, key, len: self.count(len)? };
        self.charge(TENSOR_CHARGE)?;
        self.push_node(Node::Storage(Box::new(storage)))
    }
}
