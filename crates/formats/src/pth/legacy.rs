//! The stream form, before PyTorch 1.6: five pickles one after the other (magic number, protocol, facts
//! about the machine, the object, the keys of the storages), then for each key the number of elements as
//! 64 bits and the elements themselves.

use super::storage::{self, Storages};
use super::value::{Node, StorageRef, Tree};
use super::{pickle, state_dict};
use crate::bytes::Bytes;
use crate::error::{FormatError, Result};
use crate::named::NamedTensors;
use crate::strided::copy_budget;

/// `0x1950a86a20f9469cfc6c`, little endian, as PyTorch's `serialization.py` has it.
const MAGIC_NUMBER: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
const PROTOCOL_VERSION: i64 = 1001;
const COUNT_BYTES: usize = 8;

pub(super) fn read(file: &Bytes) -> Result<NamedTensors> {
    let mut stream = Stream { file, at: 0 };
    check_magic(&stream.next_pickle("magic number")?)?;
    check_protocol(&stream.next_pickle("protocol")?)?;
    check_machine(&stream.next_pickle("sys_info")?)?;
    let object = stream.next_pickle("object")?;
    let keys = stream.next_pickle("storage keys")?;
    let storages = stream.storages(&object, &keys)?;
    state_dict::extract(&object, &storages, copy_budget(file.len()))
}

fn check_magic(tree: &Tree<'_>) -> Result<()> {
    match tree.root() {
        Node::BigInt(bytes) if *bytes == MAGIC_NUMBER => Ok(()),
        _ => Err(FormatError::unsupported(
            "magic number",
            "a pickle, but not one that PyTorch's torch.save wrote",
        )),
    }
}

fn check_protocol(tree: &Tree<'_>) -> Result<()> {
    match tree.root() {
        Node::Int(PROTOCOL_VERSION) => Ok(()),
        other => {
            Err(FormatError::unsupported("protocol", format!("expected {PROTOCOL_VERSION}, found {other:?}")))
        }
    }
}

fn check_machine(tree: &Tree<'_>) -> Result<()> {
    let Node::Map(facts) = tree.root() else {
        return Err(FormatError::malformed("sys_info", "expected a map"));
    };
    match tree.lookup(facts, "little_endian") {
        Some(Node::Bool(true)) => Ok(()),
        Some(Node::Bool(false)) => {
            Err(FormatError::unsupported("sys_info", "written on a big endian machine"))
        }
        _ => Err(FormatError::malformed("sys_info", "does not say whether the machine was little endian")),
    }
}

struct Stream<'a> {
    file: &'a Bytes,
    at: usize,
}

impl<'a> Stream<'a> {
    fn next_pickle(&mut self, what: &str) -> Result<Tree<'a>> {
        let (tree, used) = pickle::run(&self.file[self.at..]).map_err(|e| e.within(what))?;
        self.at += used;
        Ok(tree)
    }

    /// Finds where each storage lies. How long one is follows from the element type, which only the
    /// object's description of it tells.
    fn storages(mut self, object: &Tree<'_>, keys: &Tree<'_>) -> Result<Storages> {
        let described = storage::described(object)?;
        let Node::List(key_ids) = keys.root() else {
            return Err(FormatError::malformed("storage keys", "expected a list"));
        };
        let mut storages = Storages::new();
        for &id in key_ids {
            let Node::Text(key) = keys.node(id) else {
                return Err(FormatError::malformed("storage keys", "expected texts"));
            };
            let Some(described) = described.get(key) else {
                return Err(FormatError::malformed(
                    "storage keys",
                    format!("no tensor speaks of storage {key:?}"),
                ));
            };
            let bytes = self.next_storage(described)?;
            if storages.insert((*key).to_owned(), bytes).is_some() {
                return Err(FormatError::malformed("storage keys", format!("storage {key:?} comes twice")));
            }
        }
        if self.at != self.file.len() {
            let message = format!("{} bytes after the last storage", self.file.len() - self.at);
            return Err(FormatError::malformed("storages", message));
        }
        Ok(storages)
    }

    fn next_storage(&mut self, described: &StorageRef<'_>) -> Result<Bytes> {
        let rest = &self.file[self.at..];
        let truncated = |message| FormatError::truncated(storage::place(described.key), message);
        let Some(count) = rest.first_chunk::<COUNT_BYTES>() else {
            return Err(truncated(format!("the file ends after {} bytes", self.file.len())));
        };
        let count = u64::from_le_bytes(*count);
        let len = u128::from(count) * described.dtype.size_bytes() as u128;
        let available = rest.len() - COUNT_BYTES;
        if len > available as u128 {
            let dtype = described.dtype;
            return Err(truncated(format!(
                "{count} elements of {dtype} announced, {available} bytes are left"
            )));
        }
        storage::check_len(described, len as usize)?;
        let start = self.at + COUNT_BYTES;
        self.at = start + len as usize;
        self.file.slice(start..self.at).ok_or_else(|| truncated("the file ends before it".to_owned()))
    }
}
