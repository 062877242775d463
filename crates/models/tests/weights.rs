//! Start values, and a file's tensors against a network's parameters.

use residuum_graph::{Builder, ConvSpec, Fan, Graph, Init, NodeId, Weights};
use residuum_models::{build, fitting, formula, head_params, initialise, match_names};

const CONV1_BITS: u32 = 1_021_577_490;
const FC_BITS: u32 = 1_013_280_733;

fn shapes(weights: &Weights) -> impl Iterator<Item = (&str, &[usize])> {
    weights.iter().map(|(name, tensor)| (name.as_str(), tensor.shape()))
}

fn weights_of(name: &str, classes: usize) -> Weights {
    formula::weights(&build(name, Some(classes)).unwrap().graph)
}

#[test]
fn start_values_have_the_papers_spread() {
    let graph = build("resnet18", Some(100)).unwrap().graph;
    let weights = initialise(&graph, 1);
    for param in graph.params() {
        let values = weights[&param.name].data();
        assert_eq!(weights[&param.name].shape(), param.shape);
        let count = values.len() as f64;
        let deviation = (values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / count).sqrt();
        match param.init {
            Init::Constant(value) => assert!(values.iter().all(|x| x.to_bits() == value.to_bits())),
            Init::Uniform { high: bound, .. } => {
                assert!(values.iter().all(|&x| (-bound..bound).contains(&x)), "{}", param.name);
                let expected = f64::from(bound) / 3f64.sqrt();
                assert!((deviation / expected - 1.0).abs() < 0.02, "{}", param.name);
            }
            Init::HeNormal(_) => {
                let expected = f64::sqrt(2.0 / param.fan_in() as f64);
                // Five standard errors of a deviation.
                let allowed = 5.0 / (2.0 * count).sqrt();
                assert!((deviation / expected - 1.0).abs() < allowed, "{}: {deviation}", param.name);
            }
        }
    }
}

#[test]
fn a_seed_means_the_same_bits_everywhere() {
    let first =
        |name: &str, seed| initialise(&build("cifar_resnet20", None).unwrap().graph, seed)[name].data()[0];
    assert_eq!(first("conv1.weight", 1).to_bits(), CONV1_BITS);
    assert_eq!(first("fc.weight", 1).to_bits(), FC_BITS);
    assert_ne!(first("conv1.weight", 1).to_bits(), first("conv1.weight", 2).to_bits());
}

#[test]
fn start_values_depend_on_the_name_and_on_nothing_else_in_the_network() {
    let small = initialise(&build("cifar_resnet20", None).unwrap().graph, 5);
    let large = initialise(&build("cifar_resnet56", None).unwrap().graph, 5);
    assert!(small.iter().all(|(name, tensor)| large[name] == *tensor));
    assert_ne!(small["layer1.0.conv1.weight"].data(), small["layer1.0.conv2.weight"].data());
}

/// A network whose one convolution starts by the outputs that an input reaches.
fn by_outputs() -> Graph {
    let mut g = Builder::new("by outputs");
    let x: NodeId = g.input(8);
    let x =
        g.conv("conv", x, ConvSpec { init: Init::HeNormal(Fan::Out), ..ConvSpec::new(512, 3, 1) }).unwrap();
    g.finish(x).unwrap()
}

#[test]
fn the_fan_may_be_counted_by_outputs() {
    let weights = initialise(&by_outputs(), 3);
    let values = weights["conv.weight"].data();
    let variance = values.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>() / values.len() as f64;
    assert!((variance / (2.0 / (512.0 * 9.0)) - 1.0).abs() < 0.05, "{variance}");
}

#[test]
fn a_networks_own_tensors_match_it() {
    let graph = build("resnet18", None).unwrap().graph;
    let weights = weights_of("resnet18", 1000);
    let counters = [("bn1.num_batches_tracked", [].as_slice()), ("layer1.0.bn1.num_batches_tracked", &[])];
    let matching = match_names(&graph, shapes(&weights).chain(counters));
    assert!(matching.is_complete() && !matching.differs_in_head_only());
    assert_eq!(matching.matched.len(), graph.params().len());
    matching.check(false).unwrap();
}

#[test]
fn a_head_of_another_size_is_taken_only_when_a_new_one_is_asked_for() {
    let graph = build("resnet18", Some(37)).unwrap().graph;
    let names: Vec<&str> = head_params(&graph).iter().map(|&id| graph.param(id).name.as_str()).collect();
    assert_eq!(names, ["fc.weight", "fc.bias"]);
    let mut weights = weights_of("resnet18", 1000);
    let matching = match_names(&graph, shapes(&weights));
    assert!(matching.differs_in_head_only());
    matching.check(true).unwrap();
    assert_eq!(
        matching.check(false).unwrap_err().to_string(),
        "the tensors are not those of `resnet18`; of another shape: fc.weight (expected [37, 512], found \
         [1000, 512]), fc.bias (expected [37], found [1000]); build the network for 1000 classes, or ask for a \
         new last layer"
    );
    weights.remove("fc.weight");
    weights.remove("fc.bias");
    match_names(&graph, shapes(&weights)).check(true).unwrap();
    weights.remove("conv1.weight");
    let error = match_names(&graph, shapes(&weights)).check(true).unwrap_err().to_string();
    assert!(error.contains("missing: conv1.weight [64, 3, 7, 7]"), "{error}");
}

#[test]
fn akamasters_file_is_not_taken_for_the_papers_net() {
    let weights = weights_of("cifar_resnet20.akamaster", 10);
    let graph = build("cifar_resnet20", None).unwrap().graph;
    let matching = match_names(&graph, shapes(&weights));
    assert!(!matching.differs_in_head_only());
    assert_eq!(
        matching.check(true).unwrap_err().to_string(),
        "the tensors are not those of `cifar_resnet20`; missing: fc.weight [10, 64], fc.bias [10]; unexpected: \
         linear.bias [10], linear.weight [10, 64]; they fit `--model cifar_resnet20.akamaster`"
    );
}

#[test]
fn tensors_tell_which_networks_they_fit() {
    let names = |name, classes| fitting(shapes(&weights_of(name, classes)));
    let fitting_resnet20 = names("cifar_resnet20", 10);
    assert_eq!(fitting_resnet20[..2], ["cifar_resnet20", "cifar_plain20"]);
    assert!(fitting_resnet20.iter().any(|name| name == "cifar_resnet20.dropout"), "{fitting_resnet20:?}");
    assert!(!fitting_resnet20.iter().any(|name| name == "cifar_preact20"), "{fitting_resnet20:?}");
    assert_eq!(names("cifar_resnet26b", 100), ["cifar_resnet26b"]);
    assert_eq!(names("cifar_preact20", 10), ["cifar_preact20"]);
    assert_eq!(names("preact50", 10), ["preact50"]);
    assert_eq!(names("wrn_16_4", 10), ["wrn_16_4", "wrn_16_4.dropout", "wrn_16_4.dropout_0.4"]);
    assert_eq!(names("cifar_resnet32.akamaster", 10), ["cifar_resnet32.akamaster"]);
    assert_eq!(names("resnet50", 5), ["resnet50", "resnet50.tv", "resnet50.caffe", "resnetblur50"]);
    assert_eq!(names("resnet18c", 1000), ["resnet18c"]);
    assert!(fitting([("conv1.weight", [64, 3, 11, 11].as_slice())]).is_empty());
    let graph = build("resnet18", None).unwrap().graph;
    let error = match_names(&graph, [("a", [1].as_slice())]).check(false).unwrap_err().to_string();
    assert!(
        error.contains("and 98 more") && error.ends_with("no registered network has these tensors"),
        "{error}"
    );
}
