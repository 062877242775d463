//! What the layers of a dense net reuse (Huang et al. 2016, "Densely connected convolutional networks",
//! Figure 5).

use residuum_graph::{Graph, Kind, NodeId, Op, ParamId, Weights};

/// How strongly each reader of a dense block uses each source.
#[derive(Clone, Debug, PartialEq)]
pub struct BlockConnections {
    /// Names of the readers: the block's layers, then what follows it.
    pub readers: Vec<String>,
    /// For each reader, the mean magnitude of its weights on the block's input, on its first layer, …
    pub strengths: Vec<Vec<f64>>,
}

/// For every dense block, the mean magnitude of each reader's weights on each source's channels: over
/// output channels, filter positions and the channels of the source.
pub fn connection_strength(graph: &Graph, weights: &Weights) -> Vec<BlockConnections> {
    let mut found: Vec<(NodeId, BlockConnections)> = Vec::new();
    for id in graph.ids() {
        let Some((weight, groups)) = reader(graph, id) else { continue };
        let Some(sources) = sources(graph, graph.node(id).inputs[0]) else { continue };
        let Some(tensor) = weights.get(&graph.param(weight).name) else { continue };
        if groups != 1 {
            continue;
        }
        let strengths = means(tensor.shape(), tensor.data(), &sources.1);
        let name = graph.node(id).name.clone();
        match found.iter_mut().find(|(block, _)| *block == sources.0) {
            Some((_, block)) => {
                block.readers.push(name);
                block.strengths.push(strengths);
            }
            None => {
                let block = BlockConnections { readers: vec![name], strengths: vec![strengths] };
                found.push((sources.0, block));
            }
        }
    }
    found.retain(|(_, block)| block.readers.len() > 1);
    found.into_iter().map(|(_, block)| block).collect()
}

/// The weights of a convolution or linear layer, and its groups.
fn reader(graph: &Graph, id: NodeId) -> Option<(ParamId, usize)> {
    match graph.node(id).op {
        Op::Conv2d(conv) => Some((conv.weight, conv.groups)),
        Op::Linear(linear) => Some((linear.weight, 1)),
        _ => None,
    }
}

/// The input of the dense block that a value comes from through layers that keep channels apart, and the
/// channels of its sources; a block's first layer reads the input alone.
fn sources(graph: &Graph, mut id: NodeId) -> Option<(NodeId, Vec<usize>)> {
    while matches!(graph.node(id).op, Op::BatchNorm(_) | Op::Relu | Op::GlobalAvgPool | Op::Dropout(_)) {
        id = graph.node(id).inputs[0];
    }
    let mut channels = Vec::new();
    while graph.node(id).op == Op::Concat {
        let inputs = &graph.node(id).inputs;
        for input in inputs[1..].iter().rev() {
            channels.push(channels_of(graph, *input)?);
        }
        id = inputs[0];
    }
    channels.push(channels_of(graph, id)?);
    channels.reverse();
    Some((id, channels))
}

fn channels_of(graph: &Graph, id: NodeId) -> Option<usize> {
    match graph.node(id).kind {
        Kind::Map { channels } => Some(channels),
        _ => None,
    }
}

/// Mean magnitude of `[out, in, …]` weights over each run of input channels.
fn means(shape: &[usize], weights: &[f32], channels: &[usize]) -> Vec<f64> {
    let (outputs, inputs) = (shape[0], shape[1]);
    let taps = weights.len() / (outputs * inputs).max(1);
    let mut start = 0;
    channels
        .iter()
        .map(|&count| {
            let own = |output: usize| &weights[(output * inputs + start) * taps..][..count * taps];
            let sum: f64 = (0..outputs).flat_map(own).map(|&w| f64::from(w.abs())).sum();
            start += count;
            sum / (outputs * count * taps) as f64
        })
        .collect()
}
