//! From a network that answers once an image to one that answers at every position of its last map.

use residuum_tensor::Tensor;

use crate::error::GraphError;
use crate::graph::{Graph, Kind};
use crate::op::{AvgPool, Conv2d, MaxPool, Op};
use crate::param::{Role, Weights};

impl Graph {
    /// The network in its fully convolutional form (He et al. 2015, §3.4, "Testing"): the global mean
    /// becomes a mean over windows of `window` positions that move by one, linear layers become 1×1
    /// convolutions, and the output is a map of scores. Names stay; the matrices' values too, as filters.
    ///
    /// For images whose last map has exactly the window's size, the one position holds the answer of the
    /// network as it was.
    ///
    /// # Errors
    /// When there is no global mean, the window is empty, or the weights lack a matrix.
    pub fn fully_convolutional(
        &self,
        weights: &Weights,
        window: [usize; 2],
    ) -> Result<(Self, Weights), GraphError> {
        if window.contains(&0) {
            return Err(GraphError::new(
                &self.name,
                "a window of at least one position",
                format!("{window:?}"),
            ));
        }
        if !self.nodes.iter().any(|node| node.op == Op::GlobalAvgPool) {
            return Err(GraphError::new(&self.name, "a global average pool before the answer", "none"));
        }
        let (mut graph, mut weights) = (self.clone(), weights.clone());
        for node in &mut graph.nodes {
            node.op = match node.op {
                Op::GlobalAvgPool => Op::AvgPool(AvgPool {
                    window: MaxPool { kernel: window, stride: [1; 2], padding: [0; 2], ceil: false },
                    count_include_pad: false,
                }),
                Op::Linear(linear) => {
                    let param = &mut graph.params[linear.weight.index()];
                    let shape = vec![linear.outputs, linear.inputs, 1, 1];
                    let matrix = weights.remove(&param.name).filter(|matrix| matrix.len() == param.len());
                    let filters =
                        matrix.and_then(|matrix| Tensor::new(shape.clone(), matrix.into_data()).ok());
                    let Some(filters) = filters else {
                        let expected = format!("values of shape {:?}", param.shape);
                        return Err(GraphError::new(&param.name, expected, "none or others"));
                    };
                    weights.insert(param.name.clone(), filters);
                    (param.shape, param.role) = (shape, Role::ConvWeight);
                    Op::Conv2d(Conv2d {
                        weight: linear.weight,
                        bias: linear.bias,
                        c_in: linear.inputs,
                        c_out: linear.outputs,
                        kernel: [1; 2],
                        stride: [1; 2],
                        padding: [0; 2],
                        dilation: [1; 2],
                        groups: 1,
                    })
                }
                other => other,
            };
            if let Kind::Vector { features } = node.kind {
                node.kind = Kind::Map { channels: features };
            }
        }
        graph.verify()?;
        Ok((graph, weights))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::builder::{Builder, ConvSpec};

    fn network(is_pooled: bool) -> (Graph, Weights) {
        let mut g = Builder::new("net");
        let x = g.input(3);
        let mut x = g.conv("conv", x, ConvSpec::new(4, 3, 2)).unwrap();
        if is_pooled {
            x = g.global_avg_pool("pool", x).unwrap();
            x = g.linear("fc", x, 5).unwrap();
        }
        let graph = g.finish(x).unwrap();
        let values = graph.params().iter().map(|p| (p.name.clone(), Tensor::filled(p.shape.clone(), 0.5)));
        let weights = values.collect();
        (graph, weights)
    }

    #[test]
    fn the_answer_becomes_a_map_and_the_matrix_a_filter() {
        let (graph, weights) = network(true);
        let (dense, dense_weights) = graph.fully_convolutional(&weights, [7; 2]).unwrap();
        let extents = dense.extents(20, 24).unwrap();
        assert_eq!(extents[dense.output().index()], [4, 6]);
        assert_eq!((dense.output_features(), dense_weights["fc.weight"].shape()), (5, &[5, 4, 1, 1][..]));
        assert!(dense.extents(12, 24).is_err(), "the window does not fit");
    }

    #[test]
    fn what_cannot_be_rewritten_is_refused() {
        let (graph, weights) = network(true);
        assert!(graph.fully_convolutional(&weights, [0, 7]).is_err());
        let error = graph.fully_convolutional(&Weights::new(), [7; 2]).unwrap_err().to_string();
        assert!(error.contains("fc.weight"), "{error}");
        let (graph, weights) = network(false);
        assert!(graph.fully_convolutional(&weights, [7; 2]).unwrap_err().to_string().contains("pool"));
    }
}
