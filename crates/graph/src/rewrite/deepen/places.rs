//! Where a network can be deepened, and what a block looks like there.

use super::super::error::RewriteError;
use super::super::shortcut::{Unit, read_by};
use super::super::source::Source;
use super::super::unfold::{chain, module};
use crate::graph::{Kind, Node, NodeId};
use crate::op::Op;

/// The end of a stage.
pub(super) struct Place {
    /// The output of the stage's last block.
    pub(super) after: NodeId,
    /// The nodes of a block in order: a unit's branch, or the whole of a plain block.
    pub(super) layers: Vec<NodeId>,
    /// What follows a unit's addition.
    pub(super) tail: Vec<NodeId>,
    pub(super) style: Style,
    /// The module that the block is, such as `layer1.2`.
    module: String,
    /// What the numbers of new blocks begin with, where modules are numbered.
    next: Option<(String, usize)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    Residual { add: NodeId },
    Plain,
}

impl Place {
    fn new(source: &Source<'_>, after: NodeId, layers: Vec<NodeId>, tail: Vec<NodeId>, style: Style) -> Self {
        let names = layers.iter().map(|&id| source.node(id).name.as_str());
        let module = common_module(names);
        let next = numbered(source, &module);
        Self { after, layers, tail, style, module, next }
    }

    /// The name in the block added as number `number` of what is called `old` in the block that is copied.
    pub(super) fn name(&self, old: &str, number: usize) -> String {
        let local = old.strip_prefix(&self.module).unwrap_or(old).trim_start_matches('.');
        match &self.next {
            Some((list, next)) => format!("{list}{}.{local}", next + number),
            None if self.module.is_empty() => format!("{local}.deeper{number}"),
            None => format!("{}.deeper{number}.{local}", self.module),
        }
    }
}

/// The longest module name that all names begin with.
fn common_module<'a>(mut names: impl Iterator<Item = &'a str>) -> String {
    let first: Vec<&str> = names.next().map(|name| module(name).split('.').collect()).unwrap_or_default();
    let common = names.fold(first, |common, name| {
        let same = common.iter().zip(name.split('.')).take_while(|(a, b)| *a == b).count();
        common[..same].to_vec()
    });
    common.join(".")
}

/// For a module such as `layer1.2`: `layer1.` and the first number that no module after it has.
fn numbered(source: &Source<'_>, module: &str) -> Option<(String, usize)> {
    let digits = module.rsplit('.').next()?;
    digits.parse::<usize>().ok()?;
    let list = &module[..module.len() - digits.len()];
    let number = |node: &Node| node.name.strip_prefix(list)?.split('.').next()?.parse::<usize>().ok();
    let largest = source.graph.nodes().iter().filter_map(number).max()?;
    Some((list.to_owned(), largest + 1))
}

/// The ends of all stages.
///
/// # Errors
/// When there is none, or the network is neither residual nor plain.
pub(super) fn places(source: &Source<'_>) -> Result<Vec<Place>, RewriteError> {
    let units = units(source)?;
    let places = if units.is_empty() { plain(source)? } else { residual(source, &units) };
    if places.is_empty() {
        let reason = "no block of it can be copied as an identity";
        return Err(RewriteError::new(source.graph.name(), reason));
    }
    Ok(places)
}

/// A residual unit and the shape that it makes.
struct Found {
    unit: Unit,
    channels: usize,
    strides: bool,
}

/// All residual units from the input to the output.
fn units(source: &Source<'_>) -> Result<Vec<Found>, RewriteError> {
    let graph = source.graph;
    let input = graph.ids().find(|&id| graph.node(id).op == Op::Input);
    let mut at = input.ok_or_else(|| RewriteError::new(graph.name(), "has no input"))?;
    let mut found = Vec::new();
    loop {
        at = match *source.users(at) {
            [] => return Ok(found),
            [next] if source.node(next).inputs.len() == 1 => next,
            [a, b] => {
                let unit = Unit::find(source, at, [a, b])?;
                let add = unit.add;
                let changes = |id: &NodeId| match &source.node(*id).op {
                    Op::Conv2d(conv) => conv.stride != [1, 1],
                    _ => false,
                };
                if let Kind::Map { channels } = source.node(add).kind {
                    let strides = unit.branch.iter().any(changes);
                    found.push(Found { unit, channels, strides });
                }
                add
            }
            ref users => return Err(RewriteError::new(&source.node(at).name, read_by(source, users))),
        };
    }
}

/// True where a run of blocks of one shape ends after the block at `i`.
fn ends_stage(shapes: &[(usize, bool)], i: usize) -> bool {
    shapes.get(i + 1).is_none_or(|&(channels, strides)| strides || channels != shapes[i].0)
}

fn residual(source: &Source<'_>, units: &[Found]) -> Vec<Place> {
    let shapes: Vec<(usize, bool)> = units.iter().map(|found| (found.channels, found.strides)).collect();
    let mut places = Vec::new();
    let mut first = 0;
    for last in (0..units.len()).filter(|&i| ends_stage(&shapes, i)) {
        let stage = &units[first..=last];
        first = last + 1;
        let template = stage.iter().rev().find(|found| found.unit.shortcut.is_empty());
        let unit = &template.unwrap_or(&units[last]).unit;
        let tail = tail(source, unit, unit.add);
        let after = self::tail(source, unit, units[last].unit.add);
        let after = after.last().copied().unwrap_or(units[last].unit.add);
        let style = Style::Residual { add: unit.add };
        places.push(Place::new(source, after, unit.branch.clone(), tail, style));
    }
    places
}

/// What belongs to a unit of the form of `unit` after its addition `add`: up to the ReLU, where the branch
/// begins with a convolution and does not end in a ReLU; else nothing.
fn tail(source: &Source<'_>, unit: &Unit, add: NodeId) -> Vec<NodeId> {
    let op = |id: Option<&NodeId>| id.map(|&id| source.node(id).op);
    let is_activated = op(unit.branch.last()) == Some(Op::Relu);
    if is_activated || !matches!(op(unit.branch.first()), Some(Op::Conv2d(_))) {
        return Vec::new();
    }
    let mut nodes = Vec::new();
    let mut at = add;
    while let [next] = *source.users(at) {
        nodes.push(next);
        match source.node(next).op {
            Op::Relu => return nodes,
            Op::BatchNorm(_) => at = next,
            _ => break,
        }
    }
    Vec::new()
}

/// Blocks of a plain net: the nodes of a module, or a convolution up to its ReLU where there are no modules.
fn plain(source: &Source<'_>) -> Result<Vec<Place>, RewriteError> {
    chain(source)?;
    let ids: Vec<NodeId> = source.graph.ids().collect();
    let name = |id: &NodeId| module(&source.node(*id).name);
    let has_modules = ids.iter().any(|id| !name(id).is_empty());
    let mut blocks: Vec<Vec<NodeId>> = Vec::new();
    for id in &ids {
        let op = &source.node(*id).op;
        let is_layer = matches!(op, Op::Conv2d(_) | Op::BatchNorm(_) | Op::Relu);
        let begins = matches!(op, Op::Conv2d(_));
        match blocks.last_mut() {
            Some(block) if has_modules && name(&block[0]) == name(id) => block.push(*id),
            Some(block) if !has_modules && is_layer && !begins => block.push(*id),
            _ if begins && has_modules != name(id).is_empty() => blocks.push(vec![*id]),
            _ => {}
        }
    }
    let channels = |block: &Vec<NodeId>| match source.node(block[block.len() - 1]).kind {
        Kind::Map { channels } => channels,
        _ => 0,
    };
    let strides = |id: &NodeId| matches!(&source.node(*id).op, Op::Conv2d(conv) if conv.stride != [1, 1]);
    let shapes: Vec<(usize, bool)> =
        blocks.iter().map(|block| (channels(block), block.iter().any(strides))).collect();
    let copies = |block: &Vec<NodeId>| {
        block.iter().all(|&id| match &source.node(id).op {
            Op::Conv2d(conv) => conv.c_out == channels(block),
            op => matches!(op, Op::BatchNorm(_) | Op::Relu),
        }) && source.node(block[block.len() - 1]).op == Op::Relu
    };
    let ends = (0..blocks.len()).filter(|&i| ends_stage(&shapes, i) && copies(&blocks[i]));
    let place = |i: usize| {
        let after = blocks[i][blocks[i].len() - 1];
        Place::new(source, after, blocks[i].clone(), Vec::new(), Style::Plain)
    };
    Ok(ends.map(place).collect())
}
