//! What a pickle describes, as data: a tree that may share branches, kept in one list of nodes.

use residuum_tensor::DType;

/// Place of a node in its [`Tree`].
pub(super) type NodeId = u32;

/// The names that a pickle may speak of. None of them is a function here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    /// `collections.OrderedDict`: made by a call without arguments or with a list of pairs.
    OrderedDict,
    /// `torch._utils._rebuild_tensor`: storage, offset, shape, strides.
    RebuildTensor,
    /// `torch._utils._rebuild_tensor_v2`: the same, then flags and hooks that are not read.
    RebuildTensorV2,
    /// `torch._utils._rebuild_parameter`: a tensor, then flags and hooks that are not read.
    RebuildParameter,
    /// `torch.Size`: a tuple.
    Size,
    /// `torch.device`: read as the text of its kind.
    Device,
    /// `torch.FloatStorage` and the like: the element type of a storage.
    Storage(DType),
    /// `torch.float32` and the like.
    DType(DType),
    /// `numpy.core.multiarray._reconstruct`: an array, filled by the BUILD that follows.
    NumpyReconstruct,
    /// `numpy.ndarray`.
    NumpyArray,
    /// `numpy.dtype`: its code, then flags that are not read.
    NumpyDType,
}

impl Global {
    /// The allow list.
    pub(super) fn find(module: &str, name: &str) -> Option<Self> {
        Some(match (module, name) {
            ("collections", "OrderedDict") => Self::OrderedDict,
            ("torch._utils", "_rebuild_tensor") => Self::RebuildTensor,
            ("torch._utils", "_rebuild_tensor_v2") => Self::RebuildTensorV2,
            ("torch._utils", "_rebuild_parameter") => Self::RebuildParameter,
            ("torch", "Size") => Self::Size,
            ("torch", "device") => Self::Device,
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct") => Self::NumpyReconstruct,
            ("numpy", "ndarray") => Self::NumpyArray,
            ("numpy", "dtype") => Self::NumpyDType,
            ("torch" | "torch.storage", _) => return Self::find_type(name),
            _ => return None,
        })
    }

    fn find_type(name: &str) -> Option<Self> {
        Some(match name {
            "FloatStorage" => Self::Storage(DType::F32),
            "DoubleStorage" => Self::Storage(DType::F64),
            "HalfStorage" => Self::Storage(DType::F16),
            "BFloat16Storage" => Self::Storage(DType::BF16),
            "LongStorage" => Self::Storage(DType::I64),
            "IntStorage" => Self::Storage(DType::I32),
            "ShortStorage" => Self::Storage(DType::I16),
            "CharStorage" => Self::Storage(DType::I8),
            "ByteStorage" => Self::Storage(DType::U8),
            "BoolStorage" => Self::Storage(DType::Bool),
            "float32" => Self::DType(DType::F32),
            "float64" => Self::DType(DType::F64),
            "float16" => Self::DType(DType::F16),
            "bfloat16" => Self::DType(DType::BF16),
            "int64" => Self::DType(DType::I64),
            "int32" => Self::DType(DType::I32),
            "int16" => Self::DType(DType::I16),
            "int8" => Self::DType(DType::I8),
            "uint8" => Self::DType(DType::U8),
            "bool" => Self::DType(DType::Bool),
            _ => return None,
        })
    }
}

/// A storage: where the elements of one or more tensors lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct StorageRef<'a> {
    pub(super) dtype: DType,
    pub(super) key: &'a str,
    /// Number of elements.
    pub(super) len: usize,
}

/// A tensor as the pickle describes it, not yet checked against its storage.
#[derive(Clone, Debug)]
pub(super) struct TensorRef<'a> {
    pub(super) storage: StorageRef<'a>,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// An array of numpy's whose elements lie in the pickle itself, in C order; not yet checked against its shape.
#[derive(Clone, Debug)]
pub(super) struct ArrayRef<'a> {
    pub(super) dtype: DType,
    pub(super) shape: Vec<usize>,
    pub(super) data: &'a [u8],
}

/// One value. Texts and bytes lie in the pickle itself.
#[derive(Clone, Debug)]
pub(super) enum Node<'a> {
    None,
    Bool(bool),
    Int(i64),
    /// An integer beyond `i64`, little endian, two's complement.
    BigInt(&'a [u8]),
    Float(f64),
    Text(&'a str),
    Bytes(&'a [u8]),
    List(Vec<NodeId>),
    Tuple(Vec<NodeId>),
    Map(Vec<(NodeId, NodeId)>),
    Global(Global),
    Storage(Box<StorageRef<'a>>),
    Tensor(Box<TensorRef<'a>>),
    /// An element type of numpy's.
    ArrayType(DType),
    /// An array of numpy's, empty until it is built.
    Array(Option<Box<ArrayRef<'a>>>),
}

/// All values of one pickle.
#[derive(Debug)]
pub(super) struct Tree<'a> {
    pub(super) nodes: Vec<Node<'a>>,
    pub(super) root: NodeId,
}

impl<'a> Tree<'a> {
    pub(super) fn root(&self) -> &Node<'a> {
        self.node(self.root)
    }

    /// The node of an id that came from this tree.
    pub(super) fn node(&self, id: NodeId) -> &Node<'a> {
        &self.nodes[id as usize]
    }

    /// The value of a text key of a map.
    pub(super) fn lookup(&self, map: &[(NodeId, NodeId)], key: &str) -> Option<&Node<'a>> {
        let found = map.iter().rev().find(|(k, _)| matches!(self.node(*k), Node::Text(text) if *text == key));
        found.map(|&(_, value)| self.node(value))
    }
}
