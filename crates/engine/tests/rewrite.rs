//! Rewritten networks compute what the originals compute, in `f64` by the reference evaluator.

#[path = "rewrite/nets.rs"]
mod nets;

use std::collections::BTreeMap;

use nets::{Kind, NET, Net, Shortcut, shaken};
use residuum_engine::Draws;
use residuum_engine::reference::{Feed, evaluate};
use residuum_graph::rewrite::{
    Form, RewriteError, deepen, fold_norm, fold_norm_as, fold_residual, fold_residual_as, unfold, unfold_as,
};
use residuum_graph::{Builder, ConvSpec, Graph, Op, Weights};
use residuum_kernels::plain::Real;
use residuum_models::formula;
use residuum_tensor::Tensor;

/// What rounding in `f64` may do, relative to the largest logit.
const EXACT: f64 = 1e-12;

/// Logits of formula images.
fn logits<T: Real>(graph: &Graph, weights: &BTreeMap<String, Vec<T>>, [n, h, w]: [usize; 3]) -> Vec<T> {
    let images = formula::input("input2", &[n, graph.input_channels(), h, w]);
    let images: Vec<T> = images.data().iter().map(|&x| T::from_f64(f64::from(x))).collect();
    let feed = Feed {
        weights,
        images: &images,
        shape: [n, h, w],
        labels: &[],
        label_smoothing: T::from_f64(0.0),
        seed: &[],
        draws: Draws::new(0, 0),
        gates: None,
    };
    evaluate(graph, &feed).unwrap().swap_remove(graph.output().index())
}

fn wide<T: Copy + Into<f64>>(weights: &BTreeMap<String, Tensor<T>>) -> BTreeMap<String, Vec<f64>> {
    let values = |tensor: &Tensor<T>| tensor.data().iter().map(|&x| x.into()).collect();
    weights.iter().map(|(name, tensor)| (name.clone(), values(tensor))).collect()
}

/// Largest difference of the logits over the largest logit.
fn difference(
    before: (&Graph, &Weights),
    after: (&Graph, &BTreeMap<String, Tensor<f64>>),
    shape: [usize; 3],
) -> f64 {
    let want = logits(before.0, &wide(before.1), shape);
    let got = logits(after.0, &wide(after.1), shape);
    let largest = want.iter().fold(0.0, |max: f64, x| max.max(x.abs()));
    assert!(largest > 1e-3 && largest.is_finite() && got.len() == want.len(), "{largest}");
    want.iter().zip(&got).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max) / largest
}

fn conv_weights(graph: &Graph) -> usize {
    let filters = graph.params().iter().filter(|param| param.shape.len() == 4);
    filters.map(residuum_graph::Param::len).sum()
}

fn count(graph: &Graph, is: impl Fn(&Op) -> bool) -> usize {
    graph.nodes().iter().filter(|node| is(&node.op)).count()
}

/// Folds a network and compares it with the original; returns the plain one.
fn folds(name: &str, graph: &Graph, shape: [usize; 3]) -> Graph {
    let weights = shaken(graph);
    let (plain, exact) = fold_residual_as::<f64>(graph, &weights).unwrap();
    let off = difference((graph, &weights), (&plain, &exact), shape);
    assert!(off <= EXACT, "{name}: {off:e}");
    assert_eq!(count(&plain, |op| matches!(op, Op::Add | Op::BatchNorm(_))), 0, "{name}");
    let (same, rounded) = fold_residual(graph, &weights).unwrap();
    assert_eq!(same, plain, "{name}");
    assert!(exact.iter().all(|(name, tensor)| {
        tensor
            .data()
            .iter()
            .zip(rounded[name].data())
            .all(|(&exact, &rounded)| (exact as f32).to_bits() == rounded.to_bits())
    }));
    let (folded, exact) = fold_norm_as::<f64>(graph, &weights).unwrap();
    let off = difference((graph, &weights), (&folded, &exact), shape);
    assert!(off <= EXACT, "{name}: norms: {off:e}");
    plain
}

#[test]
fn cifar_nets_become_plain_nets_of_the_size_that_the_formulas_say() {
    for (name, size) in [
        ("cifar_resnet20", 500_400),
        ("cifar_resnet20.akamaster", 500_400),
        ("cifar_resnet20b", 500_400),
        ("cifar_resnet20c", 500_400),
        ("cifar_plain20", 267_696),
    ] {
        let graph = residuum_models::build(name, Some(10)).unwrap().graph;
        let plain = folds(name, &graph, [2, 9, 12]);
        assert_eq!(conv_weights(&plain), size, "{name}");
        assert_eq!(plain.count(32, 32).unwrap().depth, 20, "{name}");
        folds(name, &graph, [1, 7, 5]);
    }
}

#[test]
fn imagenet_nets_become_plain_nets_of_the_size_that_the_formulas_say() {
    for (name, size) in [("resnet18a", 19_657_920), ("resnet18", 19_657_920), ("plain18", 10_994_880)] {
        let graph = residuum_models::build(name, Some(3)).unwrap().graph;
        assert_eq!(conv_weights(&folds(name, &graph, [1, 37, 33])), size, "{name}");
    }
}

#[test]
fn units_of_every_kind_with_every_shortcut() {
    let kinds =
        [Kind::Original, Kind::NormAfterAdd, Kind::ReluBeforeAdd, Kind::ReluOnlyPreact, Kind::FullPreact];
    let shortcuts = [
        Shortcut::PadAfter,
        Shortcut::PadAround,
        Shortcut::Projection,
        Shortcut::ProjectionEverywhere,
        Shortcut::MeanThenProjection,
    ];
    let layers: [(&[usize], usize); 4] = [(&[3, 3], 0), (&[1, 3, 1], 0), (&[1, 3, 1], 1), (&[3], 0)];
    for kind in kinds {
        for shortcut in shortcuts {
            for (kernels, stride_in) in layers {
                for (groups, widen) in [(1, 1), (2, 1), (1, 3)] {
                    let net = Net { kind, shortcut, kernels, stride_in, groups, widen };
                    folds(&format!("{net:?}"), &net.graph(), [2, 6, 8]);
                }
            }
        }
    }
}

#[test]
fn carried_channels_are_as_many_as_they_must_be() {
    // Stem 3·4·9; original: two units of 4, one of 4 to 8, one of 8, all 9·((m + c)·c + c'·(m + c)).
    let unit = |m: usize, c: usize, made: usize, from: usize| 9 * ((m + c) * from + made * (m + c));
    let plain = folds("original", &NET.graph(), [2, 7, 7]);
    let size = 108 + 2 * unit(4, 4, 4, 4) + unit(8, 4, 8, 4) + unit(8, 8, 8, 8);
    assert_eq!(conv_weights(&plain), size);
    // A value of both signs is carried as a pair, beside the activation where a norm comes before it; a shared
    // activation alone.
    let full = Net { kind: Kind::FullPreact, ..NET };
    let units = [
        9 * (12 * 3),                 // the stem makes h, x⁺, x⁻
        9 * ((4 + 8) * 12 + 12 * 12), // layer1.0 reads and makes three groups
        9 * ((4 + 8) * 12 + 4 * 12),  // layer1.1 makes h alone
        9 * ((8 + 4) * 4 + 24 * 12),  // layer2.0 carries h
        9 * ((8 + 16) * 24 + 8 * 24), // layer2.1 makes the last activation
    ];
    assert_eq!(conv_weights(&folds("full", &full.graph(), [2, 7, 7])), units.iter().sum::<usize>());
}

#[test]
fn grouped_plain_nets_keep_their_groups() {
    let mut g = Builder::new("grouped");
    let x = g.input(4);
    let x = g.conv("conv1", x, ConvSpec { groups: 2, ..ConvSpec::new(8, 3, 1) }).unwrap();
    let x = g.batch_norm("bn1", x).unwrap();
    let x = g.relu("relu", x);
    let x = g
        .conv("conv2", x, ConvSpec { groups: 4, dilation: 2, padding: 2, ..ConvSpec::new(8, 3, 2) })
        .unwrap();
    let x = g.batch_norm("bn2", x).unwrap();
    let x = g.global_avg_pool("avgpool", x).unwrap();
    let x = g.linear("fc", x, 3).unwrap();
    let graph = g.finish(x).unwrap();
    let plain = folds("grouped", &graph, [2, 9, 6]);
    assert_eq!(conv_weights(&plain), conv_weights(&graph));
}

fn refusal(graph: &Graph) -> RewriteError {
    fold_residual(graph, &shaken(graph)).unwrap_err()
}

#[test]
fn what_has_no_plain_form_is_refused_by_name() {
    let unit = |write: &dyn Fn(&mut Builder, residuum_graph::NodeId) -> residuum_graph::NodeId| {
        let mut g = Builder::new("net");
        let x = g.input(4);
        let x = g.conv("conv1", x, ConvSpec::new(4, 3, 1)).unwrap();
        let x = g.relu("relu", x);
        let x = write(&mut g, x);
        g.finish(x).unwrap()
    };
    let two_relus = unit(&|g, x| {
        let y = g.conv("conv2", x, ConvSpec::new(4, 3, 1)).unwrap();
        let y = g.relu("relu2", y);
        let y = g.conv("conv3", y, ConvSpec::new(4, 3, 1)).unwrap();
        let s = g.conv("project", x, ConvSpec::new(4, 1, 1)).unwrap();
        let s = g.relu("gate", s);
        g.add("add", y, s).unwrap()
    });
    assert_eq!(refusal(&two_relus).node, "gate");
    let dense = unit(&|g, x| {
        let y = g.conv("conv2", x, ConvSpec::new(4, 3, 1)).unwrap();
        let y = g.relu("relu2", y);
        let z = g.conv("conv3", y, ConvSpec::new(4, 3, 1)).unwrap();
        let sum = g.add("add", z, x).unwrap();
        g.add("add2", sum, y).unwrap()
    });
    let error = refusal(&dense);
    assert!(error.node == "relu2" && error.reason.contains("add2"), "{error}");
    let even = unit(&|g, x| {
        let y = g.conv("conv2", x, ConvSpec { padding: 1, ..ConvSpec::new(4, 2, 1) }).unwrap();
        let y = g.relu("relu2", y);
        let y = g.conv("conv3", y, ConvSpec { padding: 0, ..ConvSpec::new(4, 2, 1) }).unwrap();
        g.add("add", y, x).unwrap()
    });
    let error = refusal(&even);
    assert!(error.node == "conv2" && error.reason.contains("odd kernel"), "{error}");
    let graph = NET.graph();
    let mut weights = shaken(&graph);
    weights.insert("layer1.0.bn1.running_var".into(), Tensor::filled([4], -1.0));
    let error = fold_norm(&graph, &weights).unwrap_err();
    assert!(error.node == "layer1.0.bn1" && error.reason.contains("running variance"), "{error}");
    weights.remove("conv1.weight");
    assert_eq!(fold_residual(&graph, &weights).unwrap_err().node, "conv1.weight");
}

/// Folded and unfolded weights, bit for bit.
fn unfolds_to_the_folded_norms(name: &str, graph: &Graph) {
    let weights = shaken(graph);
    let (plain, carried) = fold_residual(graph, &weights).unwrap();
    let (back, cut) = unfold(&plain, &carried, Form::Thin).unwrap();
    let (want, folded) = fold_norm(graph, &weights).unwrap();
    assert_eq!(back, want, "{name}");
    let bits = |weights: &Weights| -> Vec<(String, Vec<u32>)> {
        let bits = |tensor: &Tensor| tensor.data().iter().map(|x| x.to_bits()).collect();
        weights.iter().map(|(name, tensor)| (name.clone(), bits(tensor))).collect()
    };
    assert_eq!(bits(&cut), bits(&folded), "{name}");
}

#[test]
fn the_carry_is_cut_out_again_to_the_bit() {
    for name in ["cifar_resnet20", "cifar_resnet14.akamaster"] {
        unfolds_to_the_folded_norms(name, &residuum_models::build(name, Some(10)).unwrap().graph);
    }
}

#[test]
fn projections_are_cut_out_with_their_bias_in_the_branch() {
    for shortcut in [Shortcut::Projection, Shortcut::ProjectionEverywhere, Shortcut::MeanThenProjection] {
        let averages = shortcut == Shortcut::MeanThenProjection;
        for (kernels, stride_in) in [(&[3, 3][..], 0), (&[1, 3, 1], 0), (&[1, 3, 1], 1)] {
            let net = Net { shortcut, kernels, stride_in, ..NET };
            let graph = net.graph();
            let weights = shaken(&graph);
            let (plain, carried) = fold_residual(&graph, &weights).unwrap();
            let (back, cut) = unfold_as::<f64>(&plain, &carried, Form::Thin).unwrap();
            assert_eq!(count(&back, |op| *op == Op::Add), 4, "{net:?}");
            assert!(difference((&plain, &carried), (&back, &cut), [2, 6, 8]) <= EXACT, "{net:?}");
            // Without the biases of the shortcut, which stay in the branch, all numbers are the folded ones.
            let (_, folded) = fold_norm(&graph, &weights).unwrap();
            let of = |name: &str| cut[name].data().iter().map(|&x| x as f32).collect::<Vec<f32>>();
            assert_eq!(of("layer2.1.conv1.weight"), folded["layer2.1.conv1.weight"].data());
            let projection = format!("layer2.0.downsample.{}.weight", usize::from(averages));
            assert_eq!(of(&projection), folded["layer2.0.project.weight"].data());
            assert_eq!(count(&back, |op| matches!(op, Op::AvgPool(_))), usize::from(averages));
            for i in 1..=kernels.len() {
                let name = format!("layer2.0.conv{i}.weight");
                assert_eq!(
                    (&of(&name)[..], cut[&name].shape()),
                    (folded[&name].data(), folded[&name].shape())
                );
            }
        }
    }
}

/// Stochastic depth's shortcut: a mean, then channels of zeros.
#[test]
fn a_mean_that_was_carried_is_a_pool_again() {
    let graph = residuum_models::build("sd_resnet20", Some(10)).unwrap().graph;
    let (plain, carried) = fold_residual(&graph, &shaken(&graph)).unwrap();
    let (back, cut) = unfold_as::<f64>(&plain, &carried, Form::Thin).unwrap();
    assert!(difference((&plain, &carried), (&back, &cut), [2, 8, 12]) <= EXACT);
    let of = |is: fn(&Op) -> bool| [count(&graph, is), count(&back, is)];
    assert_eq!(of(|op| matches!(op, Op::AvgPool(_))), [2; 2]);
    assert_eq!(of(|op| matches!(op, Op::PadChannels { .. })), [2; 2]);
    assert_eq!(of(|op| *op == Op::Add), [9; 2]);
}

#[test]
fn plain_nets_get_residual_forms_that_compute_the_same() {
    let graph = residuum_models::build("cifar_plain20", Some(10)).unwrap().graph;
    let weights = shaken(&graph);
    let (plain, folded) = fold_norm(&graph, &weights).unwrap();
    for (form, units) in [(Form::OneConvolution, 19), (Form::TwoConvolutions, 7)] {
        let (residual, exact) = unfold_as::<f64>(&graph, &weights, form).unwrap();
        assert_eq!(count(&residual, |op| *op == Op::Add), units, "{form:?}");
        assert!(difference((&plain, &folded), (&residual, &exact), [2, 9, 12]) <= EXACT, "{form:?}");
        // And the residual form folds to a plain net again.
        let (residual, rounded) = unfold(&graph, &weights, form).unwrap();
        let (again, exact) = fold_residual_as::<f64>(&residual, &rounded).unwrap();
        assert_eq!(count(&again, |op| *op == Op::Add), 0, "{form:?}");
        assert!(difference((&residual, &rounded), (&again, &exact), [2, 9, 12]) <= EXACT, "{form:?}");
    }
}

#[test]
fn what_carries_nothing_and_what_is_broken_off_is_told_by_layer() {
    let graph = residuum_models::build("cifar_plain20", Some(10)).unwrap().graph;
    let error = unfold(&graph, &shaken(&graph), Form::Thin).unwrap_err();
    assert!(error.node == "layer2.0.conv1" && error.reason.contains("output 16"), "{error}");
    let graph = residuum_models::build("cifar_resnet8", Some(10)).unwrap().graph;
    let (plain, mut weights) = fold_residual(&graph, &shaken(&graph)).unwrap();
    let error = unfold(&graph, &shaken(&graph), Form::Thin).unwrap_err();
    assert!(error.reason.contains("plain"), "{error}");
    // Output 3 of the last layer reads carried channel 2 at a corner of its window.
    let filters = weights.get_mut("layer1.0.conv2.weight").unwrap();
    filters.data_mut()[(3 * 32 + 16 + 2) * 9] = 1e-9;
    let error = unfold(&plain, &weights, Form::Thin).unwrap_err();
    assert!(error.node == "layer1.0.conv2" && error.reason.contains("output 3"), "{error}");
}

/// Deepens a network by two blocks a stage; the logits must keep their bits.
fn deepens(name: &str, graph: &Graph, tolerance: f64) -> Graph {
    let weights = shaken(graph);
    let (deeper, more) =
        deepen(graph, &weights, 2, &BTreeMap::new(), |graph| residuum_models::initialise(graph, 7)).unwrap();
    let exact = |weights: &Weights| -> BTreeMap<String, Vec<f32>> {
        weights.iter().map(|(name, tensor)| (name.clone(), tensor.data().to_vec())).collect()
    };
    let shape = [2, 8, 10];
    let want: Vec<f32> = logits(graph, &exact(&weights), shape);
    let got: Vec<f32> = logits(&deeper, &exact(&more), shape);
    let largest = want.iter().fold(0.0, |max: f32, x| max.max(x.abs()));
    let off = want.iter().zip(&got).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(f64::from(off / largest) <= tolerance, "{name}: {off:e} of {largest}");
    assert!(weights.iter().all(|(name, tensor)| more[name] == *tensor), "{name}");
    assert!(conv_weights(&deeper) > conv_weights(graph), "{name}");
    deeper
}

#[test]
fn deepened_networks_are_the_registered_ones_and_keep_every_bit() {
    for (name, deeper) in [
        ("cifar_resnet20", "cifar_resnet32"),
        ("cifar_resnet20.akamaster", "cifar_resnet32.akamaster"),
        ("cifar_resnet14b", "cifar_resnet26b"),
        ("cifar_plain14", "cifar_plain26"),
    ] {
        let graph = residuum_models::build(name, Some(10)).unwrap().graph;
        let want = residuum_models::build(deeper, Some(10)).unwrap().graph;
        let got = deepens(name, &graph, 0.0);
        assert_eq!((got.nodes(), got.params()), (want.nodes(), want.params()), "{name}");
    }
    // Where every block has a projection, the new ones have none, and the network no registered name.
    let graph = residuum_models::build("cifar_resnet14c", Some(10)).unwrap().graph;
    deepens("cifar_resnet14c", &graph, 0.0);
}

#[test]
fn units_of_every_kind_are_deepened_and_keep_every_bit() {
    for kind in
        [Kind::Original, Kind::NormAfterAdd, Kind::ReluBeforeAdd, Kind::ReluOnlyPreact, Kind::FullPreact]
    {
        for kernels in [&[3, 3][..], &[1, 3, 1]] {
            for shortcut in [Shortcut::PadAfter, Shortcut::Projection] {
                let net = Net { kind, shortcut, kernels, ..NET };
                let deeper = deepens(&format!("{net:?}"), &net.graph(), 0.0);
                assert_eq!(count(&deeper, |op| *op == Op::Add), 8, "{net:?}");
                assert!(deeper.find("layer1.3.conv2").is_some() && deeper.find("layer2.3.add").is_some());
            }
        }
    }
    // Folded nets have no norm to set to 0; their last convolution is.
    let graph = NET.graph();
    let (folded, weights) = fold_norm(&graph, &shaken(&graph)).unwrap();
    let start = |graph: &Graph| residuum_models::initialise(graph, 7);
    let (_, more) = deepen(&folded, &weights, 1, &BTreeMap::new(), start).unwrap();
    assert!(more["layer1.2.conv2.weight"].data().iter().all(|&w| w == 0.0));
    assert!(more["layer1.2.conv1.weight"].data().iter().any(|&w| w != 0.0));
}

#[test]
fn the_papers_other_units_become_plain_nets_of_the_size_that_the_formulas_say() {
    for (name, size) in [
        ("cifar_preact20", Some(1_712_304)),
        ("cifar_preact20b", Some(1_712_304)),
        ("cifar_preact20.relu_only_preact", Some(1_203_120)),
        ("cifar_preact20.bn_after_add", Some(500_400)),
        ("cifar_preact20.relu_before_add", Some(995_760)),
        ("cifar_bottleneck20", Some(1_943_728)),
        ("cifar_bottleneck20.full_preact", None),
        ("cifar_resnet20.constant_0.5_0.5", Some(500_400)),
        ("sd_resnet20", Some(500_400)),
        ("wrn_10_2.b333", None),
        ("wrn_16_2.b131", None),
    ] {
        let graph = residuum_models::build(name, Some(10)).unwrap().graph;
        let plain = folds(name, &graph, [2, 8, 12]);
        if let Some(size) = size {
            assert_eq!(conv_weights(&plain), size, "{name}");
        }
    }
}

#[test]
fn gates_and_dense_nets_are_refused_by_name() {
    for (name, part) in [
        ("cifar_seresnet20", "multipl"),
        ("cifar_resnet20.exclusive", "multipl"),
        ("cifar_resnet20.shortcut_only", "multipl"),
        ("cifar_densenet_40_12", "concat"),
    ] {
        let graph = residuum_models::build(name, Some(10)).unwrap().graph;
        let error = refusal(&graph).to_string();
        assert!(error.contains(part), "{name}: {error}");
    }
}
