//! A pickle machine that builds data and nothing else.
//!
//! A pickle is a list of one-byte instructions for a stack, a memo of values to use again, and marks. The
//! instructions that would call or build an object reach only [`Global`]s, which are plain values here; a
//! name off that list ends the reading where it is spoken, called or not. Values live in one list and refer
//! to each other by number, so that a value used a million times exists once. Every instruction takes at
//! least a byte, hence steps are bounded by the file; nodes, stack, depth and marks have limits of their own.

mod call;
mod reader;

use std::collections::HashMap;

use reader::Reader;

use super::value::{Global, Node, NodeId, Tree};
use crate::error::{FormatError, Result};

const MAX_NODES: usize = 1_000_000;
const MAX_STACK: usize = 1_000_000;
const MAX_DEPTH: usize = 64;

const NONE: NodeId = 0;
const FALSE: NodeId = 1;
const TRUE: NodeId = 2;
const EMPTY_TUPLE: NodeId = 3;

/// Runs one pickle; gives its value and the number of bytes it took.
pub(super) fn run(program: &[u8]) -> Result<(Tree<'_>, usize)> {
    let mut machine = Machine::new(program);
    let root = loop {
        let at = machine.reader.at();
        match machine.step() {
            Ok(None) => {}
            Ok(Some(root)) => break root,
            Err(e) => return Err(e.within(&format!("byte {at}"))),
        }
    };
    let used = machine.reader.at();
    let tree = Tree { nodes: machine.nodes, root };
    check_depth(&tree)?;
    Ok((tree, used))
}

struct Machine<'a> {
    reader: Reader<'a>,
    nodes: Vec<Node<'a>>,
    /// What is charged against [`MAX_NODES`]: nodes, and what a call copies besides.
    charged: usize,
    stack: Vec<NodeId>,
    /// Heights of the stack at the open marks.
    marks: Vec<usize>,
    memo: HashMap<u32, NodeId>,
}

impl<'a> Machine<'a> {
    fn new(program: &'a [u8]) -> Self {
        let nodes = vec![Node::None, Node::Bool(false), Node::Bool(true), Node::Tuple(Vec::new())];
        Self {
            reader: Reader::new(program),
            nodes,
            charged: 0,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
        }
    }

    /// One instruction; the value of the pickle where it was the last one.
    fn step(&mut self) -> Result<Option<NodeId>> {
        match self.reader.byte()? {
            b'.' => return self.pop().map(Some),
            0x80 => self.protocol()?,
            0x95 => drop(self.reader.take(8)?),
            b'(' => self.mark()?,
            b'0' => drop(self.pop()?),
            b'1' => drop(self.pop_to_mark()?),
            b'2' => self.duplicate()?,
            b'N' => self.push(NONE)?,
            0x88 => self.push(TRUE)?,
            0x89 => self.push(FALSE)?,
            b')' => self.push(EMPTY_TUPLE)?,
            b']' => self.push_node(Node::List(Vec::new()))?,
            b'}' => self.push_node(Node::Map(Vec::new()))?,
            b't' | 0x85..=0x87 | b'a' | b'e' | b's' | b'u' => self.collect()?,
            b'h' | b'j' => self.get()?,
            b'q' | b'r' | 0x94 => self.put()?,
            b'c' | 0x93 => self.global()?,
            b'R' => self.reduce()?,
            b'b' => self.build()?,
            b'Q' => self.persistent()?,
            opcode => {
                let node = self.scalar(opcode)?;
                self.push_node(node)?;
            }
        }
        Ok(None)
    }

    /// Numbers, texts and bytes; everything else is refused by name.
    fn scalar(&mut self, opcode: u8) -> Result<Node<'a>> {
        let reader = &mut self.reader;
        Ok(match opcode {
            b'J' => Node::Int(i64::from(i32::from_le_bytes(reader.array()?))),
            b'K' => Node::Int(i64::from(reader.byte()?)),
            b'M' => Node::Int(i64::from(u16::from_le_bytes(reader.array()?))),
            b'G' => Node::Float(f64::from_be_bytes(reader.array()?)),
            0x8a => integer(reader.counted::<1>()?),
            0x8b => integer(reader.counted::<4>()?),
            b'U' => old_text(reader.counted::<1>()?),
            b'T' => old_text(reader.counted::<4>()?),
            0x8c => text(reader.counted::<1>()?)?,
            b'X' => text(reader.counted::<4>()?)?,
            0x8d => text(reader.counted::<8>()?)?,
            b'C' => Node::Bytes(reader.counted::<1>()?),
            b'B' => Node::Bytes(reader.counted::<4>()?),
            0x8e => Node::Bytes(reader.counted::<8>()?),
            opcode => return Err(self.refuse(opcode)),
        })
    }

    fn refuse(&mut self, opcode: u8) -> FormatError {
        let what = match opcode {
            b'i' => match (self.reader.line(), self.reader.line()) {
                (Ok(module), Ok(name)) => format!("INST of `{module}.{name}`"),
                _ => "INST".to_owned(),
            },
            b'o' => "OBJ".to_owned(),
            0x81 | 0x92 => "NEWOBJ".to_owned(),
            0x82..=0x84 => "EXT".to_owned(),
            b'P' => "PERSID as text".to_owned(),
            _ => {
                let message =
                    format!("instruction {opcode:#04x} is no part of a state dict as PyTorch writes it");
                return FormatError::unsupported("", message);
            }
        };
        FormatError::refused("", format!("{what} would build an object, which reading weights never does"))
    }

    fn protocol(&mut self) -> Result<()> {
        match self.reader.byte()? {
            2..=5 => Ok(()),
            found => Err(FormatError::unsupported("", format!("pickle protocol {found}, 2 to 5 are read"))),
        }
    }

    fn charge(&mut self, nodes: usize) -> Result<()> {
        self.charged += nodes;
        if self.charged > MAX_NODES {
            return Err(FormatError::limit("", format!("more than {MAX_NODES} values")));
        }
        Ok(())
    }

    fn push_node(&mut self, node: Node<'a>) -> Result<()> {
        self.charge(1)?;
        self.nodes.push(node);
        self.push(self.nodes.len() as NodeId - 1)
    }

    fn push(&mut self, id: NodeId) -> Result<()> {
        if self.stack.len() >= MAX_STACK {
            return Err(FormatError::limit("", format!("more than {MAX_STACK} values on the stack")));
        }
        self.stack.push(id);
        Ok(())
    }

    /// Takes the top value, but none from below the innermost mark.
    fn pop(&mut self) -> Result<NodeId> {
        let id = self.top()?;
        self.stack.pop();
        Ok(id)
    }

    fn top(&self) -> Result<NodeId> {
        let floor = self.marks.last().copied().unwrap_or(0);
        match self.stack.last() {
            Some(&id) if self.stack.len() > floor => Ok(id),
            _ => Err(FormatError::malformed("", "the stack is empty")),
        }
    }

    fn duplicate(&mut self) -> Result<()> {
        let id = self.top()?;
        self.push(id)
    }

    fn mark(&mut self) -> Result<()> {
        if self.marks.len() >= MAX_DEPTH {
            return Err(FormatError::limit("", format!("more than {MAX_DEPTH} marks within each other")));
        }
        self.marks.push(self.stack.len());
        Ok(())
    }

    fn pop_to_mark(&mut self) -> Result<Vec<NodeId>> {
        let mark = self.marks.pop().ok_or_else(|| FormatError::malformed("", "no mark is open"))?;
        Ok(self.stack.split_off(mark))
    }

    /// Tuples, and what goes into a list or a map.
    fn collect(&mut self) -> Result<()> {
        match self.reader.last() {
            b't' => {
                let items = self.pop_to_mark()?;
                self.push_node(Node::Tuple(items))
            }
            b'a' => {
                let item = self.pop()?;
                self.append(vec![item])
            }
            b'e' => {
                let items = self.pop_to_mark()?;
                self.append(items)
            }
            b's' => {
                let (value, key) = (self.pop()?, self.pop()?);
                self.set(&[key, value])
            }
            b'u' => {
                let items = self.pop_to_mark()?;
                self.set(&items)
            }
            opcode => {
                let mut items = Vec::new();
                for _ in 0..=opcode - 0x85 {
                    items.push(self.pop()?);
                }
                items.reverse();
                self.push_node(Node::Tuple(items))
            }
        }
    }

    fn append(&mut self, items: Vec<NodeId>) -> Result<()> {
        let target = self.top()?;
        match &mut self.nodes[target as usize] {
            Node::List(list) => {
                list.extend(items);
                Ok(())
            }
            _ => Err(FormatError::malformed("", "APPEND to what is no list")),
        }
    }

    fn set(&mut self, items: &[NodeId]) -> Result<()> {
        let target = self.top()?;
        let (pairs, rest) = items.as_chunks::<2>();
        match &mut self.nodes[target as usize] {
            Node::Map(map) if rest.is_empty() => {
                map.extend(pairs.iter().map(|&[key, value]| (key, value)));
                Ok(())
            }
            _ => Err(FormatError::malformed("", "SETITEMS of what are no pairs, or on what is no map")),
        }
    }

    fn get(&mut self) -> Result<()> {
        let key = if self.reader.last() == b'h' {
            u32::from(self.reader.byte()?)
        } else {
            u32::from_le_bytes(self.reader.array()?)
        };
        let id = self.memo.get(&key).copied();
        self.push(id.ok_or_else(|| FormatError::malformed("", format!("nothing was memoized under {key}")))?)
    }

    fn put(&mut self) -> Result<()> {
        let key = match self.reader.last() {
            b'q' => u32::from(self.reader.byte()?),
            b'r' => u32::from_le_bytes(self.reader.array()?),
            _ => self.memo.len() as u32,
        };
        if self.memo.len() >= MAX_NODES {
            return Err(FormatError::limit("", format!("more than {MAX_NODES} memoized values")));
        }
        let id = self.top()?;
        self.memo.insert(key, id);
        Ok(())
    }

    fn global(&mut self) -> Result<()> {
        let (module, name) = if self.reader.last() == b'c' {
            (self.reader.line()?, self.reader.line()?)
        } else {
            let (name, module) = (self.pop()?, self.pop()?);
            match (&self.nodes[module as usize], &self.nodes[name as usize]) {
                (Node::Text(module), Node::Text(name)) => (*module, *name),
                _ => return Err(FormatError::malformed("", "the name of a global must be text")),
            }
        };
        let global = Global::find(module, name).ok_or_else(|| {
            let name = format!("{module}.{name}").escape_debug().to_string();
            let message = format!(
                "asks for `{name}`, which is not among the names that weights need; nothing was called. \
                 If you trust the file, load it in PyTorch and save only model.state_dict()"
            );
            FormatError::refused("", message)
        })?;
        self.push_node(Node::Global(global))
    }
}

fn integer(bytes: &[u8]) -> Node<'_> {
    let sign = if bytes.last().is_some_and(|&high| high >= 0x80) { 0xff } else { 0 };
    let mut wide = [sign; 8];
    match wide.get_mut(..bytes.len()) {
        Some(low) => {
            low.copy_from_slice(bytes);
            Node::Int(i64::from_le_bytes(wide))
        }
        None => Node::BigInt(bytes),
    }
}

fn text(bytes: &[u8]) -> Result<Node<'_>> {
    let text = std::str::from_utf8(bytes).map_err(|_| FormatError::malformed("", "a text is not UTF-8"))?;
    Ok(Node::Text(text))
}

/// A string of Python 2, which may be either.
fn old_text(bytes: &[u8]) -> Node<'_> {
    std::str::from_utf8(bytes).map_or(Node::Bytes(bytes), Node::Text)
}

/// Refuses a value that nests deeper than [`MAX_DEPTH`]; one that contains itself nests without end.
fn check_depth(tree: &Tree<'_>) -> Result<()> {
    let mut heights = vec![0; tree.nodes.len()];
    height(tree, tree.root, 1, &mut heights).map(drop)
}

/// Height of a value, at least 1. Recursion goes no deeper than [`MAX_DEPTH`], and each node is looked
/// into once, when its height is found.
fn height(tree: &Tree<'_>, id: NodeId, level: usize, heights: &mut [u8]) -> Result<u8> {
    let too_deep =
        || FormatError::limit("", format!("values nest deeper than {MAX_DEPTH}, or contain themselves"));
    if level > MAX_DEPTH {
        return Err(too_deep());
    }
    let known = heights[id as usize];
    if known > 0 {
        return if level + usize::from(known) - 1 > MAX_DEPTH { Err(too_deep()) } else { Ok(known) };
    }
    let mut highest = 0;
    let mut visit = |child| height(tree, child, level + 1, heights).map(|h| highest = highest.max(h));
    match tree.node(id) {
        Node::List(items) | Node::Tuple(items) => items.iter().try_for_each(|&item| visit(item))?,
        Node::Map(pairs) => {
            pairs.iter().try_for_each(|&(key, value)| visit(key).and_then(|()| visit(value)))?;
        }
        _ => {}
    }
    heights[id as usize] = highest + 1;
    Ok(highest + 1)
}

#[cfg(test)]
mod tests;
