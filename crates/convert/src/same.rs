//! Whether two graphs compute the same function of their parameters, so that one may stand for the other.

use std::collections::HashMap;

use residuum_graph::{Graph, Kind, Node, Op, ParamId};

/// True where both graphs do the same operations on the same parameters, these told by name; how nodes are
/// called and in which order they are listed does not matter, nor which of two summands comes first.
///
/// Equal nodes get equal numbers, over both graphs, from the inputs on: the graphs are the same where their
/// outputs are.
pub fn same_function(a: &Graph, b: &Graph) -> bool {
    let mut numbers = HashMap::new();
    number_output(a, &mut numbers) == number_output(b, &mut numbers)
}

/// What makes a node what it is: its operation with its parameters' names, and its inputs by their numbers.
type Key = (String, Vec<usize>);

fn number_output(graph: &Graph, numbers: &mut HashMap<Key, usize>) -> usize {
    let mut of: Vec<usize> = Vec::with_capacity(graph.nodes().len());
    for node in graph.nodes() {
        let mut inputs: Vec<usize> = node.inputs.iter().map(|input| of[input.index()]).collect();
        if node.op == Op::Add {
            inputs.sort_unstable();
        }
        let next = numbers.len();
        of.push(*numbers.entry((describe(graph, node), inputs)).or_insert(next));
    }
    of[graph.output().index()]
}

/// The operation with the names of its parameters in the place of their numbers, which are each graph's own.
fn describe(graph: &Graph, node: &Node) -> String {
    let name = |id: ParamId| graph.param(id).name.as_str();
    match node.op {
        Op::Conv2d(c) => {
            let bias = c.bias.map(name);
            let (stride, padding, dilation) = (c.stride, c.padding, c.dilation);
            format!(
                "conv {} {bias:?} {:?} {stride:?} {padding:?} {dilation:?} {}",
                name(c.weight),
                c.kernel,
                c.groups
            )
        }
        Op::BatchNorm(n) => {
            let names = [n.weight, n.bias, n.running_mean, n.running_var].map(name);
            format!("norm {names:?} {}", n.eps)
        }
        Op::Linear(l) => format!("linear {} {:?}", name(l.weight), l.bias.map(name)),
        Op::Input => match node.kind {
            Kind::Map { channels } => format!("input {channels}"),
            other => format!("input {other}"),
        },
        // The others have no parameters, only numbers.
        other => format!("{other:?}"),
    }
}
